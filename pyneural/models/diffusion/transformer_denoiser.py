"""A transformer over patches that takes noise from images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural import nn
from pyneural.errors import check_argument, is_whole
from pyneural.models.diffusion.image_denoiser import ImageDenoiser

_FREQUENCIES = 64  # of the time


class TransformerDenoiser(ImageDenoiser):
    """f(x, t, c): a transformer over patches of P x P pixels (DiT), all of our layers.

        h_j = W patch_j + b + p_j,   layers of adaptive norms,   patch_j = V norm(h_j) + v

    with the positions p_j of a row and of a column, each as ``nn.PositionalEncoding`` has them in
    half of the components. Norms are shifted and scaled, and what the layers add is weighed, by
    the embedding of time and condition. Weights and the last layer start at zero: an untrained
    network says 0, and its layers nothing.

    Args:
        shape: of an image, (C, H, W); H and W are multiples of P.
        patch: pixels P of the edge of a patch.
        d_model: width of a patch's embedding, even.
        heads: attention heads, which divide it.
        layers: their number.
        dropout: probability that an element of what a layer adds becomes 0 in training.
        condition: number of columns of a condition, such as classes; 0 for none.
        condition_channels: number of channels of an image that is the condition; 0 for none.

    Shape:
        x [N, C, H, W], t [N] and c [N, condition] or [N, condition_channels, H, W] to the shape
        of x. H and W may be others than those of ``shape``, which is that of samples.

    Raises:
        ArgumentError: counts that do not fit, sizes that are no multiples of the patch.

    Source: Peebles and Xie 2022, arXiv:2212.09748, with the variant adaLN-Zero.

    >>> denoiser = TransformerDenoiser((1, 8, 8), patch=2, d_model=32, layers=2, condition=10)
    >>> denoiser(torch.randn(5, 1, 8, 8), torch.rand(5), torch.eye(5, 10)).shape
    torch.Size([5, 1, 8, 8])
    """

    def __init__(
        self,
        shape: Sequence[int],
        patch: int = 2,
        d_model: int = 128,
        heads: int = 4,
        layers: int = 4,
        *,
        dropout: float = 0.0,
        condition: int = 0,
        condition_channels: int = 0,
    ) -> None:
        counts = {"patch": patch, "d_model": d_model, "heads": heads, "layers": layers}
        for argument, value in counts.items():
            good = is_whole(value) and value >= 1
            remedy = "write a whole number"
            check_argument(good, f"TransformerDenoiser: {argument}", ">= 1", repr(value), remedy)
        good, remedy = d_model % 2 == 0, "half of it tells the row, half the column"
        check_argument(good, "TransformerDenoiser: d_model", "an even number", d_model, remedy)
        self.divided = f"that are multiples of {patch}"
        super().__init__(shape, _FREQUENCIES, d_model, condition, condition_channels, int(patch))
        self.patch, self.d_model, self.heads = int(patch), int(d_model), int(heads)
        self.layers, self.dropout = int(layers), float(dropout)
        self.first: nn.Linear = nn.Linear(self.channels * self.patch**2, self.d_model)
        self.place = nn.PositionalEncoding(self.d_model // 2)
        self.encoder = nn.ModuleList(
            AdaptiveLayer(self.d_model, self.heads, self.dropout) for _ in range(self.layers)
        )
        self.norm = nn.LayerNorm(self.d_model, elementwise_affine=False)
        self.of_time: nn.Linear = nn.Linear(self.d_model, 2 * self.d_model)
        self.last: nn.Linear = nn.Linear(self.d_model, self.shape[0] * self.patch**2)
        _zero(self.of_time)
        _zero(self.last)

    def denoise(self, x: Tensor, e: Tensor) -> Tensor:
        """F [N, C, H, W] of images with those of the condition, and embeddings e [N, E]."""
        rows, columns = (size // self.patch for size in x.shape[2:])
        patches = nn.functional.pixel_unshuffle(x, self.patch).flatten(2).transpose(1, 2)
        h = self.first(patches) + self.places(rows, columns, x)  # [N, rows * columns, d_model]
        for layer in self.encoder:
            h = layer(h, e)
        shift, scale = self.of_time(e)[:, None].chunk(2, 2)
        patches = self.last(torch.addcmul(shift, self.norm(h), 1 + scale))
        x = patches.transpose(1, 2).unflatten(2, (rows, columns))
        return nn.functional.pixel_shuffle(x, self.patch)

    def places(self, rows: int, columns: int, like: Tensor) -> Tensor:
        """The p_j of patches, [rows * columns, d_model]."""
        of_row, of_column = (self.place.positions(n, 0, like) for n in (rows, columns))
        both = of_row[:, None].expand(-1, columns, -1), of_column.expand(rows, -1, -1)
        return torch.cat(both, 2).flatten(0, 1)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        names = ("patch", "d_model", "heads", "layers", "dropout")
        return self.conditions() | {name: getattr(self, name) for name in names}


class AdaptiveLayer(torch.nn.Module):
    """Self-attention and two linear layers whose norms an embedding e shifts, scales and weighs.

        x = x + c attention((1 + b) norm(x) + a),  y = x + f W_2 gelu(W_1 ((1 + e) norm(x) + d))

    with a, ..., f linear in the embedding, zero at first.

    >>> AdaptiveLayer(8, heads=2)(torch.randn(5, 3, 8), torch.randn(5, 8)).shape
    torch.Size([5, 3, 8])
    """

    def __init__(self, d_model: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d_model, elementwise_affine=False)
        self.attention: nn.MultiheadAttention = nn.MultiheadAttention(
            d_model, heads, batch_first=True
        )
        self.linear1: nn.Linear = nn.Linear(d_model, 4 * d_model, activation="gelu_tanh")
        self.linear2: nn.Linear = nn.Linear(4 * d_model, d_model)
        self.of_time: nn.Linear = nn.Linear(d_model, 6 * d_model)
        self.dropout: nn.Dropout = nn.Dropout(dropout)
        _zero(self.of_time)

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        """The layer of x [N, L, d_model] and e [N, d_model]."""
        a, b, c, d, scale, f = self.of_time(e)[:, None].chunk(6, 2)
        h = torch.addcmul(a, self.norm(x), 1 + b)
        h, _ = self.attention(h, h, h, need_weights=False)
        x = torch.addcmul(x, c, self.dropout(h))
        h = torch.addcmul(d, self.norm(x), 1 + scale)
        return torch.addcmul(x, f, self.dropout(self.linear2(self.linear1(h))))


def _zero(layer: torch.nn.Linear) -> None:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
