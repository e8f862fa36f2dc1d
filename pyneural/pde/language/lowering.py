"""Lowers a residual written in Python to the program that ``ops.jet_mlp_loss`` runs.

The residual is called once with symbols in place of tensors; every operation on a symbol appends
an instruction. That takes microseconds, so it is done again at every call, and a constant or a flag
that changed between two calls is always seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.ops import Derivative, NotExpressibleError
from pyneural.pde.language.expression import Context, NeedsGraphError, plain
from pyneural.pde.language.names import normal_names
from pyneural.pde.language.normals import Normals
from pyneural.pde.language.recorder import EquationRecorder, Lowered

_MOST_LINES = 300  # that a recorder keeps for the next call


def lower(
    residual: Callable,
    arguments: Sequence[str],
    inputs: Sequence[str],
    outputs: Sequence[str],
    parameters: Sequence[str] = (),
    points: Tensor | None = None,
    normals: Normals | None = None,
    where: str = "residual",
    checked: set[Any] | None = None,
    recorders: list[EquationRecorder] | None = None,
    like: Tensor | None = None,
) -> Lowered | None:
    """The program of a residual, or None if an operation in it has no instruction.

    Numbers become constants; tensors of one element (parameters to learn, buffers) become
    coefficients, in the order of their first use; whole powers become products; tensors with a
    value for each point, and functions of coordinates without an instruction, become columns.
    Derivatives of expressions are expanded by the chain rule.

    Args:
        residual: called with symbols; returns one residual or several.
        arguments: names of its arguments, each an output, an input or a component of the normals.
        inputs: names of the inputs, in the order of the columns.
        outputs: names of the outputs, in the order of the columns.
        parameters: those of the inputs that are no part of a Laplacian, nor is t.
        points: [N, D]; None to learn the derivatives alone.
        normals: unit normals at the points.
        where: the name that an error begins with.
        checked: as for ``Context``.
        recorders: of earlier calls with the same names, which know their derivatives; one of them
            is taken out and put back. None for a new one.
        like: without points, a tensor with their dtype and device.

    Raises:
        ValueError: the residual uses a name that is neither a derivative nor a tensor method.

    >>> burgers = lower(lambda u: u.t + u * u.x - 0.1 * u.xx, ["u"], "tx", "u")
    >>> burgers.derivatives
    ((0,), (1,), (1, 1))
    >>> lower(lambda u: (u * u.x).x, ["u"], "tx", "u").program
    ResidualProgram("channel 0 0; channel 1 0; mul 1 1; channel 2 0; mul 0 3; add 2 4; residual 5")
    """
    is_recording = points is None
    if points is None:
        points = (torch.ones if like is None else like.new_ones)(1, len(inputs))

    def record(tracked: bool) -> Lowered:
        def context() -> Context:
            return Context(
                where,
                points,
                inputs,
                parameters,
                _no_channel,
                normals=normals,
                tracked=tracked,
                checked=checked,
                is_recording=is_recording,
            )

        recorder = recorders.pop() if recorders else EquationRecorder(outputs, inputs, parameters)
        recorder.begin(context)

        def argument(name: str) -> Any:
            if name in outputs:
                return recorder.output(name)
            if name in inputs:
                return recorder.input(recorder.inputs.index(name))
            return recorder.context.normal(normal_names(inputs).index(name))

        lowered = recorder.lowered(residual(**{name: argument(name) for name in arguments}))
        if recorder.again(_MOST_LINES) and recorders is not None:
            recorders.append(recorder)
        return lowered

    try:
        # Of a single point, a function of coordinates looks like a coefficient.
        if len(points) > 1:
            try:
                return record(tracked=False)
            except NeedsGraphError:
                pass
        with torch.enable_grad():
            return record(tracked=True)
    except (NotExpressibleError, TypeError):  # torch raises TypeError where it takes tensors only
        return None


def _no_channel(derivative: Derivative | None, name: str) -> Tensor:
    raise NotExpressibleError(name)


def stacked(values: Sequence[Tensor], like: Tensor) -> Tensor | None:
    """Coefficients as one tensor [Q] with the dtype and device of ``like``; None without any.

    >>> stacked([torch.tensor(2.0), torch.tensor([3.0])], torch.zeros(1)).tolist()
    [2.0, 3.0]
    """
    if not values:
        return None
    return torch.stack([value.reshape(()).to(like) for value in values])


def root_of(weight: float | Tensor, like: Tensor) -> Tensor:
    """The root of a weight; of one that is learned with a finite slope at 0.

    The slope is multiplied with the root afterwards, and what comes out is right.

    >>> root_of(4.0, torch.zeros(1)).item()
    2.0
    """
    weight = torch.as_tensor(weight).to(like)
    if weight.requires_grad:
        weight = weight + torch.finfo(weight.dtype).tiny
    return weight.sqrt()


def stacked_columns(columns: Sequence[Tensor], like: Tensor) -> Tensor | None:
    """Columns as one tensor [R, N] with the dtype and device of ``like`` [N, D]; None without."""
    if not columns:
        return None
    return torch.stack([plain(column).to(like).expand(len(like)) for column in columns])
