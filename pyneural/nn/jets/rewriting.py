"""A residual program of u, written anew for the network that u is made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from pyneural.nn.jets.expression import Column
from pyneural.nn.jets.space import Program, Space
from pyneural.ops.jet.residual import (
    CHANNEL,
    COEFFICIENT,
    COLUMN,
    CONSTANT,
    INPUT,
    RESIDUAL,
    ResidualProgram,
)


def rewrite(
    space: Space,
    residual: ResidualProgram,
    outputs: Sequence[Column],
    coefficients: Tensor | None,
    columns: Tensor | None,
) -> ResidualProgram:
    """The program of the same residuals, with the space's recorder, which knows what it reads.

    Args:
        space: of u.
        residual: of u and its derivatives.
        outputs: those of u, as symbols of the recorder.
        coefficients: of the residual, [Q].
        columns: of the residual, [R, N].

    Raises:
        NotExpressibleError: a function that programs do not have.
    """
    program: Program = space.recorder  # type: ignore[assignment]
    given = () if coefficients is None else coefficients.unbind()
    rows = () if columns is None else columns.unbind()
    read: dict[tuple[int, int], Any] = {}

    def once(opcode: int, number: int, column: Tensor) -> Any:
        if (opcode, number) not in read:
            read[opcode, number] = program.values(column)
        return read[opcode, number]

    values: list[Any] = []
    residuals: list[Any] = []
    for opcode, operands in residual.instructions():
        a = operands[0]
        if opcode == RESIDUAL:
            residuals.append(values[a])
        elif opcode == CHANNEL:
            channel = space.plan.outputs[a - 1] if a else ()
            symbol = outputs[operands[1]].get(channel)
            values.append(0.0 if symbol is None else symbol)
        elif opcode == INPUT:
            values.append(once(INPUT, a, space.x[:, a]))
        elif opcode == COEFFICIENT:
            values.append(program.symbol(program.operand(given[a])))
        elif opcode == COLUMN:
            values.append(once(COLUMN, a, rows[a]))
        elif opcode == CONSTANT:
            values.append(residual.constants[a])
        else:
            indices = [program.operand(values[index]) for index in operands]
            values.append(program.symbol(program.emit(opcode, *indices)))
    return program.program(residuals)
