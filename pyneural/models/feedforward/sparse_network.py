"""Sparsely connected network."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from pyneural.errors import whole
from pyneural.nn import Linear, MaskedLinear, random_mask


class SparseNetwork(torch.nn.Module):
    """Multilayer perceptron with sparse hidden layers; the last layer is dense.

        a_l = f((M_l * W_l) a_(l-1) + b_l),  l = 1 .. L - 1
        y   = W_L a_(L-1) + b_L

    Args:
        widths: layer widths, [inputs, hidden ..., outputs].
        sparsity: fraction of absent edges in each layer but the last, from 0 to 1.
        activation: f, any activation of ``ops.dense``.
        generator: random generator for the masks M; None for torch's global one.

    Raises:
        ValueError: fewer than three widths, or a sparsity outside [0, 1].

    >>> network = SparseNetwork([3, 4, 4, 1], sparsity=0.5)
    >>> sum(parameter.numel() for parameter in network.parameters())
    27
    """

    def __init__(
        self,
        widths: Sequence[int],
        sparsity: float,
        activation: str = "tanh",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        widths = [whole("SparseNetwork: widths", width) for width in widths]
        if len(widths) < 3:
            raise ValueError(
                f"SparseNetwork: widths: expected inputs, hidden, ..., outputs, got "
                f"{list(widths)}; sparse layers are hidden layers, give at least one"
            )
        self.sparse = torch.nn.ModuleList(
            MaskedLinear(random_mask(after, before, sparsity, generator), activation=activation)
            for before, after in pairwise(widths[:-1])
        )
        self.last = Linear(widths[-2], widths[-1])

    def forward(self, x: Tensor) -> Tensor:
        """Output y [..., O] for x [..., I]."""
        for layer in self.sparse:
            x = layer(x)
        return self.last(x)

    def masked_layers(self) -> list[MaskedLinear]:
        """All layers but the last."""
        return [layer for layer in self.sparse if isinstance(layer, MaskedLinear)]
