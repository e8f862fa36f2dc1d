"""Joins derivatives that a residual only sums into one linear operator, that is, one channel."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from pyneural.ops.caching import cached
from pyneural.ops.derivatives import Derivative, LinearOperator, partials_of
from pyneural.ops.residual import Instruction, parse
from pyneural.ops.taylor import make_plan
from pyneural.pde.lowering import Program

_Sum = dict[int, float]  # values of a program, each with its coefficient
_Partials = dict[tuple[int, ...], float]  # partial derivatives, likewise


@cached
def collapse(derivatives: tuple[Derivative, ...], text: str) -> tuple[tuple[Derivative, ...], str]:
    """Derivatives and program of the same residuals, with fewer channels where possible.

    A derivative that occurs only in sums with constant coefficients is not needed by itself: all
    such derivatives of an output form one ``ops.LinearOperator``. Of Burgers'
    u_t + u u_x - nu u_xx that leaves the channels u, u_x and (u_t - nu u_xx) instead of four.

    Args:
        derivatives: channels 1, 2, ... of the program.
        text: a residual program, as ``lower`` writes it.

    Returns:
        derivatives and text; the given ones where no channel is saved.

    >>> heat = "channel 1 0; channel 2 0; const 0.5; mul 2 1; sub 0 3; residual 4"
    >>> collapse(((0,), (1, 1)), heat)
    ((LinearOperator({(0,): 1.0, (1, 1): -0.5}),), 'channel 1 0; residual 0')
    """
    instructions = parse(text)
    values = [i for i in instructions if i.name != "residual"]
    sums = [_summands(values, i.operands[0]) for i in instructions if i.name == "residual"]
    if not all(math.isfinite(factor) for summands in sums for factor in summands.values()):
        return derivatives, text
    needed = _reachable(values, (v for s in sums for v in s if not _is_derivative(values[v])))
    used_alone = {values[v].operands[0] for v in needed if _is_derivative(values[v])}

    def is_summed(value: int) -> bool:
        return _is_derivative(values[value]) and values[value].operands[0] not in used_alone

    program = Program(())
    copies: dict[int, int] = {}  # value in the old program: value in the new one
    for value in sorted(_reachable(values, (v for s in sums for v in s if not is_summed(v)))):
        name, operands, constant = values[value]
        if name == "channel":
            derivative = derivatives[operands[0] - 1] if operands[0] else None
            copies[value] = program.channel(derivative, operands[1])
        elif name == "const":
            copies[value] = program.operand(constant)
        else:
            if _takes_values(name):
                operands = tuple(copies[operand] for operand in operands)
            copies[value] = program.emit(" ".join([name, *map(str, operands)]))

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
                terms.append((program.channel(operator, output), scale))
        program.residuals.append(_total(program, terms))
    collapsed = tuple(program.derivatives)
    if len(make_plan(collapsed).channels) >= len(make_plan(derivatives).channels):
        return derivatives, text
    return collapsed, program.text()


def _total(program: Program, terms: Sequence[tuple[int, float]]) -> int:
    """The value of a program that is the sum of values times coefficients."""
    total: int | None = None
    for value, coefficient in terms:
        if abs(coefficient) != 1:
            value = program.emit(f"mul {program.operand(abs(coefficient))} {value}")
        if total is None:
            total = value if coefficient > 0 else program.emit(f"neg {value}")
        else:
            total = program.emit(f"{'add' if coefficient > 0 else 'sub'} {total} {value}")
    return program.operand(0.0) if total is None else total


def _takes_values(name: str) -> bool:
    return name not in ("channel", "input", "coefficient", "const")


def _is_derivative(instruction: Instruction) -> bool:
    return instruction.name == "channel" and instruction.operands[0] > 0


def _summands(values: Sequence[Instruction], value: int) -> _Sum:
    """The values that a value is the sum of, through sums and constant factors."""
    total: _Sum = {}
    factors: _Sum = defaultdict(float, {value: 1.0})
    # Operands precede the values that use them: each is visited with its complete factor.
    for v in range(value, -1, -1):
        factor = factors[v]
        if factor == 0:
            continue
        name, operands, _ = values[v]
        constants = [values[o].constant if values[o].name == "const" else None for o in operands]
        if name in ("add", "sub"):
            factors[operands[0]] += factor
            factors[operands[1]] += factor if name == "add" else -factor
        elif name == "neg":
            factors[operands[0]] -= factor
        elif name == "mul" and constants[0] is not None:
            factors[operands[1]] += factor * constants[0]
        elif name == "mul" and constants[1] is not None:
            factors[operands[0]] += factor * constants[1]
        elif name == "div" and constants[1]:
            factors[operands[0]] += factor / constants[1]
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
            name, operands, _ = values[value]
            if _takes_values(name):
                waiting += operands
    return found
