"""How derivatives are written by a user, and as the lists of numbers that the ops take.

The list ``derivatives`` has of each partial derivative its order n and n input indices; of each
linear operator -m, then the orders and indices of its m partial derivatives, whose coefficients are
in the list ``operator_coefficients``. csrc/jet/plan.h reads both.
"""

from __future__ import annotations

import math
import operator
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from pyneural.ops.caching import cached

_LARGEST_INDEX = 2**62  # beyond any tensor, and within the 64 bits of the ops' lists


class LinearOperator:
    """A sum of partial derivatives with constant coefficients.

        L u = sum_k c_k d^(alpha_k) u,  LinearOperator({alpha_1: c_1, alpha_2: c_2, ...})

    It travels through the network as one channel, whatever the number of its derivatives: only the
    lower derivatives in their Faà di Bruno terms need channels of their own. So u_t - nu u_xx costs
    the channels u, u_x and itself where u_t and u_xx cost one more (Li et al. 2023, "Forward
    Laplacian"; Dangel et al. 2025, "Collapsing Taylor mode automatic differentiation").

    Args:
        coefficients: of each partial derivative, given by its input indices.

    Raises:
        ValueError: no derivatives, something else than tuples of indices, or a coefficient that is
            not finite or is to be learnt.

    Example:
        >>> LinearOperator({(0,): 1, (1, 1): -0.5})  # u_t - u_xx / 2 of x = (t, x)
        LinearOperator({(0,): 1.0, (1, 1): -0.5})
    """

    __slots__ = ("partials",)

    partials: tuple[tuple[tuple[int, ...], float], ...]  # sorted; indices and coefficient of each

    def __init__(self, coefficients: Mapping[tuple[int, ...], float]) -> None:
        if not isinstance(coefficients, Mapping) or not coefficients:
            raise ValueError(
                "LinearOperator: coefficients: expected a dict of at least one derivative, got "
                f"{coefficients!r}; write u_t - u_xx as {{(0,): 1, (1, 1): -1}}"
            )
        sums: dict[tuple[int, ...], float] = {}
        for indices, coefficient in coefficients.items():
            partial = _partial(indices)
            if partial is None:
                raise ValueError(
                    f"LinearOperator: coefficients: expected tuples of input indices, such as (0,) "
                    f"and (1, 1), got {indices!r}; write u_t - u_xx as {{(0,): 1, (1, 1): -1}}"
                )
            key = tuple(sorted(partial))
            sums[key] = sums.get(key, 0.0) + _constant(coefficient, partial)
            if not math.isfinite(sums[key]):
                raise ValueError(
                    f"LinearOperator: coefficients: expected finite numbers, got "
                    f"{sums[key]} for {partial}; leave a derivative out instead"
                )
        self.partials = tuple(sorted(sums.items()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LinearOperator) and self.partials == other.partials

    def __hash__(self) -> int:
        return hash(self.partials)

    def __repr__(self) -> str:
        return f"LinearOperator({dict(self.partials)})"


class Laplacian(LinearOperator):
    """Sum of the unmixed second derivatives over some inputs.

        Laplacian(i, j, ...) u = d^2 u / dx_i^2 + d^2 u / dx_j^2 + ...

    Args:
        indices: columns of x, all different.

    Raises:
        ValueError: no indices, or one that is there twice.

    Example:
        >>> Laplacian(1, 2) == LinearOperator({(1, 1): 1, (2, 2): 1})
        True
    """

    __slots__ = ()

    def __init__(self, *indices: int) -> None:
        if not indices or _partial(indices) is None or len(set(indices)) < len(indices):
            raise ValueError(
                "Laplacian: indices: expected one or several input indices, all different, got "
                f"{indices}; name every input once"
            )
        super().__init__({(index, index): 1.0 for index in indices})

    def __repr__(self) -> str:
        return f"Laplacian({', '.join(str(indices[0]) for indices, _ in self.partials)})"


Derivative = tuple[int, ...] | LinearOperator


def partials_of(derivative: Derivative) -> tuple[tuple[tuple[int, ...], float], ...]:
    """The partial derivatives that a derivative sums, with their coefficients.

    >>> partials_of((1, 0)), partials_of(Laplacian(1))
    ((((0, 1), 1.0),), (((1, 1), 1.0),))
    """
    if isinstance(derivative, LinearOperator):
        return derivative.partials
    return ((tuple(sorted(derivative)), 1.0),)


class EncodedDerivatives(NamedTuple):
    """Derivatives as two arguments of the ops."""

    derivatives: tuple[int, ...]
    operator_coefficients: tuple[float, ...]


def encode(op: str, derivatives: Iterable[Derivative]) -> EncodedDerivatives:
    """The derivatives as the lists that the ops take.

    Args:
        op: name of the op, for the error.
        derivatives: tuples of input indices and linear operators.

    Raises:
        ValueError: something else among them; the range of the integers is checked by the kernels.

    Example:
        >>> encode("jet_mlp", [(0,), (1, 1), LinearOperator({(0,): 1, (1, 1): -0.5})])[0]
        (1, 0, 2, 1, 1, -2, 1, 0, 2, 1, 1)
    """
    try:
        return _encode(op, tuple(derivatives))
    except TypeError:  # not iterable, or lists, which have no hash
        raise _not_derivatives(op, derivatives) from None


# Hashing is several times faster than the loop, and at small sizes that counts.
@cached
def _encode(op: str, derivatives: tuple[Derivative, ...]) -> EncodedDerivatives:
    encoded: list[int] = []
    coefficients: list[float] = []
    for derivative in derivatives:
        if isinstance(derivative, LinearOperator):
            encoded.append(-len(derivative.partials))
            for indices, coefficient in derivative.partials:
                encoded += (len(indices), *indices)
                coefficients.append(coefficient)
        else:
            partial = _partial(derivative)
            if partial is None:
                raise _not_derivatives(op, derivative)
            encoded += (len(partial), *partial)
    return EncodedDerivatives(tuple(encoded), tuple(coefficients))


def _partial(indices: object) -> tuple[int, ...] | None:
    """Input indices as plain integers; None where that is not what they are."""
    if not isinstance(indices, tuple) or not indices:
        return None
    try:
        partial = tuple(map(operator.index, indices))
    except TypeError:
        return None
    return partial if all(abs(index) <= _LARGEST_INDEX for index in partial) else None


def _constant(coefficient: Any, partial: tuple[int, ...]) -> float:
    if isinstance(coefficient, Tensor) and coefficient.requires_grad:
        raise ValueError(
            f"LinearOperator: coefficients: expected constants, got a tensor that requires a "
            f"gradient for {partial}; ask for the derivative by itself and multiply: nu * u_xx"
        )
    try:
        return float(coefficient)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise ValueError(
            f"LinearOperator: coefficients: expected numbers, got {coefficient!r} for {partial}; "
            "give each derivative one real number"
        ) from None


@cached
def decode(
    encoded: Sequence[int], operator_coefficients: Sequence[float]
) -> tuple[Derivative, ...]:
    """The derivatives of the ops' lists, the inverse of ``encode``.

    >>> decode([1, 0, -2, 1, 0, 2, 1, 1], [2.0, -0.5])
    ((0,), LinearOperator({(0,): 2.0, (1, 1): -0.5}))
    """
    at, coefficients = 0, list(operator_coefficients)

    def indices() -> tuple[int, ...]:
        nonlocal at
        first, at = at + 1, at + 1 + encoded[at]
        if not first < at <= len(encoded):
            raise IndexError
        return tuple(encoded[first:at])

    derivatives: list[Derivative] = []
    try:
        while at < len(encoded):
            if encoded[at] >= 0:
                derivatives.append(indices())
                continue
            partials, at = -encoded[at], at + 1
            sums: dict[tuple[int, ...], float] = defaultdict(float)
            for _ in range(partials):
                sums[indices()] += coefficients.pop(0)
            derivatives.append(LinearOperator(sums))
    except IndexError:
        coefficients = [0.0]
    if coefficients:
        raise ValueError(
            "jet_mlp: derivatives: expected the orders and indices that ``encode`` writes, with "
            f"one coefficient a derivative of an operator, got {list(encoded)} and "
            f"{list(operator_coefficients)}; take them from ``encode``"
        )
    return tuple(derivatives)


def _not_derivatives(op: str, got: object) -> ValueError:
    return ValueError(
        f"{op}: derivatives: expected tuples of input indices, such as (0,) and (1, 1), or "
        f"Laplacian(1, 2), got {got!r}; write [(0,), (1, 1)] for u_t and u_xx of x = (t, x); "
        "u itself always comes first"
    )
