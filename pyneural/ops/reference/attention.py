"""Attention in plain torch, all scores at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    seed: Tensor | None,
    is_causal: bool,
    dropout_p: float,
    scale: float | None,
) -> Tensor:
    """softmax(scale q k^T + mask) v, [N, H, L, Ev], all scores at once."""
    weights = attention_weights(q, k, mask, is_causal, scale)
    if seed is not None:
        keep = torch.ops.pyneural.attention_keep(seed, weights.shape[-4:], dropout_p)
        weights = weights * keep / (1 - dropout_p) if dropout_p < 1 else weights * 0
    return weights @ v.repeat_interleave(q.shape[1] // v.shape[1], 1)


def attention_weights(
    q: Tensor, k: Tensor, mask: Tensor | None, is_causal: bool, scale: float | None
) -> Tensor:
    """softmax(scale q k^T + mask), [N, H, L, S]; 0 in a row without a key."""
    scale = max(q.shape[3], 1) ** -0.5 if scale is None else scale
    scores = scale * q @ k.repeat_interleave(q.shape[1] // k.shape[1], 1).mT
    if mask is not None and mask.dtype != torch.bool:
        scores = scores + mask.to(scores.dtype)
    allowed = torch.ones_like(scores, dtype=torch.bool)
    if is_causal:
        allowed = allowed.tril()
    if mask is not None:
        allowed = allowed & (mask if mask.dtype == torch.bool else mask > -math.inf)
    # A finite value instead of -inf: the softmax of a row without a key is then finite, and its
    # gradient is 0 where the weight is.
    scores = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min)
    return scores.softmax(-1).masked_fill(~allowed, 0)
