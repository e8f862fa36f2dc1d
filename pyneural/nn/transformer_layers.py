"""One layer of a transformer's encoder and of its decoder, drop-in for torch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pyneural.nn.dropout import Dropout
from pyneural.nn.key_value_cache import KeyValueCache
from pyneural.nn.linear import Linear
from pyneural.nn.multihead_attention import MultiheadAttention

Activation = str | Callable[[Tensor], Tensor]


def _fused(activation: Activation) -> str:
    """The activation as ``Linear`` names it where it can fuse it, else "linear"."""
    if activation in ("relu", F.relu) or isinstance(activation, torch.nn.ReLU):
        return "relu"
    if activation in ("gelu", F.gelu):
        return "gelu"
    if isinstance(activation, torch.nn.GELU):
        return "gelu" if activation.approximate == "none" else "gelu_tanh"
    if isinstance(activation, str):
        raise ValueError(
            f"transformer layer: activation: expected relu, gelu or a function, got "
            f"{activation!r}; give the function itself"
        )
    return "linear"


class _TransformerLayer(torch.nn.Module):
    """Common base: submodules in torch's order, and residual blocks with their norms."""

    _attentions: tuple[str, ...]
    linear1: Linear
    linear2: Linear
    dropout: Dropout
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
        self.activation = functions.get(activation, activation)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Torch's own replaces an activation that is a module by relu, in each copy of a stack.
        torch.nn.Module.__setstate__(self, state)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "activation" and isinstance(self.linear1, Linear):  # fused, also when set later
            self.linear1.activation = _fused(value)

    def _residual(self, number: int, x: Tensor, block: Callable[[Tensor], Tensor]) -> Tensor:
        """The sum of x and a block of it, with the norm before the block or after the sum."""
        norm, dropout = getattr(self, f"norm{number}"), getattr(self, f"dropout{number}")
        if self.norm_first:
            return x + dropout(block(norm(x)))
        return norm(x + dropout(block(x)))

    def _ff_block(self, x: Tensor) -> Tensor:
        h = self.linear1(x)
        # A user may have replaced it by a layer without our activation.
        if not isinstance(self.linear1, Linear) or self.linear1.activation == "linear":
            h = self.activation(h)
        return self.linear2(self.dropout(h))


class TransformerEncoderLayer(_TransformerLayer, torch.nn.TransformerEncoderLayer):  # type: ignore[misc]
    """Self-attention, then two linear layers, each with a residual sum and a norm.

        x = norm1(x + attention(x)),  y = norm2(x + W_2 f(W_1 x + b_1) + b_2)

    ``torch.nn.TransformerEncoderLayer`` on our attention and dense kernels, in training and in
    evaluation: same constructor, same initialisation under the same seed, same
    ``state_dict``. The activations relu and gelu are fused into ``linear1``.

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
        ValueError: as of ``MultiheadAttention``, or an unknown activation.

    Source: Vaswani et al. 2017; norms first: Xiong et al., arXiv:2002.04745 (2020).

    >>> TransformerEncoderLayer(8, nhead=2, dim_feedforward=16)(torch.rand(5, 3, 8)).shape
    torch.Size([5, 3, 8])
    """

    _attentions = ("self_attn",)
    self_attn: MultiheadAttention
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

        def attend(x: Tensor) -> Tensor:
            return self.self_attn(
                x, x, x, src_key_padding_mask, False, src_mask, is_causal=is_causal, cache=cache
            )[0]

        return self._residual(2, self._residual(1, src, attend), self._ff_block)


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

    _attentions = ("self_attn", "multihead_attn")
    self_attn: MultiheadAttention
    multihead_attn: MultiheadAttention

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

        def attend(x: Tensor) -> Tensor:
            return self.self_attn(
                x, x, x, tgt_key_padding_mask, False, tgt_mask, is_causal=tgt_is_causal, cache=cache
            )[0]

        def attend_memory(x: Tensor) -> Tensor:
            return self.multihead_attn(
                x, memory, memory, memory_key_padding_mask, False, memory_mask,
                is_causal=memory_is_causal, cache=cache,
            )[0]  # fmt: skip

        x = self._residual(2, self._residual(1, tgt, attend), attend_memory)
        return self._residual(3, x, self._ff_block)
