"""Residual equations as a program of instructions, evaluated with torch.

Each instruction but ``residual`` defines the next value, numbered from 0:

    channel a b     derivative a (0: the value) of output b      input a          coordinate a of x
    constant a      element a of the constants                   coefficient a    element a
    column a        row a of the columns                         residual a       value a = 0
    the functions of ``FUNCTIONS`` of values a and b

The kernel of ``jet_mlp_loss`` reads the same list, csrc/jet/residual.h.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pyneural.ops.caching import cached


class Function(NamedTuple):
    """A function that residuals may use; torch knows its derivative."""

    opcode: int  # in exported programs too: never changed
    operands: int
    evaluate: Callable[..., Tensor]


# Each has its entry with the same opcode in csrc/jet/residual_functions.h.
FUNCTIONS = {
    "add": Function(8, 2, torch.add),
    "sub": Function(9, 2, torch.sub),
    "mul": Function(10, 2, torch.mul),
    "div": Function(11, 2, torch.div),
    "neg": Function(12, 1, torch.neg),
    "square": Function(13, 1, torch.square),
    "sqrt": Function(14, 1, torch.sqrt),
    "sin": Function(15, 1, torch.sin),
    "cos": Function(16, 1, torch.cos),
    "exp": Function(17, 1, torch.exp),
    "log": Function(18, 1, torch.log),
    "tanh": Function(19, 1, torch.tanh),
    "abs": Function(20, 1, torch.abs),
}
# As in csrc/jet/residual_functions.h.
RESIDUAL, CONSTANT, COEFFICIENT, INPUT, CHANNEL, COLUMN = range(6)
_OPERANDS = {
    RESIDUAL: ("residual", 1),
    CONSTANT: ("constant", 1),
    COEFFICIENT: ("coefficient", 1),
    INPUT: ("input", 1),
    CHANNEL: ("channel", 2),
    COLUMN: ("column", 1),
    **{f.opcode: (name, f.operands) for name, f in FUNCTIONS.items()},
}
_EVALUATE = {function.opcode: function.evaluate for function in FUNCTIONS.values()}


class Instruction(NamedTuple):
    """One instruction; what its operands are depends on the opcode."""

    opcode: int
    operands: tuple[int, ...]

    @property
    def is_function(self) -> bool:
        """Whether the operands are values."""
        return self.opcode in _EVALUATE


class ResidualProgram(NamedTuple):
    """Equations r(u, derivatives of u, x, coefficients, columns) = 0 for ``jet_mlp_loss``.

    ``record_residual`` writes one from a function in Python, ``pde.Equation`` from an equation. Its
    two lists are arguments of the op, which checks them.

    Args:
        code: opcode and two operands of each instruction.
        constants: the constants.

    Example:
        >>> ResidualProgram((CHANNEL, 0, 0, CONSTANT, 0, 0, 10, 0, 1, RESIDUAL, 2, 0), (0.5,))
        ResidualProgram("channel 0 0; constant 0.5; mul 0 1; residual 2")
    """

    code: tuple[int, ...]
    constants: tuple[float, ...]

    def instructions(self) -> Iterator[Instruction]:
        """The instructions one by one."""
        return _instructions(self.code)

    def residuals(self) -> list[int]:
        """The values that are residuals."""
        return [operands[0] for opcode, operands in self.instructions() if opcode == RESIDUAL]

    @cached
    def scaled(self, first: int) -> ResidualProgram:
        """The same program with residual e multiplied with coefficient first + e.

        >>> ResidualProgram((CHANNEL, 0, 0, RESIDUAL, 0, 0), ()).scaled(0)
        ResidualProgram("channel 0 0; coefficient 0; mul 0 1; residual 2")
        """
        return self._times(COEFFICIENT, first)

    @cached
    def weighted(self, first: int) -> ResidualProgram:
        """The same program with residual e multiplied with column first + e, point by point.

        >>> ResidualProgram((CHANNEL, 0, 0, RESIDUAL, 0, 0), ()).weighted(2)
        ResidualProgram("channel 0 0; column 2; mul 0 1; residual 2")
        """
        return self._times(COLUMN, first)

    def _times(self, opcode: int, first: int) -> ResidualProgram:
        values = [line for line in self._lines() if line[0] != RESIDUAL]
        marks = []
        for index, residual in enumerate(self.residuals()):
            values += [(opcode, first + index, 0)]
            values += [(FUNCTIONS["mul"].opcode, residual, len(values) - 1)]
            marks += [(RESIDUAL, len(values) - 1, 0)]
        return ResidualProgram(tuple(n for line in (*values, *marks) for n in line), self.constants)

    @cached
    def moved(self, first: int) -> ResidualProgram:
        """The same residuals for coordinates from which coefficients first, ... were subtracted.

        >>> ResidualProgram((INPUT, 1, 0, RESIDUAL, 0, 0), ()).moved(3)
        ResidualProgram("input 1; coefficient 4; add 0 1; residual 2")
        """
        values: list[tuple[int, ...]] = []
        marks, places = [], list[int]()  # where the values have come
        for opcode, *operands in self._lines():
            if opcode == RESIDUAL:
                marks.append((RESIDUAL, places[operands[0]], 0))
                continue
            if opcode in _EVALUATE:
                count = _OPERANDS[opcode][1]
                operands = [places[a] for a in operands[:count]] + [0] * (2 - count)
            values.append((opcode, *operands))
            if opcode == INPUT:
                values.append((COEFFICIENT, first + operands[0], 0))
                values.append((FUNCTIONS["add"].opcode, len(values) - 2, len(values) - 1))
            places.append(len(values) - 1)
        return ResidualProgram(tuple(n for line in (*values, *marks) for n in line), self.constants)

    def _lines(self) -> Iterator[tuple[int, ...]]:
        """Opcode and two operands of each instruction."""
        return zip(*[iter(self.code)] * 3, strict=True)

    def __repr__(self) -> str:
        lines = []
        for opcode, operands in self.instructions():
            shown = [self.constants[operands[0]]] if opcode == CONSTANT else operands
            lines.append(" ".join([_OPERANDS[opcode][0], *map(str, shown)]))
        return f'ResidualProgram("{"; ".join(lines)}")'


def evaluate_residual(
    code: Sequence[int], constants: Sequence[float], channels: Sequence[Tensor] | Tensor, x: Tensor,
    coefficients: Tensor, columns: Tensor | None = None, op: str = "jet_mlp_loss",
) -> list[Tensor]:  # fmt: skip
    """The residuals of a program, in the order in which they are marked.

    Args:
        code: as ``ResidualProgram``.
        constants: as ``ResidualProgram``.
        channels: the jet, [1 + K, N, O] or a tuple of [N, O]: the value, then the derivatives.
        x: points, [N, D]; or the jet of the network's inputs, which no instruction reads.
        coefficients: [Q], or [Q, N] where each point has its own.
        columns: [R, N].
        op: whose program it is, for errors.

    Returns:
        one [N] a residual.

    Raises:
        ValueError: an unknown opcode, or operands that are not there.

    Example:
        >>> channels, x = torch.tensor([[[2.0]], [[3.0]]]), torch.tensor([[5.0]])
        >>> code = CHANNEL, 0, 0, CHANNEL, 1, 0, FUNCTIONS["mul"].opcode, 0, 1, RESIDUAL, 2, 0
        >>> evaluate_residual(code, (), channels, x, torch.empty(0))
        [tensor([6.])]
    """
    sizes = {
        CHANNEL: (len(channels), channels[0].shape[1]),
        INPUT: x.shape[1:] if x.dim() == 2 else (0,),
        COEFFICIENT: coefficients.shape[:1],
        CONSTANT: (len(constants),),
        COLUMN: (0,) if columns is None else columns.shape[:1],
    }
    values: list[Tensor] = []
    residuals: list[Tensor] = []
    for opcode, operands in _instructions(code, op):
        limits = sizes.get(opcode, (len(values),) * len(operands))
        if any(not 0 <= a < limit for a, limit in zip(operands, limits, strict=True)):
            shown = " ".join([_OPERANDS[opcode][0], *map(str, operands)])
            if opcode == INPUT and x.dim() == 3:
                expected = "columns for the coordinates, since x is a jet of the network's inputs"
            else:
                expected = "operands that are defined before or that the call has"
            raise _error(f'{expected}, got "{shown}"', op)
        if opcode == RESIDUAL:
            residuals.append(values[operands[0]].expand(x.shape[-2:-1]))
        elif opcode == CHANNEL:
            values.append(channels[operands[0]][:, operands[1]])
        elif opcode == INPUT:
            values.append(x[:, operands[0]])
        elif opcode == COEFFICIENT:
            values.append(coefficients[operands[0]])
        elif opcode == COLUMN and columns is not None:
            values.append(columns[operands[0]])
        elif opcode == CONSTANT:
            values.append(x.new_full((), constants[operands[0]]))
        else:
            values.append(_EVALUATE[opcode](*(values[a] for a in operands)))
    if not residuals:
        raise _error("at least one residual, got none", op)
    return residuals


def _instructions(code: Sequence[int], op: str = "jet_mlp_loss") -> Iterator[Instruction]:
    if len(code) % 3:
        raise _error(f"three whole numbers for each instruction, got {len(code)} numbers", op)
    for at in range(0, len(code), 3):
        opcode, a, b = code[at : at + 3]
        if opcode not in _OPERANDS:
            raise _error(f'an opcode of the residual functions, got "opcode {opcode} {a} {b}"', op)
        yield Instruction(opcode, (a, b)[: _OPERANDS[opcode][1]])


def _error(text: str, op: str) -> ValueError:
    return ValueError(
        f"{op}: residual: expected {text}; pyneural.ops.record_residual writes the list"
    )
