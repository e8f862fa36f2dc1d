"""Derivatives of the residuals of a differential equation along a path of parameters.

Letters: N points, E equations, P parameters, Q coefficients, R columns, M = P + Q, K derivatives.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.ops import reference
from pyneural.ops.jet.checks import (
    check_path_without_kernel,
    check_without_kernel,
    residual_arguments,
)
from pyneural.ops.jet.derivatives import Derivative
from pyneural.ops.jet.functional import in_full_precision, needs_plain_torch
from pyneural.ops.jet.residual import ResidualProgram
from pyneural.ops.registration import register_derivative


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
    weights[1], ..., each row-major, and then the coefficients; path [K, P + Q], K from 1 to 4, has
    their derivatives with respect to tau. The other arguments are those of ``jet_mlp_loss``.

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
    op, network = "jet_mlp_path", (x, weights, biases, activation)
    arguments = residual_arguments(op, *network, derivatives, residual, coefficients, columns)
    if needs_plain_torch():
        factors = arguments[-2]
        check_without_kernel(op, x, factors, columns, with_mean=False)
        size = sum(p.numel() for p in (*weights, *biases, factors))
        check_path_without_kernel(path, size, x)
        return reference.jet_mlp_path(*arguments, path)
    bare = torch.compiler.is_compiling() or not torch.is_grad_enabled()
    return (torch.ops.pyneural.jet_mlp_path if bare else _differentiable)(*arguments, path)


def _fake(x: Tensor, *options: Any) -> Tensor:
    code, path = options[5], options[-1]
    equations = len(ResidualProgram(tuple(code), ()).residuals())
    return x.new_empty(len(path), equations, x.shape[-2])


_differentiable = register_derivative("jet_mlp_path", reference.jet_mlp_path, _fake)
