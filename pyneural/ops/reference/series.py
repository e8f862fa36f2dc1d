"""Truncated Taylor series in one variable, which torch's functions take in the place of tensors.

A function f of a series a for which f' = g a', with g a series too, follows coefficient by
coefficient (Griewank and Walther 2008, "Evaluating Derivatives", section 13.2):

    k f_k = sum over j from 1 to k: j a_j g_(k-j)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


class Series:
    """c_0 + c_1 tau + ... + c_K tau^K, with tensors c_k that broadcast with each other.

    What a comparison compares is the value c_0. Tensors and numbers are constant series.

    Args:
        coefficients: c_0, ..., c_K.

    >>> tau = Series([torch.tensor(0.0), torch.tensor(1.0), torch.tensor(0.0)])
    >>> torch.exp(2 * tau).coefficients
    [tensor(1.), tensor(2.), tensor(2.)]
    """

    def __init__(self, coefficients: Sequence[Tensor]) -> None:
        self.coefficients = [*coefficients]

    @classmethod
    def __torch_function__(
        cls, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """What torch's functions do with series: those that ``_FUNCTIONS`` has."""
        if function not in _FUNCTIONS:
            return NotImplemented
        return _FUNCTIONS[function](*args, **(kwargs or {}))

    @property
    def value(self) -> Tensor:
        """c_0."""
        return self.coefficients[0]

    @property
    def shape(self) -> torch.Size:
        """That of the value."""
        return self.value.shape

    def __len__(self) -> int:
        return len(self.value)

    def map(self, function: Callable[[Tensor], Tensor]) -> Series:
        """The series of a linear function of each coefficient."""
        return Series([function(c) for c in self.coefficients])

    def __getitem__(self, index: Any) -> Series:
        return self.map(lambda c: c[index])

    def select(self, dim: int, index: int) -> Series:
        """As ``Tensor.select``."""
        return self.map(lambda c: c.select(dim, index))

    def expand(self, *sizes: Any) -> Series:
        """As ``Tensor.expand``."""
        return self.map(lambda c: c.expand(*sizes))

    def expand_as(self, other: Series) -> Series:
        """To the shape of another series."""
        return self.map(lambda c: c.expand_as(other.value))

    def clamp(self, max: float) -> Series:
        """The series where its value is at most the bound, else the bound."""
        return _where(self.value <= max, self, max)

    def __gt__(self, other: float) -> Tensor:
        return self.value > other

    def __neg__(self) -> Series:
        return self.map(torch.neg)

    def __add__(self, other: Any) -> Series:
        return _add(self, other)

    def __sub__(self, other: Any) -> Series:
        return _add(self, -other)

    def __rsub__(self, other: Any) -> Series:
        return _add(-self, other)

    def __mul__(self, other: Any) -> Series:
        return _mul(self, other)

    def __truediv__(self, other: Any) -> Series:
        return _div(self, other)

    def __pow__(self, power: int) -> Series:
        return self if power == 1 else self * self ** (power - 1)

    __radd__, __rmul__ = __add__, __mul__


# Of two series, or a series and a tensor or number. Without the operators of series, since
# torch.compile makes those of a tensor and a series calls of these functions.


def _add(a: Any, b: Any) -> Series:
    if not isinstance(a, Series):
        a, b = b, a
    if not isinstance(b, Series):
        return Series([a.value + b, *a.coefficients[1:]])
    return Series([c + d for c, d in zip(a.coefficients, b.coefficients, strict=True)])


def _mul(a: Any, b: Any) -> Series:
    if not isinstance(a, Series):
        a, b = b, a
    if not isinstance(b, Series):
        return a.map(lambda c: c * b)
    return Series([_convolution(a, b, k) for k in range(len(a.coefficients))])


def _div(a: Any, b: Any) -> Series:
    if not isinstance(b, Series):
        return a.map(lambda c: c / b)
    zeros = b.map(torch.zeros_like)
    numerator = a if isinstance(a, Series) else _add(zeros, a)

    def following(quotient: Series, k: int) -> Tensor:
        known = _convolution(quotient, b, k, 0, k - 1)
        return (numerator.coefficients[k] - known) / b.value

    return _recursive(numerator.value / b.value, len(b.coefficients), following)


def _convolution(a: Series, b: Series, k: int, first: int = 0, last: int | None = None) -> Tensor:
    """Sum over j from first to last of a_j b_(k-j); to k where no last one is given."""
    stop = 1 + (k if last is None else last)
    products = [a.coefficients[j] * b.coefficients[k - j] for j in range(first, stop)]
    return sum(products[1:], start=products[0]) if products else torch.zeros_like(a.value)


def _recursive(value: Tensor, orders: int, following: Callable[[Series, int], Tensor]) -> Series:
    """The series of c_0 and c_k = following(those before, k)."""
    series = Series([value])
    for k in range(1, orders):
        series.coefficients.append(following(series, k))
    return series


def _integral(a: Series, slope: Series, k: int) -> Tensor:
    """(1 / k) sum over j from 1 to k of j a_j slope_(k-j)."""
    terms = [j / k * a.coefficients[j] * slope.coefficients[k - j] for j in range(1, k + 1)]
    return sum(terms[1:], start=terms[0])


def _by_slope(function: Callable, slope: Callable[[Series], Series]) -> Callable[[Series], Series]:
    """A function f with f' = slope(f)."""

    def of_series(a: Series) -> Series:
        def following(f: Series, k: int) -> Tensor:
            return _integral(a, slope(f), k)

        return _recursive(function(a.value), len(a.coefficients), following)

    return of_series


def _by_derivative(
    function: Callable, derivative: Callable[[Series], Series]
) -> Callable[[Series], Series]:
    """A function whose derivative is another function."""

    def of_series(a: Series) -> Series:
        slope = derivative(a)
        return _recursive(
            function(a.value), len(a.coefficients), lambda _, k: _integral(a, slope, k)
        )

    return of_series


def _sqrt(a: Series) -> Series:
    def following(root: Series, k: int) -> Tensor:
        return (a.coefficients[k] - _convolution(root, root, k, 1, k - 1)) / (2 * root.value)

    return _recursive(a.value.sqrt(), len(a.coefficients), following)


def _sin_cos(a: Series) -> tuple[Series, Series]:
    sin, cos = Series([a.value.sin()]), Series([a.value.cos()])
    for k in range(1, len(a.coefficients)):
        following = _integral(a, cos, k), -_integral(a, sin, k)
        sin.coefficients.append(following[0])
        cos.coefficients.append(following[1])
    return sin, cos


def _where(mask: Tensor, a: Any, b: Any) -> Series:
    """Of constants and series, at least one of them a series."""
    zeros = 0 * (a if isinstance(a, Series) else b)
    pairs = zip((zeros + a).coefficients, (zeros + b).coefficients, strict=True)
    return Series([torch.where(mask, *pair) for pair in pairs])


def _stack(values: Sequence[Any], dim: int = 0) -> Series:
    orders = next(len(v.coefficients) for v in values if isinstance(v, Series))
    rows = [
        v.coefficients if isinstance(v, Series) else [v, *[torch.zeros_like(v)] * (orders - 1)]
        for v in values
    ]
    return Series([torch.stack(row, dim) for row in zip(*rows, strict=True)])


def _linear(x: Any, weight: Series, bias: Series | None = None) -> Series:
    """x: a tensor or a series."""
    results = []
    for k in range(len(weight.coefficients)):
        factors = x.coefficients[k::-1] if isinstance(x, Series) else [x]
        used = weight.coefficients[k - len(factors) + 1 : k + 1]
        products = [F.linear(a, w) for a, w in zip(factors, used, strict=True)]
        results.append(sum(products[1:], start=products[0]))
    return Series(results) if bias is None else Series(results) + bias


def _softplus(a: Series) -> Series:
    smooth = _by_derivative(F.softplus, _FUNCTIONS[torch.sigmoid])(a)
    return _where(a.value > 20, a, smooth)  # as F.softplus


_exp = _by_slope(torch.exp, lambda f: f)


def _erf_slope(a: Series) -> Series:
    return _exp(-a * a) * (2 / math.sqrt(math.pi))


def _leaky_relu(a: Series, negative_slope: float, inplace: bool) -> Series:
    return _where(a > 0, a, negative_slope * a)


def _elu(a: Series, alpha: float, inplace: bool) -> Series:
    return _where(a > 0, a, alpha * _by_slope(torch.expm1, lambda f: f + 1)(a.clamp(max=0)))


_FUNCTIONS: dict[Callable, Callable[..., Any]] = {
    torch.add: _add,
    torch.sub: lambda a, b: _add(a, -b),
    torch.mul: _mul,
    torch.div: _div,
    # Of a tensor and a series.
    Tensor.add: _add,
    Tensor.sub: lambda a, b: _add(a, -b),
    Tensor.mul: _mul,
    Tensor.div: _div,
    torch.neg: lambda a: -a,
    torch.square: lambda a: a * a,
    torch.sqrt: _sqrt,
    torch.sin: lambda a: _sin_cos(a)[0],
    torch.cos: lambda a: _sin_cos(a)[1],
    torch.exp: _exp,
    torch.log: _by_derivative(torch.log, lambda a: _div(1, a)),
    torch.tanh: _by_slope(torch.tanh, lambda f: 1 - f * f),
    torch.sigmoid: _by_slope(torch.sigmoid, lambda f: f * (1 - f)),
    torch.erf: _by_derivative(torch.erf, _erf_slope),
    torch.abs: lambda a: a * a.value.sign(),
    torch.where: _where,
    torch.stack: _stack,
    torch.zeros_like: lambda a: torch.zeros_like(a.value),
    torch.ones_like: lambda a: torch.ones_like(a.value),
    F.linear: _linear,
    F.softplus: _softplus,
    F.leaky_relu: _leaky_relu,
    F.elu: _elu,
}
