"""The mean squared error as a layer, drop-in for torch's."""

from __future__ import annotations

import torch
from torch import Tensor

from pyneural import ops


class MSELoss(torch.nn.MSELoss):
    """Mean, or sum, or each of the squared differences of prediction and target.

        loss = 1/N sum_i (a_i - y_i)^2

    ``torch.nn.MSELoss``; the mean, its default, is one pass over memory, and so is its backward.

    Args:
        size_average: deprecated, see reduction.
        reduce: deprecated, see reduction.
        reduction: "mean", or "sum" or "none" by torch's own.

    Shape:
        input and target of any shape, the same for both, to [].

    Raises:
        RuntimeError: at the call, shapes that do not broadcast.

    >>> MSELoss()(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 4.0]))
    tensor(2.5000)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of a prediction, the input."""
        if self.reduction != "mean":
            return super().forward(input, target)
        return ops.mse_loss(input, target)
