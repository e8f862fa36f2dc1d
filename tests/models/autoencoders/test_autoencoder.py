"""Autoencoder: its sizes, its start, PCA as its linear limit; the oscillation that it learns."""

from __future__ import annotations

import math
import warnings
from functools import partial

import pytest
import torch

from pyneural.models import Autoencoder, damped_oscillation


@pytest.mark.parametrize(
    ("widths", "count"), [((784, 128, 64), 218192), ((784, 128, 64, 32, 16), 223456)]
)
def test_counts_of_the_course(widths, count):
    model = Autoencoder(widths, last_activation="sigmoid")
    assert model.count().total == sum(p.numel() for p in model.parameters()) == count
    both_ways = [*widths, *widths[-2::-1]]
    layers = [*model.encoder, *model.decoder]
    assert [layer.weight.shape[1] for layer in layers] == both_ways[:-1]
    assert [layer.weight.shape[0] for layer in layers] == both_ways[1:]


def test_output_is_that_of_the_formula():
    torch.manual_seed(0)
    model = Autoencoder([5, 4, 2], "tanh", latent_activation="linear", last_activation="sigmoid")
    x = torch.randn(7, 5)
    (w1, b1, w2, b2, v1, c1, v2, c2) = model.parameters()
    z = torch.tanh(x @ w1.T + b1) @ w2.T + b2
    torch.testing.assert_close(model.encode(x), z)
    torch.testing.assert_close(model(x), torch.sigmoid(torch.tanh(z @ v1.T + c1) @ v2.T + c2))
    assert not any(bias.any() for bias in (b1, b2, c1, c2))
    assert w1.abs().max() <= math.sqrt(6 / 9)  # Glorot


def test_linear_one_finds_the_plane_of_pca():
    torch.manual_seed(0)
    x = torch.randn(400, 2) @ torch.randn(2, 5) + 0.1 * torch.randn(400, 5)
    model = Autoencoder([5, 2], "linear")
    model.compile(partial(torch.optim.Adam, lr=1e-2), "mse")
    model.fit(x, x, epochs=150, batch_size=100, verbose=0)
    axes = torch.linalg.svd(x - x.mean(0), full_matrices=False).Vh[:2]
    found = torch.linalg.qr(model.decoder[0].weight.detach()).Q
    assert torch.linalg.svdvals(axes @ found).min() > 0.999


def test_compile_knows_the_last_layer():
    with pytest.warns(UserWarning, match="expects sigmoid in the last layer, got linear"):
        Autoencoder([5, 2]).compile("adam", "binary_crossentropy")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Autoencoder([5, 2], last_activation="sigmoid").compile("adam", "binary_crossentropy")


def test_needs_a_latent_width():
    with pytest.raises(ValueError, match=r"widths: expected inputs, \.\.\., latent, got \[5\]"):
        Autoencoder([5])


def test_oscillation_solves_its_equation():
    """x'' + 2 gamma x' + (w^2 + gamma^2) x = 0 from x = 1, x' = 0."""
    w, gamma = (torch.rand(6, dtype=torch.float64) + 0.5 for _ in range(2))
    h = 1e-4
    times = [0.0, h, 2 * h, 1.0 - h, 1.0, 1.0 + h]
    x = damped_oscillation(w, gamma, times)
    first, second = (x[:, 5] - x[:, 3]) / (2 * h), (x[:, 5] - 2 * x[:, 4] + x[:, 3]) / h**2
    assert (second + 2 * gamma * first + (w**2 + gamma**2) * x[:, 4]).abs().max() < 1e-6
    assert torch.equal(x[:, 0], torch.ones_like(w))
    assert ((-3 * x[:, 0] + 4 * x[:, 1] - x[:, 2]) / (2 * h)).abs().max() < 1e-6
