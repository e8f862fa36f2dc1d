"""nn.Sequential gives what its layers give one by one, however it groups them."""

from itertools import pairwise

import pytest
import torch

from pyneural import layers, nn, ops, training


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
    ("network", "runs"),
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
        (net("tanh", "tanh", "tanh", "linear", widths=(3, 200, 7, 5, 2)), [4]),
        (nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 2)).double(), []),
    ],
)
def test_same_numbers(network, runs, calls):
    x = torch.randn(33, 3, dtype=torch.float64)
    found = network(x)
    assert calls == runs
    exact = one_by_one(network, x)
    torch.testing.assert_close(found, exact, rtol=1e-12, atol=1e-12)
    parameters = list(network.parameters())
    grads = [torch.autograd.grad(y.square().sum(), parameters) for y in (found, exact)]
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_hooks_and_other_shapes_go_layer_by_layer(calls):
    network = net("tanh", "tanh", "linear")
    assert network(torch.randn(2, 4, 3).double()).shape == (2, 4, 5)
    seen = []
    network[1].register_forward_hook(lambda module, args, output: seen.append(output.shape))
    network(torch.randn(6, 3).double())
    assert seen == [(6, 7)]
    assert calls == []


def test_global_hooks_and_a_forward_of_its_own_go_layer_by_layer(calls):
    network, seen = net("tanh", "tanh", "linear"), []
    x = torch.randn(6, 3).double()
    handle = torch.nn.modules.module.register_module_forward_hook(
        lambda module, args, output: seen.append(type(module))
    )
    network(x)
    handle.remove()
    assert seen == [nn.Linear] * 3 + [nn.Sequential]
    network[1].forward = lambda input: input[:, :7]
    assert network(x).shape == (6, 5)
    assert calls == []


def test_training_sequential_and_dense_take_part(calls):
    x = torch.randn(33, 3)
    dense = [layers.Dense(20, "tanh"), layers.Dense(7, "tanh"), layers.Dense(4, "softmax")]
    model = training.Sequential([*dense, nn.Linear(4, 8), nn.Linear(8, 1)])
    model(x)  # builds
    calls.clear()
    found = model(x)
    assert calls == [2, 2]
    torch.testing.assert_close(found, one_by_one(model.layers, x))
    calls.clear()
    seen = []
    dense[0].register_forward_hook(lambda *given: seen.append(given))
    model(x)
    assert calls == [2]
    assert seen


def test_is_torchs():
    network = net("tanh", "tanh", "linear")
    plain = torch.nn.Sequential(*network)
    assert list(network.state_dict()) == list(plain.state_dict())
    assert isinstance(network[:2], nn.Sequential)
