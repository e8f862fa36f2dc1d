"""A transformer over patches of a time series, with one output for the whole series."""

from __future__ import annotations

import torch
from torch import Tensor

from pyneural import nn
from pyneural.errors import wholes


class PatchTransformer(torch.nn.Module):
    """Transformer encoder over patches of a series, and a linear readout of the mean.

        z_j = W [x_(j P) .. x_(j P + P - 1)] + b + p_j,  y = V mean_j encoder(z)_j + c

    A patch is P consecutive steps, so that attention acts on T / P positions instead of T.

    Args:
        inputs: features of a step.
        patch: steps P in a patch.
        outputs: components of the output.
        d_model: embedding dimension of a patch.
        heads: attention heads.
        layers: encoder layers.

    Shape:
        x [N, T, inputs] to y [N, outputs]; a series whose length P does not divide is padded with
        zeros at its beginning.

    Raises:
        ValueError: ``patch`` below 1; and the errors of ``nn.TransformerEncoderLayer``.

    Source: Nie et al., arXiv:2211.14730 (2022); Vaswani et al. 2017.

    >>> network = PatchTransformer(inputs=2, patch=4, outputs=1, d_model=8, heads=2)
    >>> network(torch.rand(5, 30, 2)).shape
    torch.Size([5, 1])
    """

    def __init__(
        self,
        inputs: int,
        patch: int,
        outputs: int,
        *,
        d_model: int = 64,
        heads: int = 4,
        layers: int = 2,
    ) -> None:
        super().__init__()
        inputs, patch, outputs, d_model, heads, layers = wholes(
            "PatchTransformer",
            inputs=inputs,
            patch=patch,
            outputs=outputs,
            d_model=d_model,
            heads=heads,
            layers=layers,
        )
        if patch < 1:
            raise ValueError(
                f"PatchTransformer: patch: expected >= 1, got {patch}; write 4 for four steps"
            )
        self.patch = patch
        self.embedding = nn.Linear(patch * inputs, d_model)
        self.positions = nn.PositionalEncoding(d_model, batch_first=True)
        layer = nn.TransformerEncoderLayer(
            d_model, heads, 2 * d_model, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, nn.LayerNorm(d_model))
        self.readout = nn.Linear(d_model, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Output [N, outputs] for the series x [N, T, inputs]."""
        missing = -x.shape[1] % self.patch
        x = torch.nn.functional.pad(x, (0, 0, missing, 0))
        patches = x.unflatten(1, (-1, self.patch)).flatten(2)
        h = self.encoder(self.positions(self.embedding(patches)))
        return self.readout(h.mean(1))
