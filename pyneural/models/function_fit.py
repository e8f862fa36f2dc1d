"""A network that learns a function from its values, by Levenberg and Marquardt's method."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from pyneural import ops
from pyneural.nn import MLP


@torch.no_grad()
def fit_function(network: MLP, x: Tensor, y: Tensor, steps: int) -> float:
    """Fits a small network to values of a function phi by damped least squares.

        r = network(x) - phi(x),  J = dr/dw
        w <- w - J^T (J J^T + mu)^-1 r,  if that makes |r| smaller

    The damping mu is divided by 3 after each step that does, and doubled after each that does not
    (Marquardt 1963). It needs a matrix of points x parameters, and comes much nearer to the limits
    of the network than methods of first order.

    Args:
        network: without an input_range.
        x: points, [N, D].
        y: phi(x), [N, O].
        steps: number of trials.

    Returns:
        relative L2 error at x.

    Raises:
        ValueError: a network with an input_range, or x and y with different numbers of points.

    >>> _ = torch.manual_seed(0)
    >>> x = torch.linspace(-1, 1, 50, dtype=torch.float64)[:, None]
    >>> fit_function(MLP(1, [8], 1).double(), x, x**2, steps=100) < 1e-2
    True
    """
    if network.has_input_range:
        raise ValueError(
            "fit_function: network: expected one without input_range, got one with; scale x to "
            "[-1, 1] instead"
        )
    if len(x) != len(y):
        raise ValueError(
            f"fit_function: y: expected a row for each of the {len(x)} points, got {len(y)}; give "
            "phi(x)"
        )
    parameters = list(network.parameters())
    weights, biases = parameters[::2], parameters[1::2]
    damping = 1.0
    residual, jacobian = network(x) - y, None  # [N, O], [N O, P]
    for _ in range(steps):
        if jacobian is None:
            rows = ops.jet_mlp_jacobian(x, weights, biases, network.activation, [])
            jacobian = rows.flatten(0, 1)
            gram = jacobian @ jacobian.T
        damped = gram + damping * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        solution = torch.linalg.solve(damped, residual.flatten())
        start = parameters_to_vector(parameters)
        vector_to_parameters(start - jacobian.T @ solution, parameters)
        trial = network(x) - y
        if trial.norm() < residual.norm():
            residual, jacobian, damping = trial, None, damping / 3
        else:
            vector_to_parameters(start, parameters)
            damping *= 2
    return float(residual.norm() / y.norm())
