"""Losses from logits, and penalties with a double backward, against plain torch in float64."""

import pytest
import torch
from torch import nn

from pyneural.models import MLPDiscriminator
from pyneural.models.adversarial.objectives import discriminator_terms, minimax, non_saturating
from pyneural.models.adversarial.penalties import (
    between,
    by_autograd,
    distance_from_one,
    logits_and_slopes,
    r1,
)
from tests.models.adversarial.gan_examples import in_torch
from tests.tolerances import FLOAT64_GRADIENT, assert_close

FAR = torch.tensor([-1e4, -50.0, -1.0, 0.0, 2.0, 50.0, 1e4], dtype=torch.float64)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_cross_entropies_are_those_of_torch(smoothing):
    found = discriminator_terms(FAR, FAR, smoothing)
    for terms, target in zip(found, (1 - smoothing, 0.0), strict=True):
        exact = nn.functional.binary_cross_entropy_with_logits(
            FAR, torch.full_like(FAR, target), reduction="none"
        )
        assert_close(terms, exact, 1e-15)


def test_losses_of_the_generator_are_those_of_the_paper():
    logits = torch.linspace(-8, 8, 33, dtype=torch.float64)
    d = logits.sigmoid()
    assert_close(minimax(logits), (1 - d).log(), 1e-12)
    assert_close(non_saturating(logits), -d.log(), 1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_far_logits_overflow_nowhere_and_the_gradients_are_those_of_the_paper(dtype):
    logits = FAR.to(dtype).requires_grad_()
    for loss, exact in ((minimax, -logits.sigmoid()), (non_saturating, logits.sigmoid() - 1)):
        (gradient,) = torch.autograd.grad(loss(logits).sum(), logits)
        assert loss(logits).isfinite().all()
        torch.testing.assert_close(gradient, exact.detach(), rtol=1e-5, atol=1e-7)


def parts(features, activation="leaky_relu", spectral_norm=False, condition=0):
    torch.manual_seed(0)
    network = MLPDiscriminator(features, [24, 17], condition, activation, spectral_norm).double()
    x = torch.randn(33, features, dtype=torch.float64)
    c = torch.rand(33, condition, dtype=torch.float64) if condition else None
    return network.eval(), x, c


def by_torch(network, x, c):
    """Slopes of torch's own layers, by a double backward of torch."""
    x = x.clone().requires_grad_()
    logits = in_torch(network.network)(x if c is None else torch.cat([x, c], 1))[:, 0]
    (slopes,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return logits, slopes


# Two columns go by Taylor mode, nine by a double backward through the kernel of the network.
@pytest.mark.parametrize("features", [2, 9])
@pytest.mark.parametrize("activation", ["leaky_relu", "silu", "tanh"])
@pytest.mark.parametrize("condition", [0, 3])
@pytest.mark.parametrize("penalty", [r1, distance_from_one])
@pytest.mark.parametrize("way", [logits_and_slopes, by_autograd])
def test_gradients_of_penalties_are_those_of_torch(features, activation, condition, penalty, way):
    network, x, c = parts(features, activation, condition=condition)
    parameters = list(network.parameters())

    def gradients(way):
        logits, slopes = way(network, x, c)
        loss = nn.functional.softplus(-logits).mean() + 0.7 * penalty(slopes)
        found = torch.autograd.grad(loss, parameters)
        return [logits, slopes, loss, *found]

    for found, exact in zip(gradients(way), gradients(by_torch), strict=True):
        assert_close(found, exact, FLOAT64_GRADIENT)


def test_kernels_are_called_and_not_torchs_layers(monkeypatch):
    from pyneural import ops

    calls = []
    for name in ("mlp", "jet_mlp"):
        original = getattr(ops, name)
        monkeypatch.setattr(ops, name, lambda *a, _n=name, _f=original: calls.append(_n) or _f(*a))
    for features, expected in ((2, ["jet_mlp"]), (9, ["mlp"])):
        network, x, _ = parts(features)
        calls.clear()
        logits_and_slopes(network, x, None)
        assert calls == expected
        calls.clear()
        network(x)
        assert calls == ["mlp"]


@pytest.mark.parametrize("features", [2, 9])
def test_penalty_of_a_network_with_spectral_norm(features):
    """Against weights that are divided by their largest singular value by hand."""
    network, x, _ = parts(features, spectral_norm=True)
    for _ in range(200):  # of the power iteration
        network.train()
        network(x)
    network.eval()
    twin = MLPDiscriminator(features, [24, 17]).double()
    with torch.no_grad():
        for mine, layer in zip(twin.network.layers, network.network.layers, strict=True):
            weight = layer.parametrizations.weight.original
            mine.weight.copy_(weight / torch.linalg.svdvals(weight)[0])
            mine.bias.copy_(layer.bias)
    for way in (logits_and_slopes, by_autograd):
        for found, exact in zip(way(network, x, None), way(twin, x, None), strict=True):
            assert_close(found, exact, 1e-6)  # the power iteration's
    penalty = r1(logits_and_slopes(network, x, None)[1])
    weights = [layer.parametrizations.weight.original for layer in network.network.layers]
    for gradient in torch.autograd.grad(penalty, weights):
        assert gradient.isfinite().all()
        assert gradient.any()


def test_a_hook_of_a_layer_is_not_bypassed():
    network, x, _ = parts(2)
    plain, _ = logits_and_slopes(network, x, None)
    network.network.layers[0].register_forward_hook(lambda layer, args, output: 2 * output)
    hooked, _ = logits_and_slopes(network, x, None)
    torch.testing.assert_close(hooked, network(x)[:, 0])
    assert (hooked - plain).abs().max() > 1e-3


def test_points_between_data_and_samples():
    x, fake = torch.zeros(3, 1, 2, 2), torch.ones(3, 1, 2, 2)
    found = between(x, fake, torch.tensor([0.0, 0.25, 1.0]))
    assert found.flatten(1).tolist() == [[1.0] * 4, [0.75] * 4, [0.0] * 4]


def test_penalties_are_what_they_say():
    slopes = torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=torch.float64)
    assert r1(slopes).item() == 0.5 * 25 / 2
    assert distance_from_one(slopes).item() == pytest.approx((16 + 1) / 2, abs=1e-5)
    flat = torch.zeros(4, 2, requires_grad=True)
    distance_from_one(flat).backward()
    assert flat.grad.isfinite().all()
