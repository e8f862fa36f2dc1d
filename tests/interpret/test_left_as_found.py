"""Every method leaves the model, its inputs and torch as it found them."""

from __future__ import annotations

import copy

import pytest
import torch

from pyneural import interpret
from tests.interpret.networks import autoencoder, every_call, image_network, series_network

X, TARGET = torch.rand(4, 2, 8, 8), torch.tensor([0, 2, 1, 1])
CALLS = every_call(X, TARGET)


def snapshot(model):
    hooks = ["_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"]
    return {
        "state": {name: value.clone() for name, value in model.state_dict().items()},
        "modes": [part.training for part in model.modules()],
        "requires": [p.requires_grad for p in model.parameters()],
        "grads": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "hooks": [len(getattr(part, name)) for part in model.modules() for name in hooks],
        "attributes": [sorted(vars(part)) for part in model.modules()],
    }


def assert_same(before, after):
    for name in ("modes", "requires", "hooks", "attributes"):
        assert before[name] == after[name]
    for name, value in before["state"].items():
        assert torch.equal(value, after["state"][name])
    for one, other in zip(before["grads"], after["grads"], strict=True):
        assert (one is None and other is None) or torch.equal(one, other)


def strange(model):
    """A model with mixed modes, a frozen parameter, a gradient that waits, and a hook."""
    model.train()
    parts = list(model.modules())
    parts[1].eval()
    parameters = list(model.parameters())
    parameters[0].requires_grad_(False)
    parameters[-1].grad = torch.ones_like(parameters[-1])
    parts[-1].register_forward_hook(lambda *_: None)
    return model


def check(model, call):
    before, random = snapshot(model), torch.get_rng_state()
    enabled, cudnn = torch.is_grad_enabled(), torch.backends.cudnn.enabled
    call(model)
    assert_same(before, snapshot(model))
    assert torch.equal(random, torch.get_rng_state())
    assert (torch.is_grad_enabled(), torch.backends.cudnn.enabled) == (enabled, cudnn)
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize("name", CALLS)
def test_model_is_left_as_it_was(name):
    x = X.clone()
    check(strange(image_network()), CALLS[name])
    assert torch.equal(X, x)
    assert not X.requires_grad


@pytest.mark.parametrize("name", CALLS)
def test_also_after_an_error(name):
    model = strange(image_network())
    before, random = snapshot(model), torch.get_rng_state()
    model[-1].register_forward_hook(lambda *_: 1 / 0)
    before["hooks"][-4] += 1
    with pytest.raises(ZeroDivisionError):
        CALLS[name](model)
    assert_same(before, snapshot(model))
    assert torch.equal(random, torch.get_rng_state())
    assert torch.is_grad_enabled()


def test_rollout_and_traversal_too():
    model = strange(series_network())
    x = torch.rand(2, 6, 2)
    check(model, lambda model: interpret.attention_rollout(model, x))
    z, values = torch.rand(2, 2), torch.linspace(0, 1, 3)
    check(strange(autoencoder()), lambda m: interpret.latent_traversal(m, z, 0, values))


def test_dropout_is_off_and_batch_norm_uses_what_it_learned():
    model = image_network().train()
    first, again = (interpret.saliency(model, X, 0) for _ in range(2))
    assert torch.equal(first, again)
    alone = interpret.saliency(model, X[:1], 0)
    assert torch.allclose(first[:1], alone, atol=1e-6)


class Counting(torch.nn.Module):
    """Changes its buffers in evaluation mode too, one in place."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("last", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        self.last = x.detach().sum()
        return x.flatten(1)[:, :3]


@pytest.mark.parametrize("name", ["saliency", "occlusion", "deletion_curve"])
def test_buffers_are_put_back(name):
    model = Counting()
    calls, last = model.calls, model.last
    CALLS[name](model)
    assert model.calls is calls
    assert model.last is last
    assert (float(calls), float(last)) == (0, 0)


def test_sparse_buffers_are_put_back():
    class Graph(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("adjacency", torch.eye(3).to_sparse())
            self.register_buffer("calls", torch.ones(1).to_sparse())

        def forward(self, x):
            self.calls.mul_(2)
            return (self.adjacency @ x.T).T

    model = Graph()
    assert torch.equal(interpret.saliency(model, torch.ones(2, 3), 0), torch.eye(3)[[0, 0]])
    assert torch.equal(model.adjacency.to_dense(), torch.eye(3))
    assert model.calls.to_dense() == 1


def test_random_numbers_in_evaluation_do_not_reach_torchs_generator():
    class Noisy(torch.nn.Module):
        def forward(self, x):
            return (x * (1 + torch.rand_like(x))).sum(1)

    x, before = torch.rand(3, 2), torch.get_rng_state()
    interpret.occlusion(Noisy(), x)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_works_where_gradients_are_off(context):
    model = image_network()
    expected = interpret.saliency(model, X, TARGET)
    with context():
        x = X + 0
        found = interpret.saliency(model, x, TARGET)
        interpret.integrated_gradients(model, x, TARGET, tolerance=10.0)
        interpret.randomization_test(model, interpret.saliency, x, TARGET, repeats=1)
    assert torch.equal(expected, found)
    assert not found.requires_grad


def test_a_pending_graph_survives():
    model, x = image_network(), X.clone().requires_grad_()
    loss = model(x).sum()
    interpret.randomization_test(model, interpret.saliency, x, 0, repeats=1)
    interpret.integrated_gradients(model, x, 0, tolerance=10.0)
    assert x.grad is None
    loss.backward()
    assert x.grad is not None


def test_model_may_change_its_input_in_place():
    model = torch.nn.Sequential(torch.nn.ReLU(inplace=True), torch.nn.Linear(3, 1))
    plain = torch.nn.Sequential(torch.nn.ReLU(), copy.deepcopy(model[1]))
    x = torch.randn(4, 3)
    kept = x.clone()
    for method in (interpret.saliency, interpret.occlusion, interpret.integrated_gradients):
        assert torch.allclose(method(model, x), method(plain, x))
    assert torch.equal(x, kept)
