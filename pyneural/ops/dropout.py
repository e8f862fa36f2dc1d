"""Dropout whose backward draws again; its autograd is in ``csrc/dropout/dropout_autograd.cpp``."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pyneural.errors import ArgumentError, as_argument_error
from pyneural.ops import reference
from pyneural.ops.registration import register_reference
from pyneural.ops.transforms import KERNEL_DEVICES, has_no_kernel, is_plain_torch


def dropout(x: Tensor, p: float = 0.5) -> Tensor:
    """Zeros in place of some elements.

        y_i = m_i x_i / (1 - p),  m_i = 0 with probability p, else 1

    Which elements are kept is a function of a seed, drawn from torch's generator, and of their
    place: no mask is saved for the backward, which draws it again. Gradients reach x, to any order.
    On devices without kernels, under ``torch.compile`` and ``torch.func`` it is torch's own.

    Args:
        x: of any shape, floating.
        p: probability that an element becomes 0.

    Returns:
        y like x; x itself where p is 0.

    Raises:
        ArgumentError: p beyond 0 to 1, or an integer dtype.

    Source: Srivastava et al. 2014; random numbers: Salmon et al. 2011, Philox.

    Example:
        >>> y = dropout(torch.ones(1000), 0.75)
        >>> y.unique(), bool(200 < (y > 0).sum() < 300)
        (tensor([0., 4.]), True)
    """
    if not 0 <= p <= 1:
        raise ArgumentError(
            f"dropout: p: expected a probability from 0 to 1, got {p}; write 0.1 for a tenth"
        )
    if p == 0:
        return x
    on_other_device = x.device.type not in KERNEL_DEVICES
    if on_other_device or torch.compiler.is_compiling() or is_plain_torch(x):
        return F.dropout(x, p)
    try:
        return _dropout(x, draw_seed(x.device), p)
    except (ValueError, RuntimeError) as error:
        if x.is_floating_point() and has_no_kernel((x,)):
            return F.dropout(x, p)
        raise as_argument_error(error) from None


def draw_seed(device: torch.device | str) -> Tensor:
    """A seed of the kernels' random numbers, [1], from torch's generator."""
    return torch.randint(torch.iinfo(torch.int64).max, (1,), device=device)


_dropout = torch.ops.pyneural.dropout.default
register_reference("dropout", reference.dropout, lambda x, seed, p: x.new_empty(x.shape))
