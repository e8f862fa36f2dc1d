"""Autoencoder: a network that reproduces its input through a narrow hidden layer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from pyneural import nn
from pyneural.errors import whole
from pyneural.layers.base import glorot_uniform_
from pyneural.training import Model
from pyneural.training.data.adapter import of_arrays
from pyneural.training.state.self_describing import SelfDescribing


class Autoencoder(SelfDescribing, Model):
    """An encoder, and a decoder with the same layer widths in reverse order.

        z  = h(W_L a_(L-1) + b_L),  a_l = f(W_l a_(l-1) + b_l),              a_0 = x
        x' = g(V_1 d_1 + c_1),      d_l = f(V_(l+1) d_(l+1) + c_(l+1)),      d_L = z

    Trained to reproduce its input, x' = x, the network stores in the latent vector z, which has
    fewer components than x, what it needs to reconstruct the data. With f, g and h linear and the
    squared error as loss, z spans the same subspace as PCA (Baldi and Hornik 1989). Weights are
    initialised as in Glorot and Bengio (2010), biases with zero, as in Keras.

    Args:
        widths: layer widths of the encoder, [inputs, hidden ..., latent].
        activation: f, any activation of ``nn.Linear``.
        latent_activation: h, the activation of the latent layer; None for f.
        last_activation: g, the activation of the reconstruction.

    Raises:
        ValueError: fewer than two widths, one below 1, or an unknown activation.

    >>> model = Autoencoder([784, 128, 64], last_activation="sigmoid")
    >>> model.count().total
    218192
    >>> import torch
    >>> x = torch.rand(5, 784)
    >>> model.encode(x).shape, model(x).shape
    (torch.Size([5, 64]), torch.Size([5, 784]))
    """

    def __init__(
        self,
        widths: Sequence[int],
        activation: str = "relu",
        *,
        latent_activation: str | None = None,
        last_activation: str = "linear",
    ) -> None:
        super().__init__()
        widths = [whole("Autoencoder: widths", width) for width in widths]
        if len(widths) < 2:
            raise ValueError(
                f"Autoencoder: widths: expected inputs, ..., latent, got {list(widths)}; "
                "[784, 128, 64] encodes 784 inputs as 64 latent variables"
            )
        self.widths, self.activation, self.last_activation = widths, activation, last_activation
        self.latent_activation = latent_activation
        latent = activation if latent_activation is None else latent_activation
        self.encoder = _layers(widths, activation, latent)
        self.decoder = _layers(widths[::-1], activation, last_activation)

    def chain(self) -> list[torch.nn.Module]:
        """Encoder and decoder."""
        return [self.encoder, self.decoder]

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        names = ("widths", "activation", "latent_activation", "last_activation")
        return {name: getattr(self, name) for name in names}

    def encode(self, x: Any) -> Any:
        """Latent z [N, latent] of x [N, inputs]; an array of an array or frame."""
        return of_arrays("Autoencoder.encode", self, self.encoder, x)

    def decode(self, z: Any) -> Any:
        """Reconstruction x' [N, inputs] from z [N, latent]; an array of an array or frame."""
        return of_arrays("Autoencoder.decode", self, self.decoder, z, "z")

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruction x' of x, both [N, inputs]."""
        return self.decode(self.encode(x))


def _layers(widths: Sequence[int], hidden: str, last: str) -> nn.Sequential:
    layers = []
    for number, (before, after) in enumerate(pairwise(widths), 2):
        activation = last if number == len(widths) else hidden
        layers.append(nn.Linear(before, after, activation=activation))
        glorot_uniform_(layers[-1])
    return nn.Sequential(*layers)
