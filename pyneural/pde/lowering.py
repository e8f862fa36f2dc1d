"""Lowers a residual written in Python to the program that ``ops.jet_mlp_loss`` runs.

The residual is called once with symbols in place of tensors; every operation on a symbol appends
an instruction. That takes microseconds, so it is done again at every call, and a constant or a flag
that changed between two calls is always seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyneural.ops import Derivative, NotExpressibleError, Recorder, ResidualProgram, Symbol
from pyneural.pde.field import derivative_of, unknown_attribute


class Lowered(NamedTuple):
    """A residual as ``ops.jet_mlp_loss`` takes it."""

    derivatives: tuple[Derivative, ...]
    program: ResidualProgram
    coefficients: list[Tensor]  # of one element each


class EquationRecorder(Recorder):
    """Records a residual whose derivatives are attributes."""

    def __init__(self, inputs: Sequence[str], parameters: Sequence[str]) -> None:
        super().__init__()
        self.inputs, self.parameters = tuple(inputs), tuple(parameters)

    def symbol(self, index: int) -> Symbol:
        """The symbol of a value."""
        return ValueSymbol(self, index)


class ValueSymbol(Symbol):
    """An input or a result, which has no derivatives."""

    __slots__ = ()
    _recorder: EquationRecorder

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        if not hasattr(Tensor, attribute) or derivative_of(attribute, self._recorder.inputs):
            raise ValueError(
                f"residual: .{attribute}: expected a method of torch.Tensor after a derivative, an "
                f"input or a result, got {attribute!r}; write a derivative in one name: u.xt"
            )
        return super().__getattr__(attribute)


class OutputSymbol(Symbol):
    """An output of the network: also gives its derivatives by attribute."""

    __slots__ = ("_name", "_output")
    _recorder: EquationRecorder

    def __init__(self, recorder: EquationRecorder, name: str, output: int) -> None:
        super().__init__(recorder, recorder.channel(None, output))
        self._name, self._output = name, output

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        recorder = self._recorder
        derivative = derivative_of(attribute, recorder.inputs, recorder.parameters)
        if derivative is not None:
            return recorder.symbol(recorder.channel(derivative, self._output))
        if not hasattr(Tensor, attribute):
            raise unknown_attribute(self._name, attribute, recorder.inputs)
        return super().__getattr__(attribute)


def lower(
    residual: Callable,
    arguments: Sequence[str],
    inputs: Sequence[str],
    outputs: Sequence[str],
    parameters: Sequence[str] = (),
) -> Lowered | None:
    """The program of a residual, or None if an operation in it has no instruction.

    Numbers become constants; tensors of one element (parameters to learn, buffers) become
    coefficients, in the order of their first use; whole powers become products.

    Args:
        residual: called with symbols; returns one residual or several.
        arguments: names of its arguments, each an output or an input.
        inputs: names of the inputs, in the order of the columns.
        outputs: names of the outputs, in the order of the columns.
        parameters: those of the inputs that are no part of a Laplacian, nor is t.

    Raises:
        ValueError: the residual uses a name that is neither a derivative nor a tensor method.

    >>> burgers = lower(lambda u: u.t + u * u.x - 0.1 * u.xx, ["u"], "tx", "u")
    >>> burgers.derivatives
    ((0,), (1,), (1, 1))
    """
    recorder = EquationRecorder(inputs, parameters)
    symbols = {
        name: OutputSymbol(recorder, name, outputs.index(name))
        if name in outputs
        else recorder.input(inputs.index(name))
        for name in arguments
    }
    try:
        program = recorder.program(residual(**symbols))
    except (NotExpressibleError, TypeError):  # torch raises TypeError where it takes tensors only
        return None
    return Lowered(tuple(recorder.derivatives), program, recorder.coefficients)


def stacked(coefficients: Sequence[Tensor], like: Tensor) -> Tensor | None:
    """Coefficients as one tensor [Q] with the dtype and device of ``like``; None without any.

    >>> stacked([torch.tensor(2.0), torch.tensor([3.0])], torch.zeros(1)).tolist()
    [2.0, 3.0]
    """
    if not coefficients:
        return None
    return torch.stack([value.reshape(()).to(like) for value in coefficients])
