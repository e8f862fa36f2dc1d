"""Residual equations as a small program in text, evaluated with torch.

One instruction after another, separated by ";", each defining the next value, numbered from 0:

    channel k o     derivative k (0: the value) of output o     input d        coordinate d
    const 3.5       a number                                    coefficient q  element q
    add, sub, mul, div a b;  neg, square, sqrt, sin, cos, exp, log, tanh, abs a
    residual a      defines no value: marks value a as a residual

The kernels of ``jet_mlp_loss`` read the same language, csrc/jet/residual.h.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pyneural.ops.caching import cached

_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "neg": torch.neg,
    "square": torch.square,
    "sqrt": torch.sqrt,
    "sin": torch.sin,
    "cos": torch.cos,
    "exp": torch.exp,
    "log": torch.log,
    "tanh": torch.tanh,
    "abs": torch.abs,
}
_OPERANDS = {
    "channel": 2, "input": 1, "const": 1, "coefficient": 1, "residual": 1,
    "add": 2, "sub": 2, "mul": 2, "div": 2,
}  # fmt: skip


class Instruction(NamedTuple):
    """One statement: its name, its integer operands, and the value of a const."""

    name: str
    operands: tuple[int, ...]
    constant: float = 0.0


def residual_program(
    program: str, channels: Sequence[Tensor] | Tensor, x: Tensor, coefficients: Tensor
) -> list[Tensor]:
    """The residuals of a program, in the order in which they are marked.

    Args:
        program: the text, see above.
        channels: the jet, [1 + K, N, O] or a tuple of [N, O]: the value, then the derivatives.
        x: points, [N, D].
        coefficients: [Q].

    Returns:
        one [N] a residual.

    Raises:
        ValueError: an unknown instruction, or operands that are not there.

    Example:
        >>> channels, x = torch.tensor([[[2.0]], [[3.0]]]), torch.tensor([[5.0]])
        >>> program = "channel 0 0; channel 1 0; mul 0 1; residual 2"
        >>> residual_program(program, channels, x, torch.empty(0))
        [tensor([6.])]
    """
    limits = {
        "channel": (len(channels), channels[0].shape[1]),
        "input": x.shape[1:],
        "coefficient": coefficients.shape,
    }
    values: list[Tensor] = []
    residuals: list[Tensor] = []
    for name, operands, constant in parse(program):
        bounds = limits.get(name, (len(values),) * len(operands))
        if any(not 0 <= operand < bound for operand, bound in zip(operands, bounds, strict=True)):
            text = " ".join([name, *map(str, operands)])
            raise _error(f"operands that are defined before or that the call has, got {text!r}")
        if name == "residual":
            residuals.append(values[operands[0]].expand(x.shape[:1]))
        elif name == "channel":
            values.append(channels[operands[0]][:, operands[1]])
        elif name == "input":
            values.append(x[:, operands[0]])
        elif name == "coefficient":
            values.append(coefficients[operands[0]])
        elif name == "const":
            values.append(x.new_full((), constant))
        else:
            values.append(_FUNCTIONS[name](*(values[operand] for operand in operands)))
    if not residuals:
        raise _error('at least one "residual", got none')
    return residuals


@cached
def parse(program: str) -> tuple[Instruction, ...]:
    """The instructions of a program.

    >>> parse("const 2.5; channel 0 0; residual 1")[0]
    Instruction(name='const', operands=(), constant=2.5)
    """
    instructions: list[Instruction] = []
    for statement in program.split(";"):
        if not statement.strip():
            continue
        name, *words = statement.split()
        if name not in _FUNCTIONS and name not in _OPERANDS:
            raise _error(f"an instruction of the residual program, got {statement!r}")
        wanted = _OPERANDS.get(name, 1)
        if len(words) != wanted:
            raise _error(f"{wanted} operand{'s' * (wanted > 1)}, got {statement!r}")
        try:
            if name == "const":
                instructions.append(Instruction(name, (), float(words[0])))
            else:
                instructions.append(Instruction(name, tuple(int(word) for word in words)))
        except ValueError:
            raise _error(f"numbers as operands, got {statement!r}") from None
    return tuple(instructions)


def _error(text: str) -> ValueError:
    return ValueError(f"jet_mlp_loss: residual: expected {text}; see pyneural.ops.residual")
