"""Joins derivatives that a residual only sums into one linear operator, that is, one channel."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from pyneural.ops.caching import cached
from pyneural.ops.jet.derivatives import Derivative, LinearOperator, partials_of
from pyneural.ops.jet.plan import make_plan
from pyneural.ops.jet.recorder import Recorder
from pyneural.ops.jet.residual import (
    CHANNEL,
    CONSTANT,
    FUNCTIONS,
    RESIDUAL,
    Instruction,
    ResidualProgram,
)

_Sum = dict[int, float]  # values of a program, each with its coefficient
_Partials = dict[tuple[int, ...], float]  # partial derivatives, likewise


_ADD, _SUB, _MUL, _DIV, _NEG = (FUNCTIONS[f].opcode for f in ("add", "sub", "mul", "div", "neg"))


@cached
def collapse_derivatives(
    derivatives: tuple[Derivative, ...], program: ResidualProgram
) -> tuple[tuple[Derivative, ...], ResidualProgram]:
    """Derivatives and program of the same residuals, with fewer channels where possible.

    A derivative that occurs only in sums with constant coefficients is not needed by itself: all
    such derivatives of an output form one ``LinearOperator``. Of Burgers' u_t + u u_x - nu u_xx
    that leaves the channels u, u_x and (u_t - nu u_xx) instead of four.

    Args:
        derivatives: channels 1, 2, ... of the program.
        program: the residuals.

    Returns:
        derivatives and program; the given ones where no channel is saved.

    >>> from pyneural.ops import record_residual
    >>> heat = record_residual(lambda jet, x, c: jet[1, 0] - 0.5 * jet[2, 0])
    >>> collapse_derivatives(((0,), (1, 1)), heat)
    ((LinearOperator({(0,): 1.0, (1, 1): -0.5}),), ResidualProgram("channel 1 0; residual 0"))
    """
    instructions = list(program.instructions())
    values = [i for i in instructions if i.opcode != RESIDUAL]
    constants = [program.constants[i.operands[0]] if i.opcode == CONSTANT else None for i in values]
    residuals = [i.operands[0] for i in instructions if i.opcode == RESIDUAL]
    sums = [_summands(values, constants, value) for value in residuals]
    if not all(math.isfinite(factor) for summands in sums for factor in summands.values()):
        return derivatives, program
    needed = _reachable(values, (v for s in sums for v in s if not _is_derivative(values[v])))
    used_alone = {values[v].operands[0] for v in needed if _is_derivative(values[v])}

    def is_summed(value: int) -> bool:
        return _is_derivative(values[value]) and values[value].operands[0] not in used_alone

    recorder = Recorder()
    copies: dict[int, int] = {}  # value in the old program: value in the new one
    for value in sorted(_reachable(values, (v for s in sums for v in s if not is_summed(v)))):
        instruction, constant = values[value], constants[value]
        opcode, operands = instruction
        if opcode == CHANNEL:
            derivative = derivatives[operands[0] - 1] if operands[0] else None
            copies[value] = recorder.channel(derivative, operands[1])
        elif constant is not None:
            copies[value] = recorder.constant(constant)
        else:
            if instruction.is_function:
                operands = tuple(copies[operand] for operand in operands)
            copies[value] = recorder.emit(opcode, *operands)

    totals: list[int] = []
    for summands in sums:
        terms: list[tuple[int, float]] = []
        partials: dict[int, _Partials] = defaultdict(lambda: defaultdict(float))
        for value, coefficient in summands.items():
            if is_summed(value):
                channel, output = values[value].operands
                for indices, factor in partials_of(derivatives[channel - 1]):
                    partials[output][indices] += factor * coefficient
            else:
                terms.append((copies[value], coefficient))
        for output, of_output in partials.items():
            nonzero = {indices: c for indices, c in sorted(of_output.items()) if c != 0}
            if nonzero:
                # Normalised, so that proportional operators share one channel; by the largest, so
                # that no coefficient overflows.
                scale = max(nonzero.values(), key=abs)
                operator = LinearOperator({i: c / scale for i, c in nonzero.items()})
                terms.append((recorder.channel(operator, output), scale))
        totals.append(_total(recorder, terms))
    collapsed = tuple(recorder.derivatives)
    if len(make_plan(collapsed).channels) >= len(make_plan(derivatives).channels):
        return derivatives, program
    return collapsed, recorder.program([recorder.symbol(total) for total in totals])


def _total(recorder: Recorder, terms: Sequence[tuple[int, float]]) -> int:
    """The sum of values times coefficients."""
    total: int | None = None
    for value, coefficient in terms:
        if abs(coefficient) != 1:
            value = recorder.emit(_MUL, recorder.constant(abs(coefficient)), value)
        if total is None:
            total = value if coefficient > 0 else recorder.emit(_NEG, value)
        else:
            total = recorder.emit(_ADD if coefficient > 0 else _SUB, total, value)
    return recorder.constant(0.0) if total is None else total


def _is_derivative(instruction: Instruction) -> bool:
    return instruction.opcode == CHANNEL and instruction.operands[0] > 0


def _summands(values: Sequence[Instruction], constants: Sequence[float | None], value: int) -> _Sum:
    """The values that a value is the sum of, through sums and constant factors."""
    total: _Sum = {}
    factors: _Sum = defaultdict(float, {value: 1.0})
    # Operands precede the values that use them: each is visited with its complete factor.
    for v in range(value, -1, -1):
        factor = factors[v]
        if factor == 0:
            continue
        opcode, operands = values[v]
        known = [constants[o] for o in operands] if values[v].is_function else []
        if opcode in (_ADD, _SUB):
            factors[operands[0]] += factor
            factors[operands[1]] += factor if opcode == _ADD else -factor
        elif opcode == _NEG:
            factors[operands[0]] -= factor
        elif opcode == _MUL and known[0] is not None:
            factors[operands[1]] += factor * known[0]
        elif opcode == _MUL and known[1] is not None:
            factors[operands[0]] += factor * known[1]
        elif opcode == _DIV and known[1]:
            factors[operands[0]] += factor / known[1]
        else:
            total[v] = factor
    return dict(sorted(total.items()))


def _reachable(values: Sequence[Instruction], start: Iterable[int]) -> set[int]:
    found: set[int] = set()
    waiting = list(start)
    while waiting:
        value = waiting.pop()
        if value not in found:
            found.add(value)
            if values[value].is_function:
                waiting += values[value].operands
    return found
