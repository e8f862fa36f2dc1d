"""The values of a residual program as sums of derivatives and others, with equal factors taken out.

A sum here is what additions, subtractions, changes of sign and constant factors make of a value:

    sum_k c_k value_k + sum_j c_j m_j s_j

with constants c, other sums s, and multipliers m, which are values too, or divisors.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pyneural.ops.jet.residual import (
    CHANNEL,
    CONSTANT,
    FUNCTIONS,
    RESIDUAL,
    Instruction,
    ResidualProgram,
)

_ADD, _SUB, MUL, DIV, _NEG = (FUNCTIONS[f].opcode for f in ("add", "sub", "mul", "div", "neg"))
_FUNCTIONS = {function.opcode for function in FUNCTIONS.values()}
# A constant changes places with a multiplier only where it does not move values far in the range
# of float32.
_SMALLEST_MOVED = 1e-10
_DEEPEST = 4  # products within products


class Product(NamedTuple):
    """coefficient * multiplier * inner, or, where the opcode is DIV, coefficient * inner / it."""

    opcode: int
    multiplier: int
    coefficient: float
    inner: Sum


class Sum(NamedTuple):
    """A value as the sum of others, each with its coefficient."""

    derivatives: dict[int, dict[int, float]]  # by output and channel; those that cancel have 0
    others: dict[int, float]
    products: list[Product]

    def changes(self, alone: frozenset[int]) -> bool:
        """Whether derivatives are joined or cancel, but for those needed alone."""
        return bool(self.products) or any(c.keys() - alone for c in self.derivatives.values())

    def joins(self, alone: frozenset[int]) -> bool:
        """Whether derivatives of an output come together or cancel, but for those needed alone."""
        return bool(self.products) or any(
            len(others) > 1 or 0 in others.values()
            for c in self.derivatives.values()
            for others in [{channel: c[channel] for channel in c.keys() - alone}]
        )


class LinearSums:
    """The values of a program as sums.

    Args:
        program: the residuals.
    """

    def __init__(self, program: ResidualProgram) -> None:
        self.residuals: list[int] = []
        places: list[int] = []  # where the values have come
        found: dict[Instruction, int] = {}  # equal ones once, whatever the order of their operands
        for opcode, operands in program.instructions():
            if opcode == RESIDUAL:
                self.residuals.append(places[operands[0]])
                continue
            if opcode in _FUNCTIONS:
                operands = tuple(places[operand] for operand in operands)
            if opcode in (_ADD, MUL):
                operands = tuple(sorted(operands))
            places.append(found.setdefault(Instruction(opcode, operands), len(found)))
        self.values = list(found)
        self.constants = [
            program.constants[v.operands[0]] if v.opcode == CONSTANT else None for v in self.values
        ]
        self._has_derivatives = self._find_derivatives()
        self._may_change = self._find_changeable()

    def needed(self, alone: frozenset[int]) -> tuple[dict[int, Sum], list[int]]:
        """The sums that join or cancel derivatives, and all values needed, in their order.

        Args:
            alone: channels that stay as they are.

        Raises:
            OverflowError: a coefficient is not finite.
        """
        found: dict[int, Sum] = {}
        seen: set[int] = set()
        waiting = [(residual, True) for residual in self.residuals]
        while waiting:
            value, is_whole = waiting.pop()
            if value in seen:
                continue
            seen.add(value)
            if not self.values[value].is_function:
                continue
            is_sum = self._parts(value) is not None
            if is_sum and is_whole and self._may_change[value]:
                as_sum = self._sum(self._summands({value: 1.0}), alone)
                if as_sum.changes(alone):
                    found[value] = as_sum
                    waiting += [(operand, True) for operand in _operands(as_sum)]
                    continue
            # The parts of a sum that stays as it is stay so too.
            waiting += [(operand, not is_sum) for operand in self.values[value].operands]
        return found, sorted(seen)

    def is_derivative(self, value: int) -> bool:
        """Whether a value is a channel but that of the network's value."""
        opcode, operands = self.values[value]
        return opcode == CHANNEL and operands[0] > 0

    def _sum(self, summands: Mapping[int, float], alone: frozenset[int], depth: int = 0) -> Sum:
        """Values times coefficients, with multipliers taken out where that joins derivatives."""
        products, taken = self._products(summands, alone, depth)
        derivatives: dict[int, dict[int, float]] = defaultdict(dict)
        others: dict[int, float] = {}
        for value, coefficient in sorted(summands.items()):
            if self.is_derivative(value):
                channel, output = self.values[value].operands
                derivatives[output][channel] = coefficient
            elif coefficient != 0 and value not in taken:
                others[value] = coefficient
        return Sum(derivatives, others, products)

    def _products(
        self, summands: Mapping[int, float], alone: frozenset[int], depth: int
    ) -> tuple[list[Product], set[int]]:
        """Products that join derivatives, and the values that they stand for."""
        groups: dict[tuple[int, int], list[tuple[int, float, int]]] = defaultdict(list)
        for value, coefficient in sorted(summands.items()):
            for opcode, multiplier, inner in self._factors(value):
                multiplier, factor = self._without_constants(multiplier)
                moved = coefficient * factor if opcode == MUL else coefficient / factor
                if moved != 0 and depth < _DEEPEST:
                    groups[opcode, multiplier].append((value, moved, inner))
        products: list[Product] = []
        taken: set[int] = set()
        for (opcode, multiplier), group in sorted(groups.items(), key=lambda g: -len(g[1])):
            group = [entry for entry in group if entry[0] not in taken]
            coefficients = [coefficient for _, coefficient, _ in group]
            largest = max(coefficients, key=abs, default=0.0)
            if len(group) < 2 or min(map(abs, coefficients)) < _SMALLEST_MOVED * abs(largest):
                continue
            factors: dict[int, float] = defaultdict(float)
            for _, coefficient, inner in group:
                factors[inner] += coefficient / largest
            joined = self._sum(self._summands(factors), alone, depth + 1)
            if joined.joins(alone):
                products.append(Product(opcode, multiplier, largest, joined))
                taken.update(value for value, _, _ in group)
        return products, taken

    def _factors(self, value: int) -> Iterator[tuple[int, int, int]]:
        """Opcode, multiplier or divisor, and a value with derivatives of which it is that."""
        opcode, operands = self.values[value]
        if opcode == MUL:
            for multiplier, inner in dict.fromkeys((operands, operands[::-1])):
                if self._has_derivatives[inner]:
                    yield MUL, multiplier, inner
        elif opcode == DIV and self._has_derivatives[operands[0]]:
            yield DIV, operands[1], operands[0]

    def _without_constants(self, value: int) -> tuple[int, float]:
        """A value as another one times a constant."""
        inner, factor = value, 1.0
        while (parts := self._parts(inner)) is not None and len(parts) == 1:
            inner, factor = parts[0][0], factor * parts[0][1]
        is_near = _SMALLEST_MOVED <= abs(factor) <= 1 / _SMALLEST_MOVED
        return (inner, factor) if is_near else (value, 1.0)

    def _summands(self, factors: Mapping[int, float]) -> dict[int, float]:
        """Values times factors as a sum of values that are no sums themselves."""
        total: dict[int, float] = {}
        found = dict(factors)
        waiting = [-value for value in found]
        heapq.heapify(waiting)
        # Operands precede the values that use them: each is visited with its complete factor.
        while waiting:
            value = -heapq.heappop(waiting)
            factor = found[value]
            if not math.isfinite(factor):
                raise OverflowError
            parts = self._parts(value)
            if parts is None:
                total[value] = factor
                continue
            for part, constant in parts:
                if part not in found:
                    heapq.heappush(waiting, -part)
                found[part] = found.get(part, 0.0) + factor * constant
        return total

    def _parts(self, value: int) -> list[tuple[int, float]] | None:
        """The values that one is the sum of, each with its constant factor; None for no sum."""
        opcode, operands = self.values[value]
        if opcode in (_ADD, _SUB):
            return [(operands[0], 1.0), (operands[1], 1.0 if opcode == _ADD else -1.0)]
        if opcode == _NEG:
            return [(operands[0], -1.0)]
        if opcode == MUL:
            for operand, other in (operands, operands[::-1]):
                constant = self.constants[operand]
                if constant is not None:
                    return [(other, constant)]
        if opcode == DIV and (constant := self.constants[operands[1]]):
            return [(operands[0], 1 / constant)]
        return None

    def _find_derivatives(self) -> list[bool]:
        """Which values have derivatives as summands or factors."""
        found: list[bool] = []
        for index, (opcode, operands) in enumerate(self.values):
            if opcode in (_ADD, _SUB, MUL, _NEG):
                found.append(any(found[operand] for operand in operands))
            elif opcode == DIV:
                found.append(found[operands[0]])
            else:
                found.append(self.is_derivative(index))
        return found

    def _find_changeable(self) -> list[bool]:
        """Which values with derivatives reach the residuals through sums and products alone.

        Rounding may make others, as those of which there is a root or a quotient, not finite.
        """
        found = list(self._has_derivatives)
        for index in reversed(range(len(self.values))):
            opcode, operands = self.values[index]
            if not self.values[index].is_function:
                continue
            passes = operands if opcode in (_ADD, _SUB, MUL, _NEG) else ()
            if opcode == DIV:
                passes = operands[:1]
            for place, operand in enumerate(operands):
                found[operand] &= found[index] and place < len(passes)
        return found


def _operands(value: Sum) -> Iterator[int]:
    """The values that a sum takes, but for derivatives."""
    yield from value.others
    for product in value.products:
        yield product.multiplier
        yield from _operands(product.inner)
