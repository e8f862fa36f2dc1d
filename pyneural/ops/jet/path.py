"""Derivatives of the residuals of a differential equation along a path of parameters.

Letters: N points, E equations, P parameters, Q coefficients, R columns, M = P + Q, K derivatives.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.ops import reference
from pyneural.ops.jet.derivatives import Derivative, encode
from pyneural.ops.jet.functional import (
    check_least_squares,
    check_program,
    in_full_precision,
    needs_plain_torch,
)
from pyneural.ops.jet.residual import ResidualProgram
from pyneural.ops.registration import register_derivative

_MAX_ORDER = 4  # of the kernel


@in_full_precision
def jet_mlp_path(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: str,
    derivatives: Iterable[Derivative],
    residual: ResidualProgram,
    coefficients: Tensor | None = None,
    columns: Tensor | None = None,
    *,
    path: Tensor,
) -> Tensor:
    """Derivatives of residuals along a path of parameters and coefficients, all in one pass.

        result[k - 1] = d^k r(theta + tau v_1 + (tau^2 / 2) v_2 + ... + (tau^K / K!) v_K) / d tau^k

    at tau = 0, for k = 1 ... K and v_j = path[j - 1]. Exact: Taylor series in tau, cut off after
    tau^K, go through the network in the place of numbers. With K = 1 it is the product J v of the
    residuals' Jacobian with a vector; with v_2 = 0 the second derivative is the one that geodesic
    acceleration takes. theta are the parameters, flat in the order weights[0], biases[0],
    weights[1], ..., each row-major, and then the coefficients.

    Args:
        x: points, [N, D], float32 or float64; or the jet of the inputs, as in ``jet_mlp``.
        weights: L tensors [out_l, in_l].
        biases: L tensors [out_l].
        activation: as in ``jet_mlp``.
        derivatives: as in ``jet_mlp``.
        residual: the equations as a program, as in ``jet_mlp_loss``.
        coefficients: coefficients of the program, [Q].
        columns: columns of the program, [R, N].
        path: the derivatives of theta with respect to tau, [K, P + Q], K from 1 to 4.

    Returns:
        [K, E, N], in units of r over those of tau to the power k; its own derivatives are plain
        torch.

    Raises:
        ValueError: as ``jet_mlp_loss``, but that there may be no points; a path of another shape,
            dtype or device.

    Transtrum and Sethna 2012, "Geodesic acceleration and the small-curvature approximation for
    nonlinear least squares"; Griewank and Walther 2008, "Evaluating Derivatives", chapter 13.

    Example:
        >>> from pyneural.ops import record_residual
        >>> x, weights, biases = torch.ones(2, 1), [torch.tensor([[2.0]])], [torch.zeros(1)]
        >>> program = record_residual(lambda jet, x, c: c[0] * jet[0, 0])  # c u, u = w x + b
        >>> c, path = torch.tensor([5.0]), torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
        >>> # (5 + tau) (2 + tau) = 10 + 7 tau + 2 tau^2 / 2
        >>> jet_mlp_path(x, weights, biases, "tanh", [], program, c, path=path)
        tensor([[[7., 7.]],
        <BLANKLINE>
                [[2., 2.]]])
    """
    op = "jet_mlp_path"
    check_program(op, residual)
    encoded = encode(op, derivatives)
    factors = x.new_empty(0) if coefficients is None else coefficients
    arguments = x, weights, biases, activation, *encoded, *residual, factors, columns, path
    if needs_plain_torch():
        check_least_squares(op, x, factors, columns, with_mean=False)
        _check_path(path, sum(p.numel() for p in (*weights, *biases, factors)), x)
        return reference.jet_mlp_path(*arguments)
    bare = torch.compiler.is_compiling() or not torch.is_grad_enabled()
    return (torch.ops.pyneural.jet_mlp_path if bare else _differentiable)(*arguments)


def _check_path(path: Tensor, size: int, x: Tensor) -> None:
    """What the kernel checks of a path, where it is followed without it."""
    alike = path.dtype == x.dtype and path.device == x.device
    fits = path.dim() == 2 and 1 <= len(path) <= _MAX_ORDER and path.shape[1] == size
    if not (alike and fits):
        raise ValueError(
            f"jet_mlp_path: path: expected shape [K, {size}], K from 1 to {_MAX_ORDER}, of "
            f"{x.dtype} on {x.device} like x, got {path.dtype} of shape {list(path.shape)} on "
            f"{path.device}; give each derivative of all parameters and coefficients a row"
        )


def _fake(x: Tensor, *options: Any) -> Tensor:
    code, path = options[5], options[-1]
    equations = len(ResidualProgram(tuple(code), ()).residuals())
    return x.new_empty(len(path), equations, x.shape[-2])


_differentiable = register_derivative("jet_mlp_path", reference.jet_mlp_path, _fake)
