"""Networks that tell digits, read as 8 rows of 8 pixels, and how each of them is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from pyneural import nn, optim
from pyneural.data import digits_8x8
from pyneural.errors import check_argument
from pyneural.experiments.networks.state_space_classifier import StateSpaceClassifier
from pyneural.models import (
    Autoencoder,
    ImageClassifier,
    PatchTransformer,
    SequenceRegressor,
    SparseNetwork,
)
from pyneural.training import Model

SIZE, CLASSES = 8, 10
BATCH, RATE, CLIP = 64, 3e-3, 1.0  # of every training by gradients, with Adam
EM_STEPS = 20


@dataclass(frozen=True)
class Network:
    """A network of the comparison.

    Attributes:
        family: the kind.
        make: makes it, untrained; from images [N, 8, 8] to logits [N, 10].
    """

    family: str
    make: Callable[[], torch.nn.Module]


class EncodedClassifier(torch.nn.Module):
    """A linear classifier of what an autoencoder has learned without labels.

    >>> EncodedClassifier([64, 32, 16])(torch.rand(5, 8, 8)).shape
    torch.Size([5, 10])
    """

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.encoder = Autoencoder(widths).encoder
        self.readout = nn.Linear(widths[-1], CLASSES)
        self.widths = widths

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, 10] of images [N, 8, 8]."""
        return self.readout(self.encoder(x.flatten(1)))

    def fit(self, x: Tensor, y: Tensor, epochs: int) -> None:
        """Trains an autoencoder, keeps its encoder as it is, and trains the readout."""
        model, pixels = Autoencoder(self.widths), x.flatten(1)
        model.compile(_adam, mse_loss)
        model.fit(pixels, pixels, batch_size=BATCH, epochs=epochs, verbose=0)
        self.encoder.load_state_dict(model.encoder.state_dict())
        codes = model.encode(pixels)
        readout = Model(self.readout)
        readout.compile(_adam, cross_entropy)
        readout.fit(codes, y, batch_size=BATCH, epochs=epochs, verbose=0)


def _adam(parameters: object) -> torch.optim.Optimizer:
    return optim.Adam(parameters, lr=RATE)  # type: ignore[arg-type]


def _flat(make: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Flatten(), make())


def _mlp(*hidden: int) -> Network:
    widths = partial(nn.MLP, SIZE**2, list(hidden), CLASSES, activation="relu")
    return Network("multilayer perceptron", partial(_flat, widths))


def _recurrent(cell: str) -> Network:
    return Network("recurrent", partial(SequenceRegressor, cell, SIZE, 64, CLASSES))


NETWORKS = {
    "linear": Network("linear", partial(_flat, partial(nn.Linear, SIZE**2, CLASSES))),
    "MLP 16": _mlp(16),
    "MLP 128": _mlp(128),
    "MLP 3 x 256": _mlp(256, 256, 256),
    "sparse MLP": Network(
        "multilayer perceptron",
        partial(_flat, partial(SparseNetwork, [SIZE**2, 256, 256, CLASSES], 0.9, "relu")),
    ),
    "autoencoder": Network("autoencoder", partial(EncodedClassifier, [SIZE**2, 32, 16])),
    "CNN": Network("convolutional", partial(ImageClassifier, (SIZE, SIZE), CLASSES)),
    "RNN": _recurrent("rnn"),
    "LSTM": _recurrent("lstm"),
    "GRU": _recurrent("gru"),
    "transformer": Network(
        "transformer", partial(PatchTransformer, SIZE, 1, CLASSES, d_model=32)
    ),
    "state space": Network("state space", partial(StateSpaceClassifier, SIZE, 6, CLASSES)),
}  # fmt: skip


def make(name: str) -> torch.nn.Module:
    """An untrained network.

    >>> make("MLP 16")(torch.rand(2, 8, 8)).shape
    torch.Size([2, 10])
    """
    known = ", ".join(NETWORKS)
    check_argument(name in NETWORKS, "make: name", f"one of {known}", name, "choose one of these")
    return NETWORKS[name].make()


def train(name: str, epochs: int, seed: int) -> dict[str, float]:
    """Trains a network on 1,437 digits and tells 360 others with it.

    All networks are trained in the same way, by Adam; but the state-space models by
    expectation-maximisation, and of the autoencoder only the readout with labels.

    Returns:
        ``accuracy``: share of the other digits that it tells.

    >>> import pytest; _ = pytest.importorskip("sklearn")
    >>> train("linear", epochs=3, seed=0)["accuracy"] > 0.7
    True
    """
    (x, y), (x_new, y_new) = digits_8x8()
    x, x_new = (images.view(-1, SIZE, SIZE) / 16 for images in (x, x_new))
    torch.manual_seed(seed)
    network = make(name)
    if isinstance(network, StateSpaceClassifier):
        network.fit(x, y, EM_STEPS)
    elif isinstance(network, EncodedClassifier):
        network.fit(x, y, epochs)
    else:
        model = Model(network)
        model.compile(_adam, cross_entropy, clip_norm=CLIP)
        model.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=0)
    network.eval()
    with torch.no_grad():
        right = network(x_new).argmax(1) == y_new
    return {"accuracy": float(right.float().mean())}
