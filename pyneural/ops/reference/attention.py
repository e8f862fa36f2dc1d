"""Attention in plain torch, all scores at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pyneural.ops.vjp import gradients


def attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, seed: Tensor | None, is_causal: bool,
    dropout_p: float, scale: float | None,
) -> Tensor:  # fmt: skip
    """softmax(scale q k^T + mask) v, [N, H, L, Ev], with the memory layout of q."""
    weights = attention_weights(q, k, mask, is_causal, scale)
    if seed is not None:
        keep = torch.ops.pyneural.attention_keep(seed, weights.shape[-4:], dropout_p)
        weights = keep.to(weights.dtype) * (1 / (1 - dropout_p) if dropout_p < 1 else 0.0) * weights
    return _laid_out_like(q, weights @ _for_all_heads(v, q))


def attention_with_lse(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, seed: Tensor | None, is_causal: bool,
    dropout_p: float, scale: float | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """``attention`` and log sum exp of the scores, [N, H, L], infinite in a row without a key.

    Less what csrc/attention/mask_base.h subtracts from rows that a float mask moves far from 0.
    """
    scores, allowed = _scores(q, k, mask, is_causal, scale)
    scores = scores if q.dtype == torch.float64 else scores.float()
    if mask is not None and mask.dtype != torch.bool and k.shape[2] > 0:
        most = mask.to(scores.dtype).expand(scores.shape).masked_fill(~allowed, -math.inf).amax(-1)
        base = torch.where(most.isfinite() & (most.abs() > 16), most, 0)
        scores = scores - base[..., None]
    lse = scores.masked_fill(~allowed, -math.inf).logsumexp(-1)
    out = attention(q, k, v, mask, seed, is_causal, dropout_p, scale)
    return out, lse.masked_fill(lse == -math.inf, math.inf)


def attention_backward(
    grad_out: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, seed: Tensor | None,
    out: Tensor, lse: Tensor, is_causal: bool, dropout_p: float, scale: float | None,
    output_mask: Sequence[bool],
) -> tuple[Tensor, ...]:  # fmt: skip
    """Gradients for q, k and v, empty where not wanted; ``out`` and ``lse`` are not read."""

    def function(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attention(q, k, v, mask, seed, is_causal, dropout_p, scale)

    grads = gradients(function, (q, k, v), [grad_out], output_mask)
    return tuple(
        like.new_empty(0) if grad is None else _laid_out_like(like, grad)
        for like, grad in zip((q, k, v), grads, strict=True)
    )


def attention_mask_backward(
    grad_out: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor, seed: Tensor | None,
    is_causal: bool, dropout_p: float, scale: float | None,
) -> Tensor:  # fmt: skip
    """Gradient for a float mask."""

    def function(mask: Tensor) -> Tensor:
        return attention(q, k, v, mask, seed, is_causal, dropout_p, scale)

    return gradients(function, (mask,), [grad_out], [True])[0]


def attention_weights(
    q: Tensor, k: Tensor, mask: Tensor | None, is_causal: bool, scale: float | None
) -> Tensor:
    """softmax(scale q k^T + mask), [N, H, L, S]; 0 in a row without a key."""
    scores, allowed = _scores(q, k, mask, is_causal, scale)
    # A finite value instead of -inf: the softmax of a row without a key is then finite, and its
    # gradient is 0 where the weight is.
    scores = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min)
    return scores.softmax(-1).masked_fill(~allowed, 0)


def _scores(
    q: Tensor, k: Tensor, mask: Tensor | None, is_causal: bool, scale: float | None
) -> tuple[Tensor, Tensor]:
    """Scores scale q k^T + mask, [N, H, L, S], and which keys take part."""
    scale = max(q.shape[3], 1) ** -0.5 if scale is None else scale
    scores = scale * q @ _for_all_heads(k, q).transpose(-2, -1)
    if mask is not None and mask.dtype != torch.bool:
        scores = scores + mask.to(scores.dtype)
    allowed = torch.ones_like(scores, dtype=torch.bool)
    if is_causal:
        allowed = allowed.tril()
    if mask is not None:
        allowed = allowed & (mask if mask.dtype == torch.bool else mask != -math.inf)
    return scores, allowed


def _for_all_heads(t: Tensor, q: Tensor) -> Tensor:
    """Keys or values with a head for each head of the queries."""
    return t if t.shape[1] == q.shape[1] else t.repeat_interleave(q.shape[1] // t.shape[1], 1)


def _laid_out_like(like: Tensor, t: Tensor) -> Tensor:
    """``t`` with its heads inside or outside of the rows, as those of ``like`` are in memory."""
    if like.stride(1) < like.stride(2):
        return t.transpose(1, 2).contiguous().transpose(1, 2)
    return t.contiguous()
