"""Attention in plain torch, all scores at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, seed: Tensor | None, is_causal: bool,
    dropout_p: float, scale: float | None,
) -> Tensor:  # fmt: skip
    """softmax(scale q k^T + mask) v, [N, H, L, Ev], with the memory layout of q."""
    weights = attention_weights(q, k, mask, is_causal, scale)
    z = _dropout_factors(weights, seed, dropout_p)
    return _laid_out_like(q, (weights if z is None else z * weights) @ _for_all_heads(v, q))


def attention_with_lse(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, seed: Tensor | None, is_causal: bool,
    dropout_p: float, scale: float | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """``attention`` and log sum exp of the scores, [N, H, L], infinite in a row without a key."""
    scores, allowed = _scores(q, k, mask, is_causal, scale)
    scores = scores if q.dtype == torch.float64 else scores.float()
    lse = scores.masked_fill(~allowed, -math.inf).logsumexp(-1)
    out = attention(q, k, v, mask, seed, is_causal, dropout_p, scale)
    return out, lse.masked_fill(lse == -math.inf, math.inf)


def attention_backward(
    grad_out: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, seed: Tensor | None,
    out: Tensor, lse: Tensor, is_causal: bool, dropout_p: float, scale: float | None,
    output_mask: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients for q, k and v, empty where not wanted.

        grad_q = scale dS k,  grad_k = scale dS^T q,  grad_v = (Z * P)^T grad_out

    The weights P are computed anew rather than from ``out`` and ``lse``, so that derivatives of
    this reach q, k, v and mask.
    """
    z, weights, grad_scores = _score_gradients(
        grad_out, q, k, v, mask, seed, is_causal, dropout_p, scale
    )
    weights = weights if z is None else z * weights
    grad_scores = _scale(q, scale) * grad_scores
    empty = q.new_empty(0)
    heads = q.shape[1] // k.shape[1] if k.shape[1] else 1

    def over_shared(grad: Tensor) -> Tensor:
        """The sum over the heads of the queries that share one of the keys."""
        return grad if heads == 1 else grad.unflatten(1, (k.shape[1], heads)).sum(2)

    return (
        _laid_out_like(q, grad_scores @ _for_all_heads(k, q)) if output_mask[0] else empty,
        _laid_out_like(k, over_shared(grad_scores.mT @ q)) if output_mask[1] else empty,
        _laid_out_like(v, over_shared(weights.mT @ grad_out)) if output_mask[2] else empty,
    )


def attention_mask_backward(
    grad_out: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor, seed: Tensor | None,
    is_causal: bool, dropout_p: float, scale: float | None,
) -> Tensor:  # fmt: skip
    """Gradient for a float mask: dS summed over the dimensions in which the mask broadcasts."""
    *_, grad_scores = _score_gradients(grad_out, q, k, v, mask, seed, is_causal, dropout_p, scale)
    return grad_scores.sum_to_size(mask.shape).to(mask.dtype)


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
    scores = _scale(q, scale) * q @ _for_all_heads(k, q).mT
    if mask is not None and mask.dtype != torch.bool:
        scores = scores + mask.to(scores.dtype)
    allowed = torch.ones_like(scores, dtype=torch.bool)
    if is_causal:
        allowed = allowed.tril()
    if mask is not None:
        allowed = allowed & (mask if mask.dtype == torch.bool else mask > -math.inf)
    return scores, allowed


def _score_gradients(
    grad_out: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, seed: Tensor | None,
    is_causal: bool, dropout_p: float, scale: float | None,
) -> tuple[Tensor | None, Tensor, Tensor]:  # fmt: skip
    """Factors Z of the dropout, weights P and gradients of the scores, dS = P * (dP - P . dP)."""
    weights = attention_weights(q, k, mask, is_causal, scale)
    z = _dropout_factors(weights, seed, dropout_p)
    grad_weights = grad_out @ _for_all_heads(v, q).mT
    if z is not None:
        grad_weights = z * grad_weights
    delta = (weights * grad_weights).sum(-1, keepdim=True)
    return z, weights, weights * (grad_weights - delta)


def _scale(q: Tensor, scale: float | None) -> float:
    return max(q.shape[3], 1) ** -0.5 if scale is None else scale


def _dropout_factors(weights: Tensor, seed: Tensor | None, dropout_p: float) -> Tensor | None:
    """0 or 1 / (1 - p) for each weight; None without dropout."""
    if seed is None:
        return None
    keep = torch.ops.pyneural.attention_keep(seed, weights.shape[-4:], dropout_p)
    return keep.to(weights.dtype) * (1 / (1 - dropout_p) if dropout_p < 1 else 0.0)


def _for_all_heads(t: Tensor, q: Tensor) -> Tensor:
    """Keys or values with a head for each head of the queries."""
    return t if t.shape[1] == q.shape[1] else t.repeat_interleave(q.shape[1] // t.shape[1], 1)


def _laid_out_like(like: Tensor, t: Tensor) -> Tensor:
    """``t`` with its heads inside or outside of the rows, as those of ``like`` are in memory."""
    if like.stride(1) < like.stride(2):
        return t.transpose(1, 2).contiguous().transpose(1, 2)
    return t.contiguous()
