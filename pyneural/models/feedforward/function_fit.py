"""A network that learns a function from its values, by Levenberg and Marquardt's method."""

from __future__ import annotations

import torch
from torch import Tensor

from pyneural import ops
from pyneural.nn import MLP
from pyneural.training import LevenbergMarquardt, Trainable, Trainer


class _Values(Trainable):
    """r = network(x) - phi(x), by points and outputs."""

    def __init__(self, network: MLP, x: Tensor, y: Tensor) -> None:
        super().__init__()
        self.network, self.x, self.y = network, x, y

    def residual(self) -> Tensor:
        return (self.network(self.x) - self.y).flatten()

    def jacobian(self) -> Tensor:
        parameters = list(self.network.parameters())
        weights, biases = parameters[::2], parameters[1::2]
        rows = ops.jet_mlp_jacobian(self.x, weights, biases, self.network.activation, [])
        return rows.flatten(0, 1)


def fit_function(network: MLP, x: Tensor, y: Tensor, steps: int) -> float:
    """Fits a small network to values of a function phi by ``training.LevenbergMarquardt``.

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
    values = _Values(network, x, y)
    Trainer(values, [LevenbergMarquardt(steps)], progress=False).fit()
    with torch.no_grad():
        return float(values.residual().norm() / y.norm())
