"""Derivatives of modules as users write them, and what has no rule."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch

from pyneural import nn, ops
from tests.nn.derivative_oracle import assert_jets

ORDERS = [(1, 1), (0, 1, 1)]
DERIVATIVES = [*ORDERS, ops.LinearOperator({(1,): 1.0, (1, 1): -0.3, (0, 1, 1): 0.2})]


@pytest.fixture(autouse=True)
def _double():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def x():
    return torch.rand(5, 3)


@pytest.fixture
def calls(monkeypatch):
    """Layers of each call of the jet kernel."""
    found = []
    real = ops.jet_mlp

    def spy(x, weights, *arguments):
        found.append(len(weights))
        return real(x, weights, *arguments)

    monkeypatch.setattr(ops, "jet_mlp", spy)
    return found


class Residual(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Linear(3, 6), torch.nn.Linear(6, 6)
        self.last = torch.nn.Linear(6, 2, bias=False)

    def forward(self, x):
        h = torch.tanh(self.first(x))
        h = h + torch.nn.functional.silu(self.second(h))
        h = h + torch.tanh(self.second(h))  # a shared layer
        return self.last(h)


class LowRank(torch.nn.Module):
    """A frozen layer with a trained change of low rank."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.down = torch.nn.Linear(layer.in_features, 2, bias=False)
        self.up = torch.nn.Linear(2, layer.out_features, bias=False)

    def forward(self, x):
        return self.layer(x) + self.up(self.down(x))


def sequential(*activations):
    layers = [torch.nn.Linear(3, 6)]
    for activation in activations:
        layers += [activation, torch.nn.Linear(6, 6)]
    return torch.nn.Sequential(*layers)


def with_replaced_layer():
    network = nn.MLP(3, [6, 5], 2)
    network.layers[1] = LowRank(network.layers[1])
    return network


def with_hook():
    network = nn.MLP(3, [6, 5], 2, "silu")
    network.layers[0].register_forward_hook(lambda module, inputs, output: 2 * output)
    return network


def parametrised():
    network = sequential(torch.nn.Tanh())
    torch.nn.utils.parametrizations.weight_norm(network[0])
    return network


def in_evaluation():
    parts = torch.nn.BatchNorm1d(6), torch.nn.Dropout(0.5), torch.nn.Tanh()
    network = torch.nn.Sequential(torch.nn.Linear(3, 6), *parts, torch.nn.Linear(6, 2))
    network(torch.rand(20, 3))
    return network.eval()


MODULES = {
    "residual": Residual,
    "replaced layer": with_replaced_layer,
    "hook": with_hook,
    "parametrised": parametrised,
    "batch norm and dropout in evaluation": in_evaluation,
    "mixed activations": lambda: sequential(torch.nn.Tanh(), torch.nn.GELU(), torch.nn.Softplus()),
    "our layers": lambda: nn.Sequential(
        nn.Linear(3, 6, activation="tanh"), nn.Linear(6, 5, activation="sin"), nn.Linear(5, 2)
    ),
    "MLP": lambda: nn.MLP(3, [6, 5], 2, input_range=([0, -1, 2020], [1, 1, 2022])),
    "group norm": lambda: torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.Unflatten(1, (2, 2)), torch.nn.GroupNorm(1, 2),
        torch.nn.Flatten(), torch.nn.Mish(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("make", MODULES.values(), ids=MODULES.keys())
def test_modules(make, x):
    module = make()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jets = nn.jet(module, x, DERIVATIVES)
    assert_jets(jets, module, x, DERIVATIVES)
    parameters = [p for p in module.parameters() if p.requires_grad]
    sum(jet.sin().sum() for jet in jets).backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in parameters)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: sequential(torch.nn.Tanh(), torch.nn.Tanh()), [3]),
        (lambda: sequential(torch.nn.GELU(approximate="tanh"), torch.nn.SiLU()), [2]),
        (Residual, [2]),
        (lambda: nn.Joined([nn.MLP(1, [4], 1), nn.MLP(3, [4, 4], 2)], [(2,), None]), [2, 3]),
    ],
)
def test_successive_layers_go_to_the_kernel(make, expected, x, calls):
    module = make()
    assert_jets(nn.jet(module, x, DERIVATIVES), module, x, DERIVATIVES)
    assert calls == expected


def test_a_network_of_some_coordinates_is_one_of_these_alone(x, monkeypatch):
    shapes = []
    real = ops.jet_mlp

    def spy(points, *arguments):
        shapes.append((tuple(points.shape), arguments[-1]))
        return real(points, *arguments)

    monkeypatch.setattr(ops, "jet_mlp", spy)
    network = nn.MLP(2, [4], 1)

    def function(x):
        return network(x[:, [2, 1]]) * x[:, :1]

    assert_jets(nn.jet(function, x, [(1, 2), (0, 1)]), function, x, [(1, 2), (0, 1)])
    assert shapes == [((5, 2), [(0,), (1,), (0, 1)])] or shapes == [((5, 2), [(1,), (0,), (0, 1)])]


def test_gradients_of_losses(x):
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.LayerNorm(4),
                                 torch.nn.Linear(4, 1))  # fmt: skip
    names, values = zip(*module.named_parameters(), strict=True)

    def loss(*parameters):
        def function(x):
            state = dict(zip(names, parameters, strict=True))
            return torch.func.functional_call(module, state, (x,))

        return sum(part.square().mean() for part in nn.jet(function, x[:2], ORDERS))

    assert torch.autograd.gradcheck(loss, [v.detach().requires_grad_() for v in values])


def test_without_gradients_nothing_is_kept(x):
    with torch.no_grad():
        jets = nn.jet(Residual(), x, ORDERS)
    assert not any(jet.requires_grad for jet in jets)


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return z**3

    @staticmethod
    def backward(ctx, grad):
        return 3 * grad * ctx.saved_tensors[0] ** 2


def partly_without_gradients(x):
    with torch.no_grad():
        factor = torch.sin(x)
    return factor * x**2


def filled(x):
    result = torch.zeros(5, 2)
    result[:, 0] = x[:, 0] ** 2
    return result.sin()


def changed_view(x):
    h = x**2
    h[:, :1].mul_(2)
    return h


class Recurrent(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = torch.nn.GRU(3, 2, batch_first=True)

    def forward(self, x):
        return self.rnn(x[:, None])[0][:, 0]


class Attention(torch.nn.Module):
    """Over tokens made of each point alone."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.TransformerEncoderLayer(4, 2, 8, 0.0, "gelu", batch_first=True)

    def forward(self, x):
        return self.layer(x[:, :, None] * torch.arange(1.0, 5.0)).mean(-1)


WITHOUT_RULE = {
    "autograd.Function": (lambda: lambda x: Cube.apply(2 * x), "Function"),
    "no_grad": (lambda: partly_without_gradients, "no_grad"),
    "special function": (lambda: lambda x: torch.special.i0(x), "special_i0"),
    "filled": (lambda: filled, "setitem"),
    "changed view": (lambda: changed_view, "mul_"),
    "recurrent": (Recurrent, "gru"),
    "loop": (lambda: lambda x: torch.stack([row.sin() for row in x]), "loop over the points"),
}


@pytest.mark.parametrize(("make", "name"), WITHOUT_RULE.values(), ids=WITHOUT_RULE.keys())
def test_what_has_no_rule_says_so_once(make, name, x):
    module = make()
    with pytest.warns(UserWarning, match=rf"{name}.*nested autograd.*nn\.Activation"):
        jets = nn.jet(module, x, ORDERS)
    assert_jets(jets, module, x, ORDERS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_jets(nn.jet(module, x, ORDERS), module, x, ORDERS)


def test_attention_of_features_without_a_rule(x):
    module = Attention()
    with pytest.warns(UserWarning, match="attention"):
        u, u_xx = nn.jet(module, x, [(1, 1)])
    step = 1e-4 * torch.eye(3)[1]
    expected = (module(x + step) - 2 * module(x) + module(x - step)) / 1e-8
    torch.testing.assert_close(u, module(x))
    torch.testing.assert_close(u_xx, expected, rtol=1e-4, atol=1e-5)


def test_batch_norm_in_training_is_refused(x):
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    with pytest.raises(ValueError, match=r"batch_norm: .*call eval\(\)"):
        nn.jet(network, x, [(0,)])


def test_dropout_drops_the_same_elements_of_all_derivatives(x):
    network = torch.nn.Sequential(nn.MLP(3, [8], 40), torch.nn.Dropout(0.5))
    u, u_x = nn.jet(network, x, [(1,)])
    assert torch.equal(u == 0, u_x == 0)
    assert 0 < int((u == 0).sum()) < u.numel()


def test_own_activations_by_their_derivatives(x):
    sine = nn.Activation(torch.sin, torch.cos, lambda z: -torch.sin(z), lambda z: -torch.cos(z))
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), sine, torch.nn.Linear(4, 2))
    assert_jets(nn.jet(module, x, ORDERS), module, x, ORDERS)
    with pytest.raises(ValueError, match=r"up to order 4, got those up to 3; give 1 more"):
        nn.jet(module, x, [(0, 0, 1, 1)])


def test_modules_are_copied_and_saved_after_use(x):
    module = torch.nn.Sequential(nn.PeriodicEmbedding(3, {1: 2.0}), nn.MLP(4, [5], 1))
    jets = nn.jet(module, x, ORDERS)
    twin = copy.deepcopy(module)
    twin.load_state_dict(module.state_dict())
    for mine, theirs in zip(jets, nn.jet(twin, x, ORDERS), strict=True):
        assert torch.equal(mine, theirs)


def test_autocast_keeps_full_precision():
    module, x = Residual().float(), torch.rand(4, 3, dtype=torch.float32)
    expected = nn.jet(module, x, ORDERS)
    with torch.autocast("cpu"):
        for mine, theirs in zip(nn.jet(module, x, ORDERS), expected, strict=True):
            assert torch.equal(mine, theirs)
