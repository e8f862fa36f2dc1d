"""Derivatives of expressions by the chain rule, for values of any kind.

The values may be symbols of a residual program or tensors: the rules only do arithmetic and call
torch functions, so that a derivative is again an expression of the same kind.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable
from itertools import product
from typing import Any

import torch
from torch import Tensor

from pyneural.ops import Derivative, LinearOperator
from pyneural.ops.caching import cached
from pyneural.ops.jet.derivatives import partials_of
from pyneural.ops.jet.plan import make_plan

Value = Any  # of the kind that is differentiated; or a number
Operation = tuple[str, tuple[Any, ...]]  # name and operands

# Of r = F(f), F'(f) as an expression of f and r.
SLOPES: dict[str, Callable[[Value, Value], Value]] = {
    "square": lambda f, r: 2.0 * f,
    "sqrt": lambda f, r: 0.5 / r,
    "rsqrt": lambda f, r: -0.5 * r / f,
    "reciprocal": lambda f, r: -(r * r),
    "sin": lambda f, r: torch.cos(f),
    "cos": lambda f, r: -torch.sin(f),
    "tan": lambda f, r: 1.0 + r * r,
    "asin": lambda f, r: 1.0 / torch.sqrt(1.0 - f * f),
    "acos": lambda f, r: -1.0 / torch.sqrt(1.0 - f * f),
    "atan": lambda f, r: 1.0 / (1.0 + f * f),
    "exp": lambda f, r: r,
    "expm1": lambda f, r: r + 1.0,
    "log": lambda f, r: 1.0 / f,
    "exp2": lambda f, r: math.log(2) * r,
    "log2": lambda f, r: 1.0 / (math.log(2) * f),
    "log10": lambda f, r: 1.0 / (math.log(10) * f),
    "log1p": lambda f, r: 1.0 / (1.0 + f),
    "sinh": lambda f, r: torch.cosh(f),
    "cosh": lambda f, r: torch.sinh(f),
    "tanh": lambda f, r: 1.0 - r * r,
    "sigmoid": lambda f, r: r * (1.0 - r),
    "erf": lambda f, r: 2.0 / math.sqrt(math.pi) * torch.exp(-(f * f)),
    "erfc": lambda f, r: -2.0 / math.sqrt(math.pi) * torch.exp(-(f * f)),
    "abs": lambda f, r: torch.sign(f),
    "relu": lambda f, r: torch.where(f > 0, 1.0, 0.0),
}
# Constant but for jumps, so that their derivative is 0 wherever they have one.
_STEPS = {
    *["lt", "le", "gt", "ge", "eq", "ne", "and", "or", "xor", "invert", "logical_and"],
    *["logical_or", "logical_not", "logical_xor", "less", "less_equal", "greater", "not_equal"],
    *["greater_equal", "isfinite", "isnan", "sign", "floor", "ceil", "round", "trunc", "heaviside"],
    *["zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full", "constant"],
}  # fmt: skip
_SAME = {"clone", "contiguous", "pos", "positive", "to", "double", "float", "type_as"}


def is_zero(value: Value) -> bool:
    """Whether a value is the number 0, with which the rules leave terms out."""
    return isinstance(value, float) and value == 0


def plus(a: Value, b: Value) -> Value:
    """The sum, without zeros."""
    return b if is_zero(a) else a if is_zero(b) else a + b


def minus(a: Value, b: Value) -> Value:
    """The difference, without zeros."""
    return a if is_zero(b) else -b if is_zero(a) else a - b


def times(*factors: Value) -> Value:
    """The product, without ones; 0 if a factor is."""
    if any(map(is_zero, factors)):
        return 0.0
    number = math.prod(f for f in factors if isinstance(f, float))
    others = [f for f in factors if not isinstance(f, float)]
    if not others:
        return number
    total = others[0] if number == 1 else -others[0] if number == -1 else number * others[0]
    for factor in others[1:]:
        total = total * factor
    return total


@cached
def leibniz(wanted: Derivative) -> dict[tuple[Derivative, Derivative], float]:
    """Pairs (derivative of f, derivative of g) in a derivative of f g, with their coefficients.

    >>> leibniz((1, 1))
    {((1, 1), ()): 1.0, ((1,), (1,)): 2.0, ((), (1, 1)): 1.0}
    """
    plan: dict[tuple[Derivative, Derivative], float] = defaultdict(float)
    if isinstance(wanted, LinearOperator):
        plan[wanted, ()] = plan[(), wanted] = 1.0
        for indices, coefficient in wanted.partials:
            for (outer, inner), count in leibniz(indices).items():
                if outer and inner:
                    plan[outer, inner] += coefficient * count
        return dict(plan)
    for to_first in product((True, False), repeat=len(wanted)):
        outer = tuple(i for i, chosen in zip(wanted, to_first, strict=True) if chosen)
        inner = tuple(i for i, chosen in zip(wanted, to_first, strict=True) if not chosen)
        plan[outer, inner] += 1.0
    return dict(plan)


class Differentiator:
    """Derivatives of expressions with respect to coordinates; each is computed once.

    A sum goes term by term, a product by Leibniz' rule, a function of one variable by Faa di
    Bruno's formula, all for a linear operator at once, so that the Laplacian of f(u) asks for that
    of u and not for its parts.

    Args:
        operation: what a value is the result of; None for one that ``leaf`` differentiates.
        leaf: its derivative, or 0.0.
        is_fixed: whether a value is the same at all points.
        key: identifies a value.
        other: a first derivative of the result of an operation without a rule.
    """

    def __init__(
        self,
        operation: Callable[[Value], Operation | None],
        leaf: Callable[[Value, Derivative], Value],
        is_fixed: Callable[[Value], bool],
        key: Callable[[Value], Hashable],
        other: Callable[[Value, int], Value],
    ) -> None:
        self._operation, self._leaf, self._is_fixed = operation, leaf, is_fixed
        self._key, self._other = key, other
        self._known: dict[Hashable, tuple[Value, Value]] = {}
        self._derivatives: dict[Hashable, tuple[Value, list[Value]]] = {}  # of F, for F(f)
        self._slopes: dict[Hashable, Differentiator] = {}

    def derivative(self, value: Value, wanted: Derivative) -> Value:
        """A derivative of a value, which is the number 0.0 where it vanishes everywhere."""
        if wanted == ():
            return value
        if self._is_fixed(value):
            return 0.0
        key = self._key(value), wanted
        if key not in self._known:  # the value is kept too, for its key to stay its own
            self._known[key] = value, self._derive(value, wanted)
        return self._known[key][1]

    def _derive(self, value: Value, wanted: Derivative) -> Value:
        operation = self._operation(value)
        if operation is None:
            return self._leaf(value, wanted)
        name, operands = operation
        rule = getattr(self, f"_{name}", None) if name in _RULES else None
        if rule is not None and len(operands) == _RULES[name]:
            return rule(value, *operands, wanted)
        if name in SLOPES and len(operands) == 1:
            return self._of_function(SLOPES[name], value, operands[0], wanted)
        if name in _STEPS:
            return 0.0
        if name in _SAME:
            return self.derivative(operands[0], wanted)
        if name == "pow" and len(operands) == 2 and any(map(self._is_fixed, operands)):
            return self._pow(value, *operands, wanted)
        return self._one_by_one(value, wanted)

    def _add(self, _: Value, a: Value, b: Value, wanted: Derivative) -> Value:
        return plus(self.derivative(a, wanted), self.derivative(b, wanted))

    def _sub(self, _: Value, a: Value, b: Value, wanted: Derivative) -> Value:
        return minus(self.derivative(a, wanted), self.derivative(b, wanted))

    def _neg(self, _: Value, a: Value, wanted: Derivative) -> Value:
        return times(-1.0, self.derivative(a, wanted))

    def _mul(self, _: Value, a: Value, b: Value, wanted: Derivative) -> Value:
        if self._is_fixed(a):
            return times(a, self.derivative(b, wanted))
        if self._is_fixed(b):
            return times(self.derivative(a, wanted), b)
        if self._key(a) == self._key(b):
            return self._of_function(SLOPES["square"], _, a, wanted)
        total: Value = 0.0
        for (outer, inner), count in leibniz(wanted).items():
            term = times(count, self.derivative(a, outer), self.derivative(b, inner))
            total = plus(total, term)
        return total

    def _div(self, quotient: Value, a: Value, b: Value, wanted: Derivative) -> Value:
        total = self.derivative(a, wanted)
        if not self._is_fixed(b):  # from a = quotient b
            for (outer, inner), count in leibniz(wanted).items():
                if inner != ():
                    slope = self.derivative(b, inner)
                    if not is_zero(slope):
                        term = times(count, self.derivative(quotient, outer), slope)
                        total = minus(total, term)
        return 0.0 if is_zero(total) else total / b

    def _pow(self, value: Value, a: Value, b: Value, wanted: Derivative) -> Value:
        if self._is_fixed(a):
            logarithm = torch.log(a) if isinstance(a, Tensor) else math.log(a)
            return self._of_function(lambda f, r: times(r, logarithm), value, b, wanted)

        def slope(f: Value, r: Value) -> Value:
            if isinstance(b, (int, float)):
                return float(b) if b == 1 else float(b) * (f if b == 2 else f ** (b - 1))
            return b * f ** (b - 1)

        return self._of_function(slope, value, a, wanted)

    def _where(self, value: Value, chosen: Value, a: Value, b: Value, wanted: Derivative) -> Value:
        slopes = [self.derivative(a, wanted), self.derivative(b, wanted)]
        if all(map(is_zero, slopes)):
            return 0.0
        if all(isinstance(slope, float) for slope in slopes):  # in the dtype of the value
            slopes = [torch.full_like(value, slope) for slope in slopes]
        return torch.where(chosen, *slopes)

    def _maximum(self, _: Value, a: Value, b: Value, wanted: Derivative) -> Value:
        return self._where(_, a >= b, a, b, wanted)

    def _minimum(self, _: Value, a: Value, b: Value, wanted: Derivative) -> Value:
        return self._where(_, a <= b, a, b, wanted)

    def _of_function(
        self, slope: Callable[[Value, Value], Value], value: Value, f: Value, wanted: Derivative
    ) -> Value:
        """A derivative of value = F(f) by the formula of Faa di Bruno."""
        total: Value = 0.0
        key = self._key(value)
        if key not in self._derivatives:
            self._derivatives[key] = value, [slope(f, value)]
        _, slopes = self._derivatives[key]
        for coefficient, factors in make_plan((wanted,)).channels[wanted]:
            inner = times(float(coefficient), *(self.derivative(f, block) for block in factors))
            if is_zero(inner):
                continue
            while len(slopes) < len(factors):
                slopes.append(self._slope_in(f).derivative(slopes[-1], (0,)))
            total = plus(total, times(slopes[len(factors) - 1], inner))
        return total

    def _slope_in(self, f: Value) -> Differentiator:
        """Differentiates expressions of f with respect to f."""
        seed = self._key(f)
        if seed not in self._slopes:
            self._slopes[seed] = Differentiator(
                lambda value: None if self._key(value) == seed else self._operation(value),
                lambda value, _: 1.0 if self._key(value) == seed else 0.0,
                self._is_fixed,
                self._key,
                self._other,
            )
        return self._slopes[seed]

    def _one_by_one(self, value: Value, wanted: Derivative) -> Value:
        total: Value = 0.0
        for (first, *others), coefficient in partials_of(wanted):
            key = self._key(value), (first,)
            if key not in self._known:
                self._known[key] = value, self._other(value, first)
            term = self.derivative(self._known[key][1], tuple(others))
            total = plus(total, times(coefficient, term))
        return total


# Operations with a rule of their own, and how many operands they have.
_RULES = {"add": 2, "sub": 2, "neg": 1, "mul": 2, "div": 2, "where": 3, "maximum": 2, "minimum": 2}
