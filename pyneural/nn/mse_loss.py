"""Mean squared error, drop-in for torch's."""

from __future__ import annotations

import torch
from torch import Tensor

from pyneural import ops
from pyneural.nn.drop_in import DropIn, call_without_tensors


class MSELoss(DropIn, torch.nn.MSELoss):
    """Mean squared error of a prediction a with target y.

        loss = 1/N sum_i (a_i - y_i)^2

    ``torch.nn.MSELoss``. With the default reduction, the mean, forward and backward each need a
    single pass over memory.

    Args:
        size_average: deprecated, see reduction.
        reduce: deprecated, see reduction.
        reduction: "mean"; "sum" and "none" fall back to torch's implementation.

    Shape:
        input and target of the same shape, to [].

    Raises:
        RuntimeError: at the call, shapes that do not broadcast.

    >>> MSELoss()(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 4.0]))
    tensor(2.5000)
    """

    _twin = torch.nn.MSELoss

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """The loss of the prediction ``input``."""
        if not (isinstance(input, Tensor) and isinstance(target, Tensor)):
            return call_without_tensors(self, input, target)
        if self.reduction != "mean":
            return super().forward(input, target)
        return ops.mse_loss(input, target)
