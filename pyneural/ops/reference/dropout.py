"""Dropout in plain torch, with the mask that the kernels draw."""

from __future__ import annotations

import torch
from torch import Tensor


def dropout(x: Tensor, seed: Tensor, p: float) -> Tensor:
    """Each element x / (1 - p) where it is kept, else 0 x."""
    keep = torch.ops.pyneural.attention_keep(seed, [1, 1, 1, x.numel()], p).view(x.shape)
    return (x / (1 - p) if p < 1 else x) * keep.to(x.device)
