"""Stacks of transformer layers, and the whole encoder and decoder, drop-in for torch's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pyneural.errors import ArgumentError
from pyneural.nn.checks import check_tokens
from pyneural.nn.drop_in import DropIn, call_without_tensors
from pyneural.nn.key_value_cache import KeyValueCache
from pyneural.nn.multihead_attention import as_floats
from pyneural.nn.plain import has_only_its_forward
from pyneural.nn.transformer_layers import (
    Activation,
    TransformerDecoderLayer,
    TransformerEncoderLayer,
)


def _is_causal(mask: Tensor | None, hint: bool | None) -> bool:
    """The hint; without one, whether the mask is the causal mask."""
    if hint is not None:
        return hint
    if mask is None or mask.dim() != 2 or torch.compiler.is_compiling():
        return False
    causal = torch.ones_like(mask, dtype=torch.bool).triu(1)
    if mask.dtype != torch.bool:
        return torch.equal(mask, torch.zeros_like(mask).masked_fill(causal, -torch.inf))
    return torch.equal(mask, causal)


def _is_ours(layer: torch.nn.Module) -> bool:
    """Whether a call of an encoder layer runs our ``forward`` alone."""
    return type(layer).forward is TransformerEncoderLayer.forward and has_only_its_forward(layer)


def _run(
    stack: torch.nn.TransformerEncoder | torch.nn.TransformerDecoder,
    x: Tensor,
    inputs: tuple[Tensor, ...],
    cache: KeyValueCache | None,
    **options: Any,
) -> Tensor:
    """The layers one after the other, then the norm; layers of torch take no cache."""
    for depth, layer in enumerate(stack.layers):
        if cache is not None:
            options["cache"] = cache.at(depth)
        x = layer(x, *inputs, **options)
    return x if stack.norm is None else stack.norm(x)


class TransformerEncoder(DropIn, torch.nn.TransformerEncoder):
    """Encoder layers one after the other.

    ``torch.nn.TransformerEncoder`` without its nested tensors, so that our layers run in evaluation
    as well.

    Args:
        encoder_layer: copied for each layer.
        num_layers: number of layers.
        norm: applied at the end.
        enable_nested_tensor, mask_check: no effect; for compatibility with torch.

    >>> layer = TransformerEncoderLayer(8, nhead=2, dim_feedforward=16)
    >>> TransformerEncoder(layer, num_layers=3)(torch.rand(5, 2, 8)).shape
    torch.Size([5, 2, 8])
    """

    _twin = torch.nn.TransformerEncoder

    def __init__(
        self,
        encoder_layer: torch.nn.TransformerEncoderLayer,
        num_layers: int,
        norm: torch.nn.Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__(encoder_layer, num_layers, norm, enable_nested_tensor=False)

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """The last layer's output; without a hint ``is_causal`` a causal mask is recognised."""
        if not isinstance(src, Tensor):
            return call_without_tensors(self, src, mask, src_key_padding_mask, is_causal)
        causal = _is_causal(mask, is_causal)
        masks = [mask, src_key_padding_mask]
        if not all(map(_is_ours, self.layers)):  # a user's layers, which torch gives floats
            masks = [None if mask is None else as_floats(mask, src.dtype) for mask in masks]
        return _run(
            self, src, (), cache, src_mask=masks[0], src_key_padding_mask=masks[1],
            is_causal=causal,
        )  # fmt: skip


class TransformerDecoder(DropIn, torch.nn.TransformerDecoder):
    """Decoder layers one after the other: ``torch.nn.TransformerDecoder``, with a cache.

    Args:
        decoder_layer: copied for each layer.
        num_layers: number of layers.
        norm: applied at the end.

    >>> layer = TransformerDecoderLayer(8, nhead=2, dim_feedforward=16)
    >>> TransformerDecoder(layer, num_layers=3)(torch.rand(5, 2, 8), torch.rand(7, 2, 8)).shape
    torch.Size([5, 2, 8])
    """

    _twin = torch.nn.TransformerDecoder

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """The last layer's output; without a hint a causal ``tgt_mask`` is recognised."""
        if not isinstance(tgt, Tensor):
            return call_without_tensors(
                self, tgt, memory, tgt_mask, memory_mask, tgt_key_padding_mask,
                memory_key_padding_mask, tgt_is_causal, memory_is_causal,
            )  # fmt: skip
        return _run(
            self, tgt, (memory,), cache, tgt_mask=tgt_mask, memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=_is_causal(tgt_mask, tgt_is_causal), memory_is_causal=memory_is_causal,
        )  # fmt: skip


class Transformer(DropIn, torch.nn.Transformer):
    """Encoder and decoder.

        memory = encoder(src),  y = decoder(tgt, memory)

    ``torch.nn.Transformer`` on our layers: same constructor, same initialisation under the same
    seed, same ``state_dict``. The arguments are those of the layers, the number of layers, and
    ``custom_encoder`` and ``custom_decoder``, modules to use in place of ours.

    Source: Vaswani et al. 2017.

    >>> model = Transformer(8, nhead=2, num_encoder_layers=1, num_decoder_layers=1)
    >>> tgt_mask = model.generate_square_subsequent_mask(5)
    >>> model(torch.rand(7, 3, 8), torch.rand(5, 3, 8), tgt_mask=tgt_mask).shape
    torch.Size([5, 3, 8])
    """

    _twin = torch.nn.Transformer

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        custom_encoder: Any | None = None,
        custom_decoder: Any | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        where: dict[str, Any] = {"device": device, "dtype": dtype}
        layer = (
            d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first,
            norm_first, bias,
        )  # fmt: skip

        def norm() -> torch.nn.LayerNorm:
            return torch.nn.LayerNorm(d_model, layer_norm_eps, bias=bias, **where)

        encoder, decoder = custom_encoder, custom_decoder
        if encoder is None:
            encoder = TransformerEncoder(
                TransformerEncoderLayer(*layer, **where), num_encoder_layers, norm()
            )
        if decoder is None:
            decoder = TransformerDecoder(
                TransformerDecoderLayer(*layer, **where), num_decoder_layers, norm()
            )
        super().__init__(
            d_model, nhead, custom_encoder=encoder, custom_decoder=decoder, batch_first=batch_first
        )

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The decoder's output; masks and causality as of the decoder and the encoder."""
        if not isinstance(src, Tensor):
            return call_without_tensors(
                self, src, tgt, src_mask, tgt_mask, memory_mask, src_key_padding_mask,
                tgt_key_padding_mask, memory_key_padding_mask, src_is_causal, tgt_is_causal,
                memory_is_causal,
            )  # fmt: skip
        remedy = "d_model is the width of a token; src and tgt are both batched or both not"
        for name, x, length in (("src", src, "S"), ("tgt", tgt, "T")):
            check_tokens(
                "Transformer", name, x, src, self.d_model, length, self.batch_first, remedy
            )
        batch = 0 if self.batch_first else 1
        if src.dim() == 3 and src.shape[batch] != tgt.shape[batch]:
            raise ArgumentError(
                f"Transformer: src, tgt: expected the same N, got {list(src.shape)} and "
                f"{list(tgt.shape)}; N is dimension {batch} as batch_first={self.batch_first}: "
                "give both as many sequences"
            )
        return super().forward(
            src, tgt, src_mask, tgt_mask, memory_mask, src_key_padding_mask, tgt_key_padding_mask,
            memory_key_padding_mask, src_is_causal, tgt_is_causal, memory_is_causal,
        )  # fmt: skip
