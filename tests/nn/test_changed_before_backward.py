"""Tensors that change between forward and backward: torch's gradients, and what torch refuses."""

from __future__ import annotations

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

from pyneural import nn
from tests.tolerances import FLOAT64, FLOAT64_GRADIENT, assert_close


class Padded(torch.nn.Module):
    """A recurrent layer of a packed sequence."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(pack_padded_sequence(x, [5, 3]))[0].data


class First(torch.nn.Module):
    """The first output of a layer, of the arguments x, x, x for attention."""

    def __init__(self, layer, count=1):
        super().__init__()
        self.layer, self.count = layer, count

    def forward(self, x):
        return self.layer(*[x] * self.count)[0]


MODELS = {
    "linear": lambda nn: nn.Linear(4, 3),
    "linear without bias": lambda nn: nn.Linear(4, 3, bias=False),
    "network": lambda nn: nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)),
    "feed-forward": lambda nn: nn.TransformerEncoderLayer(4, 2, 8, 0.0),
    "attention": lambda nn: First(nn.MultiheadAttention(4, 2), 3),
    "rnn": lambda nn: First(nn.RNN(4, 3, num_layers=2)),
    "gru": lambda nn: First(nn.GRU(4, 3, bidirectional=True)),
    "lstm": lambda nn: First(nn.LSTM(4, 3)),
    "projected lstm": lambda nn: First(nn.LSTM(4, 3, proj_size=2)),
    "packed lstm": lambda nn: Padded(nn.LSTM(4, 3)),
    "packed gru": lambda nn: Padded(nn.GRU(4, 3)),
}


def build(name, module):
    torch.manual_seed(0)
    return MODELS[name](module).double()


def values(shape=(5, 2, 4)):
    torch.manual_seed(1)
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def gradients(y, leaves):
    return torch.autograd.grad(y.square().sum(), leaves, create_graph=True)


def second(first, leaves):
    """The gradients of the sum of their squares."""
    loss = sum(g.square().sum() for g in first)
    return torch.autograd.grad(loss, leaves, materialize_grads=True)


def replace(model):
    for parameter in model.parameters():
        parameter.data = 3 * parameter.detach() + 1


def same(function, tolerance=FLOAT64_GRADIENT):
    """The same derivatives by both packages."""
    for one, other in zip(function(nn), function(torch.nn), strict=True):
        assert_close(one, other, tolerance)


@pytest.mark.parametrize("name", MODELS)
def test_replaced_data_of_parameters(name):
    def derivatives(module):
        model, x = build(name, module), values()
        leaves = [x, *model.parameters()]
        y = model(x)
        replace(model)
        first = gradients(y, leaves)
        # Torch's attention in one kernel has no second derivatives.
        return first if name == "feed-forward" else [*first, *second(first, leaves)]

    same(derivatives)


def test_replaced_data_of_an_lstm_in_float32():
    """Torch's takes the new weights, as oneDNN computes it."""

    def derivatives(module):
        model, x = build("lstm", module).float(), values().detach().float()
        y = model(x)
        replace(model)
        return torch.autograd.grad(y.square().sum(), [*model.parameters()])

    same(derivatives, 1e-5)


BATCHES = ("linear", "network", "feed-forward", "attention", "rnn", "gru", "projected lstm")


@pytest.mark.parametrize(
    ("name", "shape"),
    [*((name, (5, 2, 4)) for name in BATCHES), ("linear", (4,)), ("linear", (2, 4))],
    ids=str,
)
def test_replaced_data_of_the_input(name, shape):
    def derivatives(module):
        model, x = build(name, module), values(shape)
        y = model(x)
        x.data = x.detach() + 1
        return gradients(y, [x, *model.parameters()])

    same(derivatives)


@pytest.mark.parametrize("is_replaced", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_changes_in_place_are_refused(name, is_replaced):
    """Also after other values were put in their place."""
    for module in (torch.nn, nn):
        model = build(name, module)
        weights = [p for p in model.parameters() if p.dim() == 2]
        y = model(values())
        if is_replaced:
            replace(model)
        with torch.no_grad():
            weights[-1].mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4), (0, 4)], ids=str)
@pytest.mark.parametrize(
    ("frozen", "changed"),
    [
        (["weight"], ["x", "bias"]),
        (["weight", "bias"], ["x", "bias"]),
        ([], ["bias"]),
        (["x"], ["weight", "bias"]),
        (["x", "bias"], ["weight", "bias"]),
        (["x", "weight"], ["x", "weight", "bias"]),
    ],
    ids=str,
)
def test_a_linear_layer_saves_what_a_gradient_needs(shape, frozen, changed):
    def derivatives(module):
        layer = build("linear", module)
        tensors = {"x": values(shape), **dict(layer.named_parameters())}
        for name in frozen:
            tensors[name].requires_grad_(False)
        y = layer(tensors["x"])
        with torch.no_grad():
            for name in changed:
                tensors[name].add_(1)
        leaves = [t for t in tensors.values() if t.requires_grad]
        first = gradients(y.exp(), leaves)
        return [*first, *second(first, leaves)]

    same(derivatives)


def test_hooks_of_saved_tensors_see_no_more_than_torchs():
    seen = []

    def pack(t):
        seen.append(sorted(t.shape))
        return t

    for module in (torch.nn, nn):
        layer, x = build("linear", module).requires_grad_(False), values((3, 4))
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            y = layer(x)
        assert_close(torch.autograd.grad(y.sum(), x)[0], layer.weight.sum(0).expand(3, 4), FLOAT64)
    assert seen == [[3, 4], [3, 4]]
