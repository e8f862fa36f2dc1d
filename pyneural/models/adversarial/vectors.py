"""Generator and discriminator of rows: multilayer perceptrons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import parametrizations

from pyneural import nn
from pyneural.errors import is_whole
from pyneural.models.adversarial.penalties import by_autograd
from pyneural.nn.plain import is_changed
from pyneural.training.checks import check

_MOST_JETS = 4  # columns up to which Taylor mode is faster than a double backward


class MLPGenerator(torch.nn.Module):
    """G(z, c): a multilayer perceptron from noise to a row.

    Args:
        latent: components of the noise z, which is normal.
        features: columns D of a sample.
        hidden: widths of the hidden layers.
        condition: number C of columns of the condition; 0 for none.
        activation: of the hidden layers.

    Raises:
        ValueError: counts that are no whole numbers, or below 1.

    >>> MLPGenerator(8, 2, condition=3)(torch.randn(5, 8), torch.rand(5, 3)).shape
    torch.Size([5, 2])
    """

    def __init__(
        self,
        latent: int,
        features: int,
        hidden: Sequence[int] = (128, 128),
        condition: int = 0,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        check_counts(type(self), latent=(latent, 1), features=(features, 1),
                     condition=(condition, 0))  # fmt: skip
        self.latent, self.features, self.condition = int(latent), int(features), int(condition)
        self.network: nn.MLP = nn.MLP(self.latent + self.condition, hidden, features, activation)

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Rows [N, D] of noise z [N, latent] and conditions c [N, C]."""
        return self.network(z if c is None else torch.cat([z, c], 1))

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        own = {"latent": self.latent, "features": self.features, "condition": self.condition}
        return own | {"hidden": list(self.network.hidden), "activation": self.network.activation}


class MLPDiscriminator(torch.nn.Module):
    """The logit of D(x, c): a multilayer perceptron of a row.

        D = sigmoid(logit)

    Args:
        features: columns D of a sample.
        hidden: widths of the hidden layers.
        condition: number C of columns of the condition; 0 for none.
        activation: of the hidden layers.
        spectral_norm: whether each weight is divided by its largest singular value (Miyato et al.
            2018, arXiv:1802.05957).

    Raises:
        ValueError: counts that are no whole numbers, or below 1.

    >>> MLPDiscriminator(2, spectral_norm=True)(torch.randn(5, 2)).shape
    torch.Size([5, 1])
    """

    def __init__(
        self,
        features: int,
        hidden: Sequence[int] = (128, 128),
        condition: int = 0,
        activation: str = "leaky_relu",
        spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        check_counts(type(self), features=(features, 1), condition=(condition, 0))
        self.features, self.condition = int(features), int(condition)
        self.network: nn.MLP = nn.MLP(self.features + self.condition, hidden, 1, activation)
        self.spectral_norm = bool(spectral_norm)
        if self.spectral_norm:
            for layer in self.network.layers:
                parametrizations.spectral_norm(layer)

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Logits [N, 1] of rows [N, D] and conditions [N, C]."""
        return self.network(x if c is None else torch.cat([x, c], 1))

    def value_and_gradient(self, x: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits [N] and their gradients by the rows, [N, D], for a penalty.

        Of a few columns by Taylor mode, in one kernel forward and one backward, else by autograd.
        """
        if self.features > _MOST_JETS or any(map(is_changed, self.network.layers)):
            return by_autograd(self, x, c)
        inputs = x if c is None else torch.cat([x, c], 1)
        value, *slopes = self.network.jet(inputs, [(i,) for i in range(self.features)])
        return value[:, 0], torch.cat(slopes, 1)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        own: dict[str, Any] = {"features": self.features, "condition": self.condition}
        own |= {"hidden": list(self.network.hidden), "activation": self.network.activation}
        return own | {"spectral_norm": self.spectral_norm}


def check_counts(kind: type, **counts: tuple[object, int]) -> None:
    """ValueError unless each value is a whole number of at least its least."""
    for name, (value, least) in counts.items():
        good = is_whole(value) and value >= least  # type: ignore[operator]
        check(good, f"{kind.__name__}: {name}", f"a whole number >= {least}", repr(value))
