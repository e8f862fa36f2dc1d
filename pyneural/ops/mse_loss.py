"""The mean squared error; its autograd is in ``csrc/mse_loss/mse_loss_autograd.cpp``."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pyneural.ops import reference
from pyneural.ops.registration import register_derivative, register_reference
from pyneural.ops.transforms import KERNEL_DEVICES, is_plain_torch


def mse_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean of the squared differences.

        loss = 1/N sum_i (a_i - y_i)^2

    Forward and backward are each one pass over memory, where torch makes the squares and then sums
    them. The sum has the same order with any number of threads. Gradients reach both arguments, to
    any order. On devices without kernels, for other types than float32 and float64, where shapes
    broadcast or tensors are not contiguous, for subclasses of tensors, under ``torch.compile``
    and ``torch.func`` it is torch's own.

    Args:
        prediction: a, of any shape, floating.
        target: y, like the prediction.

    Returns:
        loss, []; NaN where there is no element.

    Raises:
        RuntimeError: shapes that do not broadcast.

    Source: Gauss 1809, Theoria motus, sec. 179: the errors' mean square is to be least.

    Example:
        >>> mse_loss(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 4.0]))
        tensor(2.5000)
    """
    if (
        prediction.device.type not in KERNEL_DEVICES
        or target.device != prediction.device
        or prediction.dtype not in _TYPES
        or prediction.dtype != target.dtype
        or prediction.shape != target.shape
        or not (prediction.is_contiguous() and target.is_contiguous())
        or torch.compiler.is_compiling()
        or is_plain_torch(prediction, target)
    ):
        return F.mse_loss(prediction, target)
    try:
        return _mse_loss(prediction, target)
    except NotImplementedError:  # of a distributed tensor
        return F.mse_loss(prediction, target)


_TYPES = torch.float32, torch.float64
_mse_loss = torch.ops.pyneural.mse_loss.default
register_reference("mse_loss", reference.mse_loss, lambda prediction, _: prediction.new_empty(()))
register_derivative(
    "mse_loss_backward",
    reference.mse_loss_backward,
    lambda _, prediction, target: prediction.new_empty(prediction.shape),
)
