"""Residuals of a differential equation, their Jacobian and its Gram matrix: least squares.

Letters: N points, E equations, P parameters, Q coefficients, R columns, M = P + Q. The arguments
are those of ``jet_mlp_loss``, whose value is the sum of squares of these residuals over N.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.ops import reference
from pyneural.ops.jet import residual_autograd
from pyneural.ops.jet.checks import check_gram_memory, check_without_kernel, residual_arguments
from pyneural.ops.jet.derivatives import Derivative
from pyneural.ops.jet.functional import face, in_full_precision, needs_plain_torch
from pyneural.ops.jet.residual import ResidualProgram
from pyneural.ops.transforms import KERNEL_DEVICES


@in_full_precision
def jet_mlp_residual(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: str,
    derivatives: Iterable[Derivative],
    residual: ResidualProgram,
    coefficients: Tensor | None = None,
    columns: Tensor | None = None,
) -> Tensor:
    """Residuals of a differential equation at every point.

        r[e, n] = r_e(u, derivatives, x_n, coefficients, columns_n)

    On the CPU a tile of points goes forward and through the residuals while it is in the cache; the
    first backward, J^T w for the gradient w of the residuals, is a kernel too. On other devices
    both are made of ``jet_mlp`` and torch functions. The arguments are those of ``jet_mlp_loss``.

    Returns:
        [E, N], differentiable to any order with respect to every tensor.

    Raises:
        ValueError: as ``jet_mlp_loss``, but that there may be no points.

    Example:
        >>> from pyneural.ops import record_residual
        >>> x, weights, biases = torch.ones(4, 1), [torch.tensor([[2.0]])], [torch.zeros(1)]
        >>> program = record_residual(lambda jet, x, c: jet[1, 0] - c[0])  # u_x - c, u_x = 2
        >>> jet_mlp_residual(x, weights, biases, "tanh", [(0,)], program, torch.tensor([5.0]))
        tensor([[-3., -3., -3., -3.]])
    """
    network = x, weights, biases, activation, derivatives
    return _call("jet_mlp_residual", *network, residual, coefficients, columns)


@in_full_precision
def jet_mlp_residual_jacobian(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: str,
    derivatives: Iterable[Derivative],
    residual: ResidualProgram,
    coefficients: Tensor | None = None,
    columns: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Residuals and their gradients with respect to all parameters and coefficients.

        J^T[m, e, n] = d r[e, n] / d theta[m],   theta = (weights[0], biases[0], ..., coefficients)

    Parameters are flat in the order weights[0], biases[0], weights[1], ..., each row-major; the
    coefficients follow. A row of J^T is contiguous over the points. It has M E N elements: call it
    on chunks of points where that is too much, or ``jet_mlp_gram`` where J^T J is what is needed.
    The arguments are those of ``jet_mlp_loss``.

    Returns:
        the residuals [E, N], and J^T [P + Q, E, N]; their own derivatives are plain torch.

    Raises:
        ValueError: as ``jet_mlp_residual``.

    Example:
        >>> from pyneural.ops import record_residual
        >>> x, weights, biases = torch.ones(2, 1), [torch.tensor([[2.0]])], [torch.zeros(1)]
        >>> program = record_residual(lambda jet, x, c: jet[0, 0] * c[0])  # c u, u = w x + b
        >>> c = torch.tensor([5.0])
        >>> r, jt = jet_mlp_residual_jacobian(x, weights, biases, "tanh", [], program, c)
        >>> jt[:, 0]  # of w, b and c
        tensor([[5., 5.],
                [5., 5.],
                [2., 2.]])
    """
    network = x, weights, biases, activation, derivatives
    return _call("jet_mlp_residual_jacobian", *network, residual, coefficients, columns)


@in_full_precision
def jet_mlp_gram(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: str,
    derivatives: Iterable[Derivative],
    residual: ResidualProgram,
    coefficients: Tensor | None = None,
    columns: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gram matrix of the residuals' Jacobian, with the mean square and its gradient, in one pass.

        loss = r^T r / N,   gradient = J^T r / N = (1/2) d loss / d theta,   gram = J^T J / N

    where r are the E N residuals and J their Jacobian with respect to theta, the parameters and the
    coefficients in the order of ``jet_mlp_residual_jacobian``: the normal equations that
    Gauss-Newton and Levenberg-Marquardt solve. The Jacobian is never stored as a whole: a block of
    points at a time, whose product with itself is added to the triangle. Sums are in float64, but
    for float32 on CUDA, where 256 products are first summed in float32, and in a fixed order: the
    same bits on every run with as many threads, or on the same kind of GPU. On devices without
    kernels the matrix is made of ``jet_mlp_jacobian`` on chunks of points. The arguments are those
    of ``jet_mlp_loss``.

    Returns:
        loss [], gradient [M] and gram [M, M], a full symmetric matrix, M = P + Q, of the dtype of
        x; their own derivatives are plain torch.

    Raises:
        ValueError: as ``jet_mlp_loss``.
        MemoryError: a matrix that does not fit into the memory that is free.

    Example:
        >>> from pyneural.ops import record_residual
        >>> x, weights, biases = torch.ones(2, 1), [torch.tensor([[2.0]])], [torch.zeros(1)]
        >>> program = record_residual(lambda jet, x, c: jet[0, 0] - 3 * x[0])  # u = w x + b
        >>> jet_mlp_gram(x, weights, biases, "tanh", [], program)
        (tensor(1.), tensor([-1., -1.]), tensor([[1., 1.],
                [1., 1.]]))
    """
    if not torch.compiler.is_compiling():
        given = () if coefficients is None else (coefficients,)
        size = sum(p.numel() for p in (*weights, *biases, *given))
        check_gram_memory(x, size, residual)
    network = x, weights, biases, activation, derivatives
    return _call("jet_mlp_gram", *network, residual, coefficients, columns)


def _call(op: str, x: Tensor, *others: Any) -> Any:
    """An op by its kernel, or made of the jet's ops."""
    arguments = residual_arguments(op, x, *others)
    devices = ("cpu",) if op == "jet_mlp_residual" else KERNEL_DEVICES
    if x.device.type not in devices or needs_plain_torch():
        *_, factors, columns = arguments
        check_without_kernel(op, x, factors, columns, with_mean=op == "jet_mlp_gram")
        return getattr(reference, op)(*arguments, by=face())
    # Bare where derivatives do not matter or come later.
    bare = torch.compiler.is_compiling() or not torch.is_grad_enabled()
    return getattr(torch.ops.pyneural if bare else residual_autograd, op)(*arguments)
