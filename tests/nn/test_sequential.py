"""nn.Sequential gives what its layers give one by one, however it groups them."""

from itertools import pairwise

import pytest
import torch

from pyneural import nn, ops


def net(*activations, widths=(3, 20, 7, 5)):
    shapes = zip(pairwise(widths), activations, strict=True)
    return nn.Sequential(*(nn.Linear(*sizes, activation=a) for sizes, a in shapes)).double()


@pytest.fixture
def calls(monkeypatch):
    """How many layers each call of ops.mlp took."""
    seen, mlp = [], ops.mlp

    def counted(x, weights, *rest):
        seen.append(len(weights))
        return mlp(x, weights, *rest)

    monkeypatch.setattr(ops, "mlp", counted)
    return seen


def one_by_one(layers, x):
    for layer in layers:
        x = layer(x)
    return x


@pytest.mark.parametrize(
    ("layers", "runs"),
    [
        (net("tanh", "tanh", "linear"), [3]),
        (net("tanh", "linear", "relu"), [2]),
        (net("tanh", "tanh", "tanh"), [3]),
        (
            nn.Sequential(
                *net("tanh", "relu", "relu"), *net("elu", "elu", "linear", widths=(5, 4, 3, 2))
            ).double(),
            [2, 2, 2],
        ),
        (
            nn.Sequential(
                *net("tanh", "tanh", "linear"), torch.nn.Tanh(), nn.Linear(5, 2)
            ).double(),
            [3],
        ),
        (net("tanh", "tanh", "tanh", "linear", widths=(3, 200, 7, 5, 2)), [2]),
        (nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 2)).double(), []),
    ],
)
def test_same_numbers(layers, runs, calls):
    x = torch.randn(33, 3, dtype=torch.float64)
    found = layers(x)
    assert calls == runs
    exact = one_by_one(layers, x)
    torch.testing.assert_close(found, exact, rtol=1e-12, atol=1e-12)
    parameters = list(layers.parameters())
    grads = [torch.autograd.grad(y.square().sum(), parameters) for y in (found, exact)]
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_hooks_and_other_shapes_go_layer_by_layer(calls):
    layers = net("tanh", "tanh", "linear")
    assert layers(torch.randn(2, 4, 3).double()).shape == (2, 4, 5)
    seen = []
    layers[1].register_forward_hook(lambda module, args, output: seen.append(output.shape))
    layers(torch.randn(6, 3).double())
    assert seen == [(6, 7)]
    assert calls == []


def test_is_torchs():
    layers = net("tanh", "tanh", "linear")
    plain = torch.nn.Sequential(*layers)
    assert list(layers.state_dict()) == list(plain.state_dict())
    assert isinstance(layers[:2], nn.Sequential)
