"""Scaled dot-product attention; its autograd is in ``csrc/attention/attention_autograd.cpp``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pyneural.errors import ArgumentError
from pyneural.ops import reference
from pyneural.ops.calls import by_kernel
from pyneural.ops.dropout import draw_seed
from pyneural.ops.registration import (
    register_checked_fake,
    register_derivative,
    register_reference,
)
from pyneural.ops.transforms import is_torchs


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    *,
    is_causal: bool = False,
    dropout_p: float = 0.0,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Scaled dot-product attention.

        P = softmax(scale q k^T + mask),   out = dropout(P) v

    Computed tile by tile of the scores: memory grows with L + S, not with L S. Differentiable to
    any order in q, k, v and a float mask. The first backward is a kernel, which computes the
    weights P again and gives the same bits on every run; further ones, and the gradient of a mask,
    are plain torch and hold all scores. Under autocast it runs in the lower precision; bfloat16 and
    float16 are accumulated in float32.

    Args:
        q: queries, [..., H, L, E], float32, float64, bfloat16 or float16. H and the dimensions
            before it are optional.
        k: keys, [..., H, S, E]; with ``enable_gqa`` the number of its heads divides H, and
            consecutive heads of the queries share one. A single head is shared by all.
        v: values, [..., H, S, Ev], with as many heads as the keys.
        mask: broadcasts to [..., H, L, S]; bool, True where a key takes part, or floats that are
            added to the scores. A row in which every key is masked gives 0, with gradients 0;
            masked keys and values have no influence, even if they are NaN.
        is_causal: query l sees the keys 0 to l, further restricted by the mask.
        dropout_p: probability that a weight becomes 0; the others are divided by 1 - dropout_p.
            The seed is drawn from torch's generator; the backward draws the same weights again.
        scale: E^(-1/2) by default.
        enable_gqa: grouped-query attention, see k.

    Returns:
        out, [..., H, L, Ev]. Its memory layout is that of q.

    Raises:
        ArgumentError: shapes, dtypes or devices that do not match; ``dropout_p`` beyond 0 to 1.

    Source: Vaswani et al. 2017, equation 1; tiles: Rabe and Staats 2021, Dao et al. 2022.

    Example:
        >>> q, k = torch.zeros(1, 4), torch.randn(2, 4)  # equal weights
        >>> attention(q, k, torch.tensor([[1.0], [3.0]]))
        tensor([[2.]])
    """
    lead = _common_lead(q, k, v, enable_gqa)
    q4, k4, v4 = (_four_dimensional(t, lead) for t in (q, k, v))
    mask4 = None if mask is None else _four_dimensional_mask(mask, lead)
    if mask4 is not None and mask4.dtype == torch.float32 and q.dtype == torch.float64:
        mask4 = mask4.double()  # as of a model that was moved to float64
    seed = draw_seed(q.device) if dropout_p > 0 else None
    out = _attention(q4, k4, v4, mask4, seed, is_causal, dropout_p, scale)
    return out if len(lead) == 1 else out.reshape(*lead, *q.shape[-3:-1], v.shape[-1])


def _by_torch(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, seed: Tensor | None, is_causal: bool,
    dropout_p: float, scale: float | None,
) -> Tensor:  # fmt: skip
    """Torch's own function, which takes a mask or the hint; the seed is torch's matter."""
    if is_causal and mask is not None:
        causal = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril()
        mask = mask & causal if mask.dtype == torch.bool else mask.masked_fill(~causal, -torch.inf)
        is_causal = False
    shared = bool(k.shape[1] != q.shape[1])
    return F.scaled_dot_product_attention(
        q, k, v, mask, dropout_p, bool(is_causal), scale=scale, enable_gqa=shared
    )


def attention_weights(
    q: Tensor,
    k: Tensor,
    mask: Tensor | None = None,
    *,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """The attention weights themselves, in plain torch, for plots.

        P = softmax(scale q k^T + mask)

    Arguments and errors are those of ``attention``.

    Returns:
        P, [..., H, L, S]; each row sums to 1, or is 0 where every key is masked.

    Example:
        >>> attention_weights(torch.zeros(3, 4), torch.randn(3, 4), is_causal=True)
        tensor([[1.0000, 0.0000, 0.0000],
                [0.5000, 0.5000, 0.0000],
                [0.3333, 0.3333, 0.3333]])
    """
    lead = _common_lead(q, k, k, enable_gqa)
    q4, k4 = (_four_dimensional(t, lead) for t in (q, k))
    mask4 = None if mask is None else _four_dimensional_mask(mask, lead)
    weights = reference.attention_weights(q4, k4, mask4, is_causal, scale)
    return weights if len(lead) == 1 else weights.reshape(*lead, *q.shape[-3:-1], k.shape[-2])


def _common_lead(q: Tensor, k: Tensor, v: Tensor, enable_gqa: bool) -> torch.Size:
    """The dimensions before [H, L, E], broadcast."""
    for name, tensor in (("q", q), ("k", k), ("v", v)):
        if tensor.dim() < 2:
            raise ArgumentError(
                f"attention: {name}: expected [..., heads, length, width], got "
                f"{list(tensor.shape)}; give at least length and width"
            )
    heads, key_heads = (t.shape[-3] if t.dim() > 2 else 1 for t in (q, k))
    if key_heads not in (heads, 1) and not enable_gqa:
        raise ArgumentError(
            f"attention: k: expected {heads} heads like q, got {key_heads}; "
            "if several heads of q share one of k, pass enable_gqa=True"
        )
    leads = [t.shape[:-3] for t in (q, k, v)]
    if leads[0] == leads[1] == leads[2]:
        return leads[0]
    try:
        return torch.broadcast_shapes(*leads)
    except RuntimeError:
        shapes = ", ".join(str(list(t.shape)) for t in (q, k, v))
        raise ArgumentError(
            f"attention: q, k, v: expected dimensions before the heads that broadcast, got "
            f"{shapes}; they must be equal or 1"
        ) from None


def _four_dimensional(t: Tensor, lead: torch.Size) -> Tensor:
    """[..., H, L, E] as [N, H, L, E]."""
    while t.dim() < 3:
        t = t[None]
    if t.shape[:-3] != lead:
        t = t.expand(*lead, *t.shape[-3:])
    if t.dim() == 4:
        return t
    return t[None] if not lead else t.flatten(0, -4)


def _four_dimensional_mask(mask: Tensor, lead: torch.Size) -> Tensor:
    """[..., H, L, S] as [N, H, L, S], each of them or 1."""
    while mask.dim() < 4:
        mask = mask[None]
    if mask.dim() == 4 and len(lead) <= 1:
        return mask
    return mask.expand(*lead, *mask.shape[-3:]).flatten(0, -4)


def _in_plain_torch(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, *more: Any) -> Tensor:
    function = _by_torch if is_torchs(q, k, v, mask) else reference.attention
    return function(q, k, v, mask, *more)


_attention = by_kernel("attention", _in_plain_torch, operands=(0, 1, 2))


def _empty(like: Tensor, *shape: int) -> Tensor:
    """[N, H, L, E] with the memory layout of ``like``: heads outside or inside the rows."""
    if like.stride(1) < like.stride(2):
        n, h, rows, width = shape
        return like.new_empty(n, rows, h, width).transpose(1, 2)
    return like.new_empty(shape)


def _fake(q, k, v, *_):
    return _empty(q, *q.shape[:3], v.shape[3])


def _fake_with_lse(q, k, v, *_):
    dtype = torch.float64 if q.dtype == torch.float64 else torch.float32
    return _fake(q, k, v), q.new_empty(q.shape[:3], dtype=dtype)


def _fake_backward(grad_out, q, k, v, *options):
    wanted = zip((q, k, v), options[-1], strict=True)
    return tuple(_empty(t, *t.shape) if w else t.new_empty(0) for t, w in wanted)


register_checked_fake(
    "attention_keep", lambda seed, shape, _: seed.new_empty(shape, dtype=torch.bool)
)
register_reference("attention", reference.attention, _fake)
register_reference("attention_with_lse", reference.attention_with_lse, _fake_with_lse)
register_derivative(
    "attention_backward", reference.attention_backward, _fake_backward, ["out", "lse"]
)
register_derivative(
    "attention_mask_backward",
    reference.attention_mask_backward,
    lambda grad_out, q, k, v, mask, *_: mask.new_empty(mask.shape),
)
