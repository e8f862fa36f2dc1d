"""One layer of a transformer's encoder and of its decoder, drop-in for torch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pyneural import ops
from pyneural.errors import ArgumentError
from pyneural.nn.drop_in import DropIn, call_without_tensors
from pyneural.nn.dropout import Dropout
from pyneural.nn.key_value_cache import KeyValueCache
from pyneural.nn.linear import Linear
from pyneural.nn.multihead_attention import MultiheadAttention, as_floats
from pyneural.nn.plain import activation_of, has_only_its_forward, is_plain_linear
from pyneural.nn.stored import stored

Activation = str | Callable[[Tensor], Tensor]


def _fused(activation: Activation) -> str | None:
    """The activation as ``ops.dense`` names it; None where it has none that is the same."""
    if activation is F.relu:
        return "relu"
    if activation is F.gelu:
        return "gelu"
    if isinstance(activation, torch.nn.Module) and has_only_its_forward(activation):
        if type(activation) is torch.nn.ReLU:
            return None if activation.inplace else "relu"
        if type(activation) is torch.nn.GELU:
            return "gelu" if activation.approximate == "none" else "gelu_tanh"
    return None


class _TransformerLayer(DropIn):
    """Common base: submodules in torch's order, and the blocks that a user may override.

    Every submodule is what it is in torch. ``linear1`` and the activation are computed in one call
    where ``linear1`` is plain (``nn.plain``), and one after the other else.
    """

    _attentions: tuple[str, ...]
    self_attn: MultiheadAttention
    linear1: torch.nn.Linear
    linear2: torch.nn.Linear
    dropout: torch.nn.Dropout
    dropout1: torch.nn.Dropout
    norm_first: bool
    activation: Any

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        torch.nn.Module.__init__(self)
        where: dict[str, Any] = {"device": device, "dtype": dtype}
        for name in self._attentions:
            attention = MultiheadAttention(
                d_model, nhead, dropout, bias, batch_first=batch_first, **where
            )
            setattr(self, name, attention)
        self.linear1 = Linear(d_model, dim_feedforward, bias, **where)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, **where)
        self.norm_first = norm_first
        steps = range(1, len(self._attentions) + 2)
        for i in steps:
            norm = torch.nn.LayerNorm(d_model, layer_norm_eps, bias=bias, **where)
            setattr(self, f"norm{i}", norm)
        for i in steps:
            setattr(self, f"dropout{i}", Dropout(dropout))
        functions: dict[Activation, Activation] = {"relu": F.relu, "gelu": F.gelu}
        if isinstance(activation, str) and activation not in functions:
            raise ArgumentError(
                f"{type(self).__name__}: activation: expected relu, gelu or a function, got "
                f"{activation!r}; give the function itself"
            )
        self.activation = functions.get(activation, activation)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Torch's own replaces an activation that is a module by relu, in each copy of a stack.
        torch.nn.Module.__setstate__(self, state)

    def _residual(
        self, number: int, x: Tensor, block: Callable[..., Tensor], *given: Any, **options: Any
    ) -> Tensor:
        """The sum of x and a block of it, with the norm before the block or after the sum."""
        norm = stored(self, f"norm{number}")
        if self.norm_first:
            return x + block(norm(x), *given, **options)
        return norm(x + block(x, *given, **options))

    def _sa_block(
        self,
        x: Tensor,
        attn_mask: Tensor | None,
        key_padding_mask: Tensor | None,
        is_causal: bool = False,
        **cache: KeyValueCache,
    ) -> Tensor:
        x = stored(self, "self_attn")(
            x, x, x, attn_mask=attn_mask, key_padding_mask=key_padding_mask, need_weights=False,
            is_causal=is_causal, **cache,
        )[0]  # fmt: skip
        return stored(self, "dropout1")(x)

    def _feed_forward(self, x: Tensor) -> Tensor:
        """W_2 dropout(f(W_1 x + b_1)) + b_2."""
        layer, fused = stored(self, "linear1"), _fused(self.activation)
        if fused is not None and is_plain_linear(layer) and activation_of(layer) == "linear":
            h = ops.dense(x, stored(layer, "weight"), stored(layer, "bias"), fused)
        else:
            h = self.activation(layer(x))
        return stored(self, "linear2")(stored(self, "dropout")(h))


class TransformerEncoderLayer(_TransformerLayer, torch.nn.TransformerEncoderLayer):  # type: ignore[misc]
    """Self-attention, then two linear layers, each with a residual sum and a norm.

        x = norm1(x + attention(x)),  y = norm2(x + W_2 f(W_1 x + b_1) + b_2)

    ``torch.nn.TransformerEncoderLayer`` on our attention and dense kernels, in training and in
    evaluation: same constructor, same initialisation under the same seed, same ``state_dict``, same
    blocks to override. ``linear1`` and an activation relu or gelu are one call of ``ops.dense``.

    Args:
        d_model: width E of a token.
        nhead: number of heads, which divides E.
        dim_feedforward: width between the linear layers.
        dropout: probability that an element becomes 0 in training.
        activation: f, "relu", "gelu" or a function.
        layer_norm_eps: added to the variances.
        batch_first: whether x is [N, L, E] instead of [L, N, E].
        norm_first: norms before attention and linear layers instead of after the sums.
        bias: whether linear layers and norms have biases.
        device, dtype: of the parameters.

    Raises:
        ArgumentError: as of ``MultiheadAttention``, or an unknown activation.

    Source: Vaswani et al. 2017; norms first: Xiong et al., arXiv:2002.04745 (2020).

    >>> TransformerEncoderLayer(8, nhead=2, dim_feedforward=16)(torch.rand(5, 3, 8)).shape
    torch.Size([5, 3, 8])
    """

    _twin = torch.nn.TransformerEncoderLayer
    _attentions = ("self_attn",)
    dropout2: torch.nn.Dropout
    activation_relu_or_gelu = 0  # torch's stacks then take no fast path

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """The layer of x; masks, causality and cache as of ``MultiheadAttention``."""
        if not isinstance(src, Tensor):
            return call_without_tensors(self, src, src_mask, src_key_padding_mask, is_causal)
        if src.is_nested:
            twin = self.as_torch()
            return twin.forward(src, src_mask, src_key_padding_mask, is_causal)
        given = {} if cache is None else {"cache": cache}
        masks: list[Tensor | None] = [src_mask, src_key_padding_mask]
        if not self._has_our_attention():  # a user's, which torch gives floats
            masks = [None if mask is None else as_floats(mask, src.dtype) for mask in masks]
        x = self._residual(1, src, self._sa_block, *masks, is_causal, **given)
        return self._residual(2, x, self._ff_block)

    def _has_our_attention(self) -> bool:
        """Whether nobody but our own attention sees the masks."""
        attention = stored(self, "self_attn")
        own = type(self)._sa_block.__module__ == __name__ and type(attention) is MultiheadAttention
        return own and has_only_its_forward(attention)

    def _ff_block(self, x: Tensor) -> Tensor:
        return stored(self, "dropout2")(self._feed_forward(x))

    def as_torch(self) -> torch.nn.TransformerEncoderLayer:
        """Torch's layer with the same submodules."""
        twin = super().as_torch()
        kinds = {"relu": 1, "gelu": 2}
        twin.activation_relu_or_gelu = kinds.get(_fused(self.activation) or "", 0)
        return twin


class TransformerDecoderLayer(_TransformerLayer, torch.nn.TransformerDecoderLayer):  # type: ignore[misc]
    """Self-attention, attention to another sequence, then two linear layers.

        x = norm1(x + attention(x)),  x = norm2(x + attention(x, memory))
        y = norm3(x + W_2 f(W_1 x + b_1) + b_2)

    ``torch.nn.TransformerDecoderLayer`` on our attention and dense kernels. Arguments, errors and
    source are those of ``TransformerEncoderLayer``.

    >>> layer = TransformerDecoderLayer(8, nhead=2, dim_feedforward=16)
    >>> layer(torch.rand(5, 3, 8), torch.rand(7, 3, 8), tgt_is_causal=True).shape
    torch.Size([5, 3, 8])
    """

    _twin = torch.nn.TransformerDecoderLayer
    _attentions = ("self_attn", "multihead_attn")
    multihead_attn: MultiheadAttention
    dropout2: torch.nn.Dropout
    dropout3: torch.nn.Dropout

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """The layer of x and memory; masks, causality and cache as of ``MultiheadAttention``."""
        if not isinstance(tgt, Tensor):
            return call_without_tensors(
                self, tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask,
                memory_key_padding_mask, tgt_is_causal, memory_is_causal,
            )  # fmt: skip
        given = {} if cache is None else {"cache": cache}
        masks = tgt_mask, tgt_key_padding_mask
        x = self._residual(1, tgt, self._sa_block, *masks, tgt_is_causal, **given)
        masks = memory_mask, memory_key_padding_mask
        x = self._residual(2, x, self._mha_block, memory, *masks, memory_is_causal, **given)
        return self._residual(3, x, self._ff_block)

    def _mha_block(
        self,
        x: Tensor,
        mem: Tensor,
        attn_mask: Tensor | None,
        key_padding_mask: Tensor | None,
        is_causal: bool = False,
        **cache: KeyValueCache,
    ) -> Tensor:
        x = stored(self, "multihead_attn")(
            x, mem, mem, attn_mask=attn_mask, key_padding_mask=key_padding_mask,
            is_causal=is_causal, need_weights=False, **cache,
        )[0]  # fmt: skip
        return stored(self, "dropout2")(x)

    def _ff_block(self, x: Tensor) -> Tensor:
        return stored(self, "dropout3")(self._feed_forward(x))
