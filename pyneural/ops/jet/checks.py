"""What the ops of residuals check and pass on alike.

Letters as in ``functional.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor

from pyneural.memory import as_text, available_memory
from pyneural.ops.jet.derivatives import Derivative, encode
from pyneural.ops.jet.residual import RESIDUAL, ResidualProgram

_MAX_ORDER = 4  # of the kernel of paths
_AT_A_TIME = 16 << 20  # bytes of J^T on CUDA, in 2,048 points at least
_SMALL = 1 << 25  # bytes of a matrix, below which asking for what is free takes a part of its time


def residual_arguments(
    op: str, x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], activation: str,
    derivatives: Iterable[Derivative], residual: ResidualProgram, coefficients: Tensor | None,
    columns: Tensor | None,
) -> tuple[Any, ...]:  # fmt: skip
    """The arguments of an op's schema.

    Raises:
        ValueError: something else than a program, or derivatives that the kernels do not know.
    """
    if not isinstance(residual, ResidualProgram):
        raise ValueError(
            f"{op}: residual: expected a ResidualProgram, got {residual!r}; "
            "pyneural.ops.record_residual writes one from a function"
        )
    factors = x.new_empty(0) if coefficients is None else coefficients
    network = x, weights, biases, activation, *encode(op, derivatives)
    return *network, *residual, factors, columns


def check_without_kernel(
    op: str, x: Tensor, coefficients: Tensor, columns: Tensor | None, with_mean: bool = True
) -> None:
    """What the kernels of residuals check beyond the jet, where they are made without them.

    with_mean: whether the op takes a mean over the points.
    """
    points = x.shape[-2] if x.dim() in (2, 3) else None
    if with_mean and points == 0:
        raise ValueError(
            f"{op}: x: expected at least one point, got shape {list(x.shape)}; "
            "the mean over no points is not defined"
        )
    alike = coefficients.dtype == x.dtype and coefficients.device == x.device
    if coefficients.dim() != 1 or not alike:
        raise ValueError(
            f"{op}: coefficients: expected a 1-d tensor of {x.dtype} on {x.device} like x, "
            f"got {coefficients.dtype} of shape {list(coefficients.shape)} on "
            f"{coefficients.device}; join scalars with torch.stack"
        )
    if columns is None or points is None:
        return
    alike = columns.dtype == x.dtype and columns.device == x.device
    if columns.dim() != 2 or columns.shape[1] != points or not alike:
        raise ValueError(
            f"{op}: columns: expected shape [columns, {points}] of {x.dtype} on {x.device} "
            f"like x, got {columns.dtype} of shape {list(columns.shape)} on {columns.device}; "
            "give each column a value for each point: torch.stack of tensors [points]"
        )


def check_path_without_kernel(path: Tensor, size: int, x: Tensor) -> None:
    """What the kernel checks of a path of ``size`` numbers, where it is followed without it."""
    alike = path.dtype == x.dtype and path.device == x.device
    fits = path.dim() == 2 and 1 <= len(path) <= _MAX_ORDER and path.shape[1] == size
    if not (alike and fits):
        raise ValueError(
            f"jet_mlp_path: path: expected shape [K, {size}], K from 1 to {_MAX_ORDER}, of "
            f"{x.dtype} on {x.device} like x, got {path.dtype} of shape {list(path.shape)} on "
            f"{path.device}; give each derivative of all parameters and coefficients a row"
        )


def check_gram_memory(x: Tensor, size: int, residual: Any) -> None:
    """MemoryError where a Gram matrix [size, size] would not fit into the memory that is free.

    On the CPU the kernel compares with the memory of the whole machine, for whoever calls it
    otherwise; the limits of a container or job are here, as they are known in Python.
    """
    needed = size**2 * (x.element_size() + 4)  # the result, and its triangle in float64
    if x.is_cuda:  # and J^T of the points of a time, as csrc/jet/jet_gram_cuda.h has them
        equations = list(getattr(residual, "code", ())[::3]).count(RESIDUAL)  # checked later
        of_point = (size + 1) * max(equations, 1) * x.element_size()
        needed += of_point * min(x.shape[-2], max(_AT_A_TIME // of_point // 128 * 128, 2048))
    if needed < _SMALL:
        return
    available = available_memory(x.device)
    if available is not None and needed > available:
        raise MemoryError(
            "jet_mlp_gram: weights: expected a Gram matrix that fits into the "
            f"{as_text(available)} of memory that are free, got {size} parameters and "
            f"coefficients, for which it takes {as_text(needed)}; use jet_mlp_residual_jacobian on "
            "chunks of points, or conjugate gradients on jet_mlp_residual"
        )
