"""A network that learns a function from its values, by Levenberg and Marquardt's method."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pyneural import ops
from pyneural.nn import MLP
from pyneural.training import Batch, LevenbergMarquardt, Trainable, Trainer


class _Values(Trainable):
    """The mean over the points of |network(x) - phi(x)|^2."""

    def __init__(self, network: MLP, x: Tensor, y: Tensor) -> None:
        super().__init__()
        self.network, self.x = network, x
        self.columns = y.T.contiguous()  # [O, N]
        self._residual = ops.record_residual(
            lambda jet, x, c, columns: tuple(jet[0, o] - columns[o] for o in range(y.shape[1]))
        )

    def least_squares(self, batch: Batch) -> dict[str, Any]:
        asked: tuple[Any, ...] = ([], self._residual, None, self.columns)
        return {"values": self.network.jet_mean_square(self.x, *asked)}


def fit_function(network: MLP, x: Tensor, y: Tensor, steps: int) -> float:
    """Fits a small network to values of a function phi by ``training.LevenbergMarquardt``.

    Args:
        network: a multilayer perceptron, best in float64.
        x: points, [N, D].
        y: phi(x), [N, O].
        steps: number of steps at most.

    Returns:
        relative L2 error at x.

    Raises:
        ValueError: x and y with different numbers of points, or y without a column an output.

    >>> _ = torch.manual_seed(0)
    >>> x = torch.linspace(-1, 1, 50, dtype=torch.float64)[:, None]
    >>> fit_function(MLP(1, [8], 1).double(), x, x**2, steps=100) < 1e-2
    True
    """
    outputs = network.out_features
    if y.shape != (len(x), outputs):
        raise ValueError(
            f"fit_function: y: expected phi at the {len(x)} points, [{len(x)}, {outputs}], got "
            f"{list(y.shape)}; give phi(x)"
        )
    Trainer(_Values(network, x, y), [LevenbergMarquardt(steps)], progress=False).fit()
    with torch.no_grad():
        return float((network(x) - y).norm() / y.norm())
