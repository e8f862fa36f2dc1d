"""Multi-head attention, drop-in for torch's, on one kernel call."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pyneural import ops
from pyneural.errors import ArgumentError
from pyneural.nn.checks import check_input, check_probability, check_tokens
from pyneural.nn.drop_in import DropIn, call_without_tensors
from pyneural.nn.key_value_cache import KeyValueCache
from pyneural.nn.plain import activation_of, is_plain_linear
from pyneural.nn.stored import stored
from pyneural.ops.transforms import has_no_kernel, is_recorded, is_torchs


class _Options(NamedTuple):
    """Arguments of a call after query, key and value, in torch's order."""

    key_padding_mask: Tensor | None
    need_weights: bool
    attn_mask: Tensor | None
    average_attn_weights: bool
    is_causal: bool


class MultiheadAttention(DropIn, torch.nn.MultiheadAttention):
    """Attention of several heads.

        head_h = softmax(q_h k_h^T / sqrt(D) + mask) v_h,   y = [head_1 .. head_H] W_o^T + b_o

    with q, k and v the projections of query, key and value, split into H heads of width D = E / H.
    ``torch.nn.MultiheadAttention`` with a faster forward and backward whose memory grows with the
    length, not with its square, in training and in evaluation, and with second derivatives: same
    constructor, same initialisation under the same seed, same ``state_dict``. Two differences: a
    query for which every key is masked gives 0, where torch gives NaN, and the returned weights are
    those before dropout.

    Args:
        embed_dim: E, the width of a query and of the result.
        num_heads: H, which divides E.
        dropout: probability with which a weight becomes 0 in training.
        bias: whether projections have biases.
        add_bias_kv: whether a learned key and value are appended to those given.
        add_zero_attn: whether a key and value of zeros are appended.
        kdim: width of a key, by default E.
        vdim: width of a value, by default E.
        batch_first: whether query, key, value and result are [N, L, .] instead of [L, N, .].
        device, dtype: of the parameters.

    Raises:
        ArgumentError: ``num_heads`` does not divide E, ``dropout`` is not from 0 to 1; at the call,
            shapes, dtypes or devices that do not match.

    Source: Vaswani et al. 2017, section 3.2.2.

    >>> layer = MultiheadAttention(8, num_heads=2, batch_first=True)
    >>> x = torch.rand(3, 5, 8)
    >>> y, weights = layer(x, x, x)
    >>> y.shape, weights.shape
    (torch.Size([3, 5, 8]), torch.Size([3, 5, 5]))
    """

    _twin = torch.nn.MultiheadAttention

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if num_heads < 1 or embed_dim < 1 or embed_dim % num_heads != 0:
            raise ArgumentError(
                f"MultiheadAttention: num_heads: expected a divisor of embed_dim = {embed_dim}, "
                f"got {num_heads}; each head has width embed_dim / num_heads"
            )
        check_probability("MultiheadAttention", "dropout", dropout)
        super().__init__(
            embed_dim, num_heads, dropout, bias, add_bias_kv, add_zero_attn, kdim, vdim,
            batch_first, device, dtype,
        )  # fmt: skip

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
        cache: KeyValueCache | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Result and weights.

        Args:
            query: [L, N, E], with ``batch_first`` [N, L, E], or [L, E].
            key: [S, N, kdim] likewise.
            value: [S, N, vdim] likewise.
            key_padding_mask: [N, S] or [S]; bool, True for keys that are masked, or floats that are
                added to the scores.
            need_weights: whether to return the weights, at the time and memory of all scores.
            attn_mask: [L, S], [N H, L, S] or [H, L, S]; values as of ``key_padding_mask``.
            average_attn_weights: whether weights are the mean over the heads.
            is_causal: query l attends to keys 0 to l only; ``attn_mask``, if given, must be the
                causal mask and is not read.
            cache: keys and values of earlier tokens. Self-attention, where query, key and value are
                one tensor, attends to these as well and appends the new ones, causally; the keys of
                another sequence are projected at the first call only.

        Returns:
            y, in the shape of query; weights [N, L, S], or [N, H, L, S] if not averaged, or None.
        """
        options = _Options(
            key_padding_mask, need_weights, attn_mask, average_attn_weights, is_causal
        )
        if not isinstance(query, Tensor):
            return call_without_tensors(self, query, key, value, *options)
        if cache is not None:
            return self._attend(query, key, value, options, cache)
        if is_torchs(query, key, value) and not is_recorded() and is_plain_linear(self.out_proj):
            return self._by_torch(query, key, value, options)
        try:
            return self._attend(query, key, value, options, None)
        except (ValueError, RuntimeError):
            weight = self.in_proj_weight if self._qkv_same_embed_dim else self.q_proj_weight
            if has_no_kernel((query, key, value, weight)):
                return self._by_torch(query, key, value, options)
            self._check(query, key, value)
            check_input(self, "query", query, self.embed_dim, weight)
            check_input(self, "key", key, self.kdim, weight)
            check_input(self, "value", value, self.vdim, weight)
            raise

    def _by_torch(
        self, query: Tensor, key: Tensor, value: Tensor, options: _Options
    ) -> tuple[Tensor, Tensor | None]:
        """Torch's own forward, which wants the causal mask itself beside the hint."""
        if options.is_causal and options.attn_mask is None:
            axis = 1 if self.batch_first and query.dim() == 3 else 0
            mask = ~_causal(query.shape[axis], key.shape[axis], 0, query.device)
            options = options._replace(attn_mask=mask)
        return super().forward(query, key, value, *options)

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        options: _Options,
        cache: KeyValueCache | None,
    ) -> tuple[Tensor, Tensor | None]:
        """Projections, attention and the result's projection, by our ops."""
        key_padding_mask, need_weights, attn_mask, average_attn_weights, is_causal = options
        is_batched = query.dim() == 3
        self._check(query, key, value)
        q, k, v = self._heads(query, key, value, cache)
        mask = self._mask(attn_mask, key_padding_mask, q, k, is_causal)
        if cache is not None and query is key:
            seen = cache.length(self)
            k, v = cache.append(self, k, v)
            mask, is_causal = _after(seen, q, k, mask)
        k, v, mask, is_causal = self._with_extra_keys(k, v, mask, is_causal, q)
        dropout_p = self.dropout if self.training else 0.0
        out = ops.attention(q, k, v, mask, is_causal=is_causal, dropout_p=dropout_p)
        # The memory layout is that of q: no copy.
        y = out.transpose(1, 2) if self.batch_first and is_batched else out.permute(2, 0, 1, 3)
        y = self._project(y.flatten(2))
        y = y if is_batched else y.squeeze(1)
        if not need_weights:
            return y, None
        weights = ops.attention_weights(q, k, mask, is_causal=is_causal)
        weights = weights.mean(1) if average_attn_weights else weights
        return y, weights if is_batched else weights.squeeze(0)

    def _project(self, y: Tensor) -> Tensor:
        """The result's projection: torch's ``out_proj`` computes nothing itself, unlike ours."""
        layer = stored(self, "out_proj")
        if is_plain_linear(layer):
            weight, bias = stored(layer, "weight"), stored(layer, "bias")
            return ops.dense(y, weight, bias, activation_of(layer))
        return layer(y)

    def _heads(
        self, query: Tensor, key: Tensor, value: Tensor, cache: KeyValueCache | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Projections [N, H, L, D], [N, H, S, D] and [N, H, S, D]."""
        E = self.embed_dim
        bias = stored(self, "in_proj_bias")
        parts = (None,) * 3 if bias is None else bias.split(E)
        if not self._qkv_same_embed_dim:
            weights = self.q_proj_weight, self.k_proj_weight, self.v_proj_weight
        elif query is key and key is value:  # one product for all three
            x = ops.dense(query, stored(self, "in_proj_weight"), bias)
            return tuple(self._split_heads(part) for part in x.split(E, -1))  # type: ignore[return-value]
        else:
            weights = stored(self, "in_proj_weight").split(E)
        q = self._split_heads(ops.dense(query, weights[0], parts[0]))
        saved = None if cache is None or query is key else cache.saved(self, key)
        if saved is not None:
            return q, *saved
        k = self._split_heads(ops.dense(key, weights[1], parts[1]))
        v = self._split_heads(ops.dense(value, weights[2], parts[2]))
        if cache is not None and query is not key:
            cache.save(self, k, v, key)
        return q, k, v

    def _split_heads(self, x: Tensor) -> Tensor:
        """[L, N, E], [N, L, E] or [L, E] to [N, H, L, D]."""
        if x.dim() == 2:
            x = x.unsqueeze(1)
        elif self.batch_first:
            x = x.transpose(0, 1)
        return x.unflatten(-1, (self.num_heads, self.head_dim)).permute(1, 2, 0, 3)

    def _mask(
        self,
        attn_mask: Tensor | None,
        key_padding_mask: Tensor | None,
        q: Tensor,
        k: Tensor,
        is_causal: bool,
    ) -> Tensor | None:
        """Both masks combined, for ``ops.attention``: True where a key takes part, or floats."""
        rows, heads, length, keys = *q.shape[:3], k.shape[2]
        masks = []
        if attn_mask is not None and not is_causal:
            one, each = (length, keys), (rows * heads, length, keys)
            self._check_mask("attn_mask", attn_mask, (one, each))
            masks.append(attn_mask if attn_mask.dim() == 2 else attn_mask.view(rows, -1, *one))
        if key_padding_mask is not None:
            form = (keys,) if key_padding_mask.dim() == 1 and rows == 1 else (rows, keys)
            self._check_mask("key_padding_mask", key_padding_mask, (form,))
            masks.append(key_padding_mask.view(rows, 1, 1, keys))
        if not masks:
            return None
        if all(mask.dtype == torch.bool for mask in masks):
            return ~(masks[0] if len(masks) == 1 else masks[0] | masks[1])
        added = [as_floats(mask, q.dtype) for mask in masks]
        return added[0] if len(added) == 1 else added[0] + added[1]

    def _with_extra_keys(
        self, k: Tensor, v: Tensor, mask: Tensor | None, is_causal: bool, q: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None, bool]:
        """Keys and values with the learned pair and the pair of zeros, which no mask excludes."""
        extra = []
        pair = stored(self, "bias_k"), stored(self, "bias_v")
        if pair[0] is not None and pair[1] is not None:
            form = (1, 1, self.num_heads, self.head_dim)
            extra.append(tuple(bias.view(form).transpose(1, 2) for bias in pair))
        if self.add_zero_attn:
            zeros = k.new_zeros(1, self.num_heads, 1, self.head_dim)
            extra.append((zeros, zeros))
        if not extra:
            return k, v, mask, is_causal
        if is_causal:
            causal = _causal(q.shape[2], k.shape[2], 0, q.device)
            mask = causal if mask is None else _joined(mask, causal)
        if mask is not None:
            value = True if mask.dtype == torch.bool else 0.0
            mask = torch.nn.functional.pad(mask, (0, len(extra)), value=value)
        more = [
            torch.cat([pair[i].expand(len(k), -1, -1, -1) for pair in extra], 2) for i in (0, 1)
        ]
        return torch.cat([k, more[0]], 2), torch.cat([v, more[1]], 2), mask, False

    def _check(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        remedy = (
            "embed_dim, kdim and vdim are the widths of query, key and value; all or none of these "
            "are batched"
        )
        for name, x, width in (
            ("query", query, self.embed_dim),
            ("key", key, self.kdim),
            ("value", value, self.vdim),
        ):
            length = "L" if name == "query" else "S"
            check_tokens(
                "MultiheadAttention", name, x, query, width, length, self.batch_first, remedy
            )
        batch = 0 if self.batch_first else 1
        if key.shape[:-1] != value.shape[:-1] or (
            query.dim() == 3 and query.shape[batch] != key.shape[batch]
        ):
            raise ArgumentError(
                f"MultiheadAttention: key, value: expected equal lengths, and N as in query, got "
                f"{list(query.shape)}, {list(key.shape)} and {list(value.shape)}; each key has a "
                "value"
            )

    @staticmethod
    def _check_mask(name: str, mask: Tensor, forms: tuple[tuple[int, ...], ...]) -> None:
        if tuple(mask.shape) not in forms:
            wanted = " or ".join(str(list(form)) for form in forms)
            raise ArgumentError(
                f"MultiheadAttention: {name}: expected shape {wanted}, got {list(mask.shape)}; "
                "give one value for each query and key, or for each key"
            )
        if mask.dtype != torch.bool and not mask.is_floating_point():
            raise ArgumentError(
                f"MultiheadAttention: {name}: expected bool or floats, got {mask.dtype}; "
                "convert it with .bool()"
            )


def as_floats(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask as floats that are added to the scores: -inf where a bool mask is True."""
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, -torch.inf)


def _causal(queries: int, keys: int, seen: int, device: torch.device) -> Tensor:
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(seen)


def _joined(mask: Tensor, allowed: Tensor) -> Tensor:
    if mask.dtype == torch.bool:
        return mask & allowed
    return mask.masked_fill(~allowed, -torch.inf)


def _after(seen: int, q: Tensor, k: Tensor, mask: Tensor | None) -> tuple[Tensor | None, bool]:
    """Mask and causality of new queries after ``seen`` tokens."""
    if mask is not None:
        raise ArgumentError(
            "MultiheadAttention: attn_mask, key_padding_mask: expected None with a cache, got "
            "a mask; each token attends to all tokens before it"
        )
    if q.shape[2] == 1 or seen == 0:
        return None, q.shape[2] > 1
    return _causal(q.shape[2], k.shape[2], seen, q.device), False
