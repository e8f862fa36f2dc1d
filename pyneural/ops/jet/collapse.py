"""Joins derivatives that a residual only sums into one linear operator, that is, one channel."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from pyneural.ops.caching import cached
from pyneural.ops.jet.derivatives import Derivative, LinearOperator, partials_of
from pyneural.ops.jet.linear_sums import DIV, MUL, LinearSums, Sum
from pyneural.ops.jet.plan import make_plan
from pyneural.ops.jet.recorder import Recorder
from pyneural.ops.jet.residual import CHANNEL, FUNCTIONS, ResidualProgram

_ADD, _SUB, _NEG = (FUNCTIONS[f].opcode for f in ("add", "sub", "neg"))
_Combination = dict[int, float]  # channels of an output, each with its coefficient


@cached
def collapse_derivatives(
    derivatives: tuple[Derivative, ...], program: ResidualProgram
) -> tuple[tuple[Derivative, ...], ResidualProgram]:
    """Derivatives and program of the same residuals, with fewer channels where possible.

    A derivative that occurs only in sums with constant coefficients is not needed by itself: all
    such derivatives of an output in a sum form one ``LinearOperator``. Of Burgers' u_t + u u_x -
    nu u_xx that leaves the channels u, u_x and (u_t - nu u_xx) instead of four. Equal factors are
    taken out, k u_xx + k u_yy = k (u_xx + u_yy), and equal divisors, whatever their values are.

    The results differ by rounding. A product is not regrouped with another one, so that none
    overflows that did not before.

    Args:
        derivatives: channels 1, 2, ... of the program.
        program: the residuals.

    Returns:
        derivatives and program; the given ones where no channel is saved.

    >>> from pyneural.ops import record_residual
    >>> heat = record_residual(lambda jet, x, c: jet[1, 0] - 0.5 * jet[2, 0])
    >>> collapse_derivatives(((0,), (1, 1)), heat)
    ((LinearOperator({(0,): 1.0, (1, 1): -0.5}),), ResidualProgram("channel 1 0; residual 0"))
    >>> field = record_residual(lambda jet, x, c, k: k[0] * jet[1, 0] + k[0] * jet[2, 0])
    >>> collapse_derivatives(((0, 0), (1, 1)), field)[1]
    ResidualProgram("column 0; channel 1 0; mul 0 1; residual 2")
    """
    sums = LinearSums(program)
    try:
        alone = _needed_alone(derivatives, sums)
        collapsed, joined = _rebuilt(derivatives, sums, alone)
    except OverflowError:
        return derivatives, program
    if len(make_plan(collapsed).channels) >= len(make_plan(derivatives).channels):
        return derivatives, program
    return collapsed, joined


def _needed_alone(derivatives: Sequence[Derivative], sums: LinearSums) -> frozenset[int]:
    """The channels that are better not joined with others."""
    found, order = sums.needed(frozenset())
    combinations = [c for value in found.values() for c in _combinations(value)]
    singles = {sums.values[v].operands[0] for v in order if sums.is_derivative(v)}

    def left(alone: frozenset[int]) -> Iterator[_Combination]:
        for combination in combinations:
            yield {channel: c for channel, c in combination.items() if channel not in alone}

    def with_singles(alone: frozenset[int]) -> frozenset[int]:
        """Also those that remain as the only ones of a combination."""
        while more := {next(iter(c)) for c in left(alone) if len(c) == 1}:
            alone = alone | more
        return alone

    def count(alone: frozenset[int]) -> int:
        operators = {_operator(derivatives, c)[0] for c in left(alone) if c}
        return len(alone) + len(operators - {None})

    alone = with_singles(frozenset(singles))
    # Of (a + b), (a - b) and (a + 2 b) three operators would be more than a and b.
    fewest = count(alone)
    for combination in left(alone):
        fewer = with_singles(alone | combination.keys())
        if count(fewer) < fewest:
            alone, fewest = fewer, count(fewer)
    return alone


def _combinations(value: Sum) -> Iterator[_Combination]:
    """The derivatives of each output that a sum joins, and those of the sums in it."""
    for combination in value.derivatives.values():
        yield {channel: c for channel, c in combination.items() if c != 0}
    for product in value.products:
        yield from _combinations(product.inner)


def _operator(
    derivatives: Sequence[Derivative], combination: Mapping[int, float]
) -> tuple[Derivative | None, float]:
    """A combination of derivatives as one times a number; None where nothing is left of it."""
    partials: dict[tuple[int, ...], float] = defaultdict(float)
    for channel, coefficient in combination.items():
        for indices, factor in partials_of(derivatives[channel - 1]):
            partials[indices] += factor * coefficient
    nonzero = {indices: c for indices, c in sorted(partials.items()) if c != 0}
    if not all(map(math.isfinite, nonzero.values())):
        raise OverflowError
    if not nonzero:
        return None, 0.0
    # Normalised, so that proportional operators share one channel; by the largest, so that no
    # coefficient overflows.
    scale = max(nonzero.values(), key=abs)
    if len(nonzero) == 1:
        return next(iter(nonzero)), scale
    return LinearOperator({i: c / scale for i, c in nonzero.items()}), scale


def _rebuilt(
    derivatives: Sequence[Derivative], sums: LinearSums, alone: frozenset[int]
) -> tuple[tuple[Derivative, ...], ResidualProgram]:
    """The program in which all derivatives but those alone are joined."""
    recorder = Recorder()
    copies: dict[int, int] = {}  # value in the old program: value in the new one

    def emit_sum(value: Sum) -> int:
        terms = [(copies[v], coefficient) for v, coefficient in value.others.items()]
        for output, combination in value.derivatives.items():
            joined = {}
            for channel, coefficient in combination.items():
                if channel not in alone:
                    joined[channel] = coefficient
                elif coefficient != 0:
                    terms.append((recorder.channel(derivatives[channel - 1], output), coefficient))
            operator, scale = _operator(derivatives, joined)
            if operator is not None:
                terms.append((recorder.channel(operator, output), scale))
        for product in value.products:
            inner, multiplier = emit_sum(product.inner), copies[product.multiplier]
            operands = (inner, multiplier) if product.opcode == DIV else (multiplier, inner)
            terms.append((recorder.emit(product.opcode, *operands), product.coefficient))
        return _total(recorder, terms)

    rebuilt, order = sums.needed(alone)
    for value in order:
        (opcode, operands), constant = sums.values[value], sums.constants[value]
        if value in rebuilt:
            copies[value] = emit_sum(rebuilt[value])
        elif opcode == CHANNEL:
            derivative = derivatives[operands[0] - 1] if operands[0] else None
            copies[value] = recorder.channel(derivative, operands[1])
        elif constant is not None:
            copies[value] = recorder.constant(constant)
        elif sums.values[value].is_function:
            copies[value] = recorder.emit(opcode, *(copies[operand] for operand in operands))
        else:
            copies[value] = recorder.emit(opcode, *operands)
    residuals = [recorder.symbol(copies[residual]) for residual in sums.residuals]
    return tuple(recorder.derivatives), recorder.program(residuals)


def _total(recorder: Recorder, terms: Sequence[tuple[int, float]]) -> int:
    """The sum of values times coefficients."""
    total: int | None = None
    # One that is added comes first, and saves a change of sign.
    first = next((k for k, (_, coefficient) in enumerate(terms) if coefficient > 0), 0)
    for value, coefficient in (*terms[first : first + 1], *terms[:first], *terms[first + 1 :]):
        if abs(coefficient) != 1:
            value = recorder.emit(MUL, recorder.constant(abs(coefficient)), value)
        if total is None:
            total = value if coefficient > 0 else recorder.emit(_NEG, value)
        else:
            total = recorder.emit(_ADD if coefficient > 0 else _SUB, total, value)
    return recorder.constant(0.0) if total is None else total
