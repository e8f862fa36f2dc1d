"""Flows whose networks a user has changed give what their layers give in turn."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.func import functional_call, stack_module_state, vmap

from pyneural import nn
from pyneural.models.flows import MAF, RealNVP
from pyneural.models.flows.conditioner import MLP, MaskedLinear, MaskedMLP

X = torch.linspace(-2, 2, 21, dtype=torch.float64).view(7, 3)


@pytest.fixture(autouse=True)
def _double():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def network(flow):
    return next(m for m in flow.modules() if type(m) in (MLP, MaskedMLP))


def by_layers(flow):
    hook = torch.nn.modules.module.register_module_forward_hook(lambda *_: None)
    try:
        return flow().log_prob(X)
    finally:
        hook.remove()


def hidden_weight(flow):
    layer = network(flow)[0]
    layer.__dict__["weight"] = torch.randn_like(layer.weight)


def own_activation(flow):
    layers = network(flow)
    layers[0] = nn.Linear(layers[0].in_features, 16, activation="tanh")


def mask_in_a_coupling(flow):
    layers = network(flow)
    layers[0] = MaskedLinear(torch.rand(16, layers[0].in_features) > 0.5)


def other_widths(flow):
    flow().log_prob(X)
    step = next(m for m in flow.modules() if getattr(m, "hyper", None) is not None)
    step.hyper = MLP(step.hyper[0].in_features, step.hyper[-1].out_features, (8,))


def no_mask(flow):
    network(flow)[0] = torch.nn.Linear(3, 16)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (RealNVP, hidden_weight),
        (RealNVP, own_activation),
        (RealNVP, mask_in_a_coupling),
        (RealNVP, other_widths),
        (MAF, hidden_weight),
        (MAF, no_mask),
    ],
)
def test_what_the_layers_give(kind, change):
    torch.manual_seed(0)
    flow = kind(3, transforms=2, hidden_features=(16, 16))
    before = flow().log_prob(X)
    change(flow)
    found = flow().log_prob(X)
    assert not torch.allclose(found, before)
    torch.testing.assert_close(found, by_layers(flow), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", [RealNVP, MAF])
def test_inference_mode_before_a_training(kind):
    flow = kind(3, transforms=2, hidden_features=(8,))
    with torch.inference_mode():
        expected = flow().mean_nll(X)
        kind(3, transforms=2, hidden_features=(8,))().log_prob(X)  # made there
    loss = flow().mean_nll(X)
    loss.backward()
    assert loss == expected
    assert all(p.grad is not None for p in flow.parameters())


@pytest.mark.parametrize("method", ["log_prob", "mean_nll"])
def test_an_ensemble_by_vmap(method):
    class Density(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.flow = MAF(3, transforms=2, hidden_features=(8,))

        def forward(self, x):
            return getattr(self.flow(), method)(x)

    members = [Density() for _ in range(3)]
    parameters, buffers = stack_module_state(members)
    one = copy.deepcopy(members[0])
    found = vmap(lambda p, b: functional_call(one, (p, b), (X,)))(parameters, buffers)
    torch.testing.assert_close(found, torch.stack([member(X) for member in members]))
