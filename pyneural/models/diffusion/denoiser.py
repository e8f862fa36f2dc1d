"""Denoisers: networks that see a noisy sample and its time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural import nn, ops
from pyneural.errors import is_whole
from pyneural.nn.plain import is_plain_affine
from pyneural.training.checks import check


class MLPDenoiser(torch.nn.Module):
    """f(x, t, c): a multilayer perceptron of a row, its condition and its time.

        f = MLP([cos(pi t), ..., cos(F pi t), sin(pi t), ..., sin(F pi t), x, c])

    Time enters by the first layer alone, so that ``ops`` can sample in one call.

    Args:
        features: D.
        hidden: widths of the hidden layers.
        condition: number C of columns of the condition; 0 for none.
        frequencies: number F of frequencies of the time.
        activation: of the hidden layers.

    Raises:
        ValueError: counts that are no whole numbers, or below 1.

    >>> denoiser = MLPDenoiser(2, [32, 32], condition=3)
    >>> denoiser(torch.randn(5, 2), torch.rand(5), torch.randn(5, 3)).shape
    torch.Size([5, 2])
    """

    frequencies: Tensor

    def __init__(
        self,
        features: int,
        hidden: Sequence[int] = (128, 128, 128),
        condition: int = 0,
        frequencies: int = 8,
        activation: str = "silu",
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("features", features, 1), ("condition", condition, 0), ("frequencies", frequencies, 1),
        ):  # fmt: skip
            good = is_whole(value) and value >= least
            check(good, f"MLPDenoiser: {name}", f"a whole number >= {least}", repr(value))
        self.features, self.condition = int(features), int(condition)
        inputs = self.features + self.condition + 2 * int(frequencies)
        self.activation = activation
        self.network: nn.MLP = nn.MLP(inputs, hidden, self.features, activation)
        # As continuous flows have it, whose kernel integrates flow matching, too.
        waves = torch.arange(1, frequencies + 1) * torch.pi
        self.register_buffer("frequencies", waves, persistent=False)

    def embed(self, t: Tensor) -> Tensor:
        """Cosines and sines of times [...], [..., 2 F]."""
        phase = t[..., None] * self.frequencies.to(t)
        return torch.cat([phase.cos(), phase.sin()], -1)

    def value_and_divergence(
        self, x: Tensor, t: Tensor, c: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Value f at x [N, D], one time [] and conditions, and its divergence in x, [N]."""
        layers: Any = list(self.network.layers)
        good, remedy = all(map(is_plain_affine, layers)), "take it before layers are changed"
        expected = "linear layers with a bias and without hooks"
        check(good, "MLPDenoiser.value_and_divergence: network", expected, "others", remedy)
        weights, biases = [one.weight for one in layers], [one.bias for one in layers]
        sizes = 2 * len(self.frequencies), self.features, self.condition
        of_time, of_x, of_c = weights[0].split(sizes, 1)
        bias = biases[0] + of_time @ self.embed(t)
        if c is not None:
            bias = ops.dense(c, of_c, bias)
        return ops.mlp_divergence(x, [of_x, *weights[1:]], [bias, *biases[1:]], self.activation)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {
            "features": self.features,
            "hidden": list(self.network.hidden),
            "condition": self.condition,
            "frequencies": len(self.frequencies),
            "activation": self.activation,
        }

    def forward(self, x: Tensor, t: Tensor, c: Tensor | None = None) -> Tensor:
        """F at x [N, D], times t in [0, 1], [N] or [], and conditions c [N, C]; [N, D]."""
        parts = [x] if c is None else [x, c]
        return self.network(torch.cat([self.embed(t.expand(len(x))), *parts], 1))
