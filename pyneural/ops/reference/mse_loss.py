"""The mean squared error in plain torch."""

from __future__ import annotations

from torch import Tensor


def mse_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean of the squared differences, []."""
    return (prediction - target).square().mean()


def mse_loss_backward(grad_loss: Tensor, prediction: Tensor, target: Tensor) -> Tensor:
    """The gradient for the prediction; that for the target is its negative."""
    return (prediction - target) * (grad_loss * (2 / max(prediction.numel(), 1)))
