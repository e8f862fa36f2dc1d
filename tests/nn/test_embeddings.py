from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pyneural import nn
from tests.nn.derivative_oracle import DERIVATIVES, assert_jets


@pytest.fixture(autouse=True)
def _double():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


PARTS = {
    "periodic": lambda: nn.PeriodicEmbedding(3, {1: 2.0, 2: 0.5}, harmonics=2),
    "Fourier": lambda: nn.FourierFeatures(3, 4, scale=0.3, seed=0),
    "modified MLP": lambda: nn.ModifiedMLP(
        3, 4, 2, layers=2, embedding=nn.FourierFeatures(3, 3), factorized=True
    ),
    "PirateNet": lambda: nn.PirateNet(3, 4, 2, blocks=2, nonlinearity=0.3),
    "scaled": lambda: nn.Scaled(
        nn.MLP(3, [5], 2), input_range=([0, 0, 0], [1, 2, 3]), scale=torch.tensor([2.0, 3.0])
    ),
    "joined": lambda: nn.Joined([nn.MLP(1, [4], 1), nn.MLP(3, [4], 2)], [(2,), None]),
}


@pytest.mark.parametrize("make", PARTS.values(), ids=PARTS.keys())
def test_derivatives(make):
    module, x = make(), torch.rand(4, 3)
    for _ in range(2):  # the second time from what is remembered
        assert_jets(module.jet(x, DERIVATIVES), module, x)
    assert module(x).shape == (4, module.out_features)
    assert module(x[None]).shape == (1, 4, module.out_features)
    twin = make()
    twin.load_state_dict(module.state_dict())
    assert torch.equal(twin(x), module(x))


@pytest.mark.parametrize("harmonics", [1, 3])
def test_u_and_all_derivatives_are_periodic(harmonics):
    embedding = nn.PeriodicEmbedding("txy", {"y": 0.7, "x": 2.0}, harmonics=harmonics)
    u = torch.nn.Sequential(embedding, nn.MLP(embedding.out_features, [8, 8], 2))
    x = torch.rand(5, 3)
    moved = x + torch.tensor([0.0, 2.0, -1.4])
    for here, there in zip(nn.jet(u, x, DERIVATIVES), nn.jet(u, moved, DERIVATIVES), strict=True):
        assert (here - there).abs().max() < 1e-11 * here.abs().max()


def test_columns_of_the_periodic_embedding():
    x = torch.rand(4, 2)
    found = nn.PeriodicEmbedding("tx", {"x": 2.0}, harmonics=2)(x)
    angles = math.pi * x[:, 1:] * torch.tensor([1.0, 2.0])
    assert torch.allclose(found, torch.cat([x[:, :1], angles.cos(), angles.sin()], 1))


def test_learned_periods_get_gradients():
    embedding = nn.PeriodicEmbedding(2, {1: 2.0}, learned=True)
    _, u_xx = embedding.jet(torch.rand(4, 2), [(1, 1)])
    u_xx.square().sum().backward()
    assert bool(embedding.periods.grad.any())
    assert list(embedding.state_dict()) == ["periods"]


def test_fourier_features_follow_the_paper():
    x, features = torch.rand(4, 2), nn.FourierFeatures(2, 5000, scale=3.0, seed=1)
    twin = nn.FourierFeatures(2, 5000, scale=3.0, seed=1)
    angles = 2 * math.pi * x @ features.frequencies.T
    assert torch.allclose(features(x), torch.cat([angles.cos(), angles.sin()], 1))
    assert abs(float(features.frequencies.std()) - 3.0) < 0.1
    assert torch.equal(features.frequencies, twin.frequencies)
    learned = nn.FourierFeatures(2, 5, learned=True)
    assert [name for name, _ in learned.named_parameters()] == ["frequencies"]


def test_factorized_layers_start_glorot_normal():
    layer = nn.FactorizedLinear(300, 200)
    assert abs(float(layer.weight.detach().std()) / math.sqrt(2 / 500) - 1) < 0.02
    assert abs(float(layer.scale.detach().mean()) - 1) < 0.05


def test_pirate_net_starts_linear_in_its_features_and_fits_data():
    network, x = nn.PirateNet(1, 40, blocks=3), torch.linspace(-1, 1, 200)[:, None]
    features = network.embedding(x)
    assert torch.allclose(network(x), features @ network.last.weight.T)
    network.fit_last_layer(x, torch.sin(2 * x))
    assert (network(x) - torch.sin(2 * x)).abs().max() < 1e-3


def test_the_gates_of_the_modified_mlp():
    network, x = nn.ModifiedMLP(2, 3, layers=1, activation="sin"), torch.rand(4, 2)
    u, v = (torch.sin(gate(x)) for gate in network.gates)
    z = torch.sin(network.layers[0](x))
    assert torch.allclose(network(x), network.last(z * u + (1 - z) * v))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: nn.PeriodicEmbedding("tx", {"y": 2.0}), r"periods of some of t, x, got .*'y'"),
        (lambda: nn.PeriodicEmbedding("tx", {}), "name a periodic coordinate"),
        (lambda: nn.PeriodicEmbedding("tx", {"x": 0.0}), "periods > 0"),
        (lambda: nn.PeriodicEmbedding(2, {1: 1.0}, harmonics=0), "harmonics: expected at least 1"),
        (lambda: nn.FourierFeatures(2, 0), "features: expected at least 1"),
        (lambda: nn.FourierFeatures(2, 3, scale=-1.0), "scale: expected a number > 0"),
        (lambda: nn.FourierFeatures(0, 3), "at least one coordinate"),
        (lambda: nn.PirateNet(2, 7), "an even width"),
        (lambda: nn.PirateNet(2, 8, embedding=nn.FourierFeatures(2, 3)), "8 features, the width"),
        (lambda: nn.ModifiedMLP(3, 8, embedding=nn.FourierFeatures(2, 3)), "one of 3 inputs"),
        (lambda: nn.ModifiedMLP(3, 8, activation="none"), "activation: expected one of"),
        (lambda: nn.Scaled(nn.MLP(1, [], 1), input_range=(1.0, 0.0)), "low < high"),
        (lambda: nn.Scaled(nn.MLP(1, [], 1), scale=math.nan), "scale: expected finite"),
        (lambda: nn.Joined([]), "at least one"),
        (lambda: nn.Joined([nn.MLP(1, [], 1)], []), "1, one for each network, got 0"),
        (lambda: nn.Activation(), "f, f', f''"),
    ],
)
def test_errors(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_points_and_frequencies_that_were_changed_behind_torchs_back():
    numbers = np.random.default_rng(0).random((4, 2))
    x, features = torch.from_numpy(numbers), nn.FourierFeatures(2, 3, seed=0)
    for change in (
        lambda: None,
        lambda: numbers.__imul__(0.5),
        lambda: features.frequencies.data.mul_(2),
    ):
        change()
        fresh = nn.FourierFeatures(2, 3)
        fresh.load_state_dict(features.state_dict())
        assert_same = torch.testing.assert_close
        assert_same(features.jet(x, [(0, 0)]), fresh.jet(x.clone(), [(0, 0)]))


def test_periods_are_as_exact_as_the_coordinates():
    embedding = nn.PeriodicEmbedding(1, {0: 2 * math.pi}, harmonics=3).double()
    x = torch.rand(5, 1, dtype=torch.float64)
    expected = torch.cat([(k * x).cos() for k in (1, 2, 3)] + [(k * x).sin() for k in (1, 2, 3)], 1)
    torch.testing.assert_close(embedding(x), expected, rtol=0, atol=1e-15)
    assert embedding.periodic() == [(0, 2 * math.pi)]
    # Loaded ones are others, or the same ones rounded.
    embedding.load_state_dict(nn.PeriodicEmbedding(1, {0: 3.0}, harmonics=3).state_dict())
    assert embedding.periodic() == [(0, 3.0)]
    same = nn.PeriodicEmbedding(1, {0: 2 * math.pi})
    same.load_state_dict(same.state_dict())
    assert same.double().periodic() == [(0, 2 * math.pi)]
    learned = nn.PeriodicEmbedding(1, {0: 2.0}, learned=True).double()
    with torch.no_grad():
        learned.periods += 1
    assert learned.periodic() == [(0, 3.0)]
