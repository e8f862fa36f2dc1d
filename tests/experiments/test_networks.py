"""The comparison of networks: counts against formulas, memory against sizes, a training."""

import copy

import pytest
import torch

from pyneural.errors import ArgumentError
from pyneural.experiments.networks import (
    BATCHES,
    NETWORKS,
    StateSpaceClassifier,
    cost,
    peak_memory,
    train,
)
from pyneural.experiments.networks.zoo import EncodedClassifier, make


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_tells_images(name):
    torch.manual_seed(0)
    network = make(name).eval()
    with torch.no_grad():
        assert network(torch.rand(3, 8, 8)).shape == (3, 10)


def test_unknown_name_is_refused():
    with pytest.raises(ArgumentError, match="make: name: expected one of linear"):
        make("linaer")


def test_counts(monkeypatch):
    monkeypatch.setattr("pyneural.experiments.networks.costs._SECONDS", 0.0)
    found = cost("MLP 128")
    assert found["parameters"] == 64 * 128 + 128 + 128 * 10 + 10
    assert found["operations"] == 2 * (64 * 128 + 128 * 10)
    assert len(found["image_seconds"]) == len(BATCHES)
    assert min(found["image_seconds"]) > 0
    recurrent = cost("LSTM")["operations"]
    assert recurrent == 2 * (8 * 4 * 64 * (8 + 64) + 64 * 10)
    pixels = 64
    convolutions = 2 * 9 * (pixels * 32 + pixels * 32 * 64 + pixels // 4 * 64 * 64)
    dense = 2 * (64 * 16 * 64 + 64 * 10)
    assert cost("CNN")["operations"] == convolutions + dense


def test_memory_is_that_of_the_tensors_alive():
    few, many = peak_memory(["linear"], [10, 1000])["linear"]
    parameters, of_an_image = 4 * 650, 4 * (64 + 10)
    assert few == pytest.approx(parameters + 10 * of_an_image, rel=0.1)
    assert many == pytest.approx(parameters + 1000 * of_an_image, rel=0.01)


def test_memory_of_an_unknown_network_is_one_line():
    with pytest.raises(RuntimeError, match=r"peak_memory: .*make: name: expected one of"):
        peak_memory(["linaer"], [1])


def test_state_space_models_tell_fast_from_slow():
    torch.manual_seed(0)
    t = torch.arange(12.0)
    labels = torch.arange(120) % 2
    phase = 6.28 * torch.rand(120, 1)
    frequency = torch.where(labels == 0, 0.5, 1.5)[:, None]
    y = torch.cos(frequency * t + phase)[..., None] + 0.1 * torch.randn(120, 12, 1)
    network = StateSpaceClassifier(outputs=1, states=2, classes=2)
    network.fit(y[:80], labels[:80], steps=30)
    right = network(y[80:]).argmax(1) == labels[80:]
    assert float(right.float().mean()) > 0.9


def test_classes_without_series_are_refused():
    with pytest.raises(ArgumentError, match="series of class 1, got none"):
        StateSpaceClassifier(1, 1, 2).fit(torch.rand(4, 3, 1), torch.zeros(4), steps=1)


def test_an_encoder_is_not_trained_with_labels():
    torch.manual_seed(0)
    network = EncodedClassifier([64, 4])
    x, y = torch.rand(64, 8, 8), torch.arange(64) % 10
    other = copy.deepcopy(network)
    for of, labels in ((network, y), (other, (y + 1) % 10)):
        torch.manual_seed(1)
        of.fit(x, labels, epochs=1)
    assert all(map(torch.equal, network.encoder.parameters(), other.encoder.parameters()))
    assert not torch.equal(network.readout.weight, other.readout.weight)


def test_training_depends_on_its_seed_alone():
    pytest.importorskip("sklearn")
    first = train("MLP 16", epochs=2, seed=0)
    torch.rand(7)
    assert train("MLP 16", epochs=2, seed=0) == first
    assert first["accuracy"] > 0.5
