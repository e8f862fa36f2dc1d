"""torch.jit.trace, torch.jit.script, torch.fx, torch.export: what works with torch's layers."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch.utils._pytree import tree_leaves

from pyneural import nn
from pyneural.nn.drop_in import DropIn
from tests.nn.called_ops import CalledOps

pytestmark = pytest.mark.filterwarnings("ignore")

X = torch.randn(5, 2, 8, generator=torch.Generator().manual_seed(1))

# name: layer of a package, its inputs
LAYERS = {
    "Linear": (lambda nn: nn.Linear(8, 4), (X,)),
    "Sequential": (lambda nn: nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 4), nn.ReLU()), (X[0],)),
    "Dropout": (lambda nn: nn.Dropout(0.5), (X,)),
    "MSELoss": (lambda nn: nn.MSELoss(), (X, 2 * X)),
    "RNN": (lambda nn: nn.RNN(8, 4), (X,)),
    "LSTM": (lambda nn: nn.LSTM(8, 4, 2, bidirectional=True), (X,)),
    "GRU": (lambda nn: nn.GRU(8, 4, batch_first=True), (X,)),
    "LSTMCell": (lambda nn: nn.LSTMCell(8, 4), (X[0],)),
    "GRUCell": (lambda nn: nn.GRUCell(8, 4), (X[0],)),
    "MultiheadAttention": (lambda nn: nn.MultiheadAttention(8, 2), (X, X, X)),
    "TransformerEncoderLayer": (lambda nn: nn.TransformerEncoderLayer(8, 2, 16, 0.0), (X,)),
    "TransformerDecoderLayer": (lambda nn: nn.TransformerDecoderLayer(8, 2, 16, 0.0), (X, X)),
    "TransformerEncoder": (
        lambda nn: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(8, 2, 16, 0.0, "gelu"), 2, enable_nested_tensor=False
        ),
        (X,),
    ),
    "Transformer": (lambda nn: nn.Transformer(8, 2, 1, 1, 16, 0.0), (X, X)),
}
ONLY_OURS = {
    "Linear with tanh": (lambda nn: nn.Linear(8, 4, activation="tanh"), (X,)),
    "Linear with gelu_tanh": (lambda nn: nn.Linear(8, 4, activation="gelu_tanh"), (X,)),
    "MLP": (lambda nn: nn.MLP(8, [6, 6], 4), (X,)),
    "MLP with a range": (lambda nn: nn.MLP(8, [6], 4, "silu", input_range=(-1.0, 3.0)), (X,)),
    "MLP without hidden layers": (lambda nn: nn.MLP(8, [], 4), (X,)),
    "MaskedLinear": (lambda nn: nn.MaskedLinear(nn.random_mask(4, 8, 0.5)), (X,)),
    "MaskedLinear with tanh": (
        lambda nn: nn.MaskedLinear(nn.random_mask(4, 8, 0.9), bias=False, activation="tanh"),
        (X,),
    ),
    "PositionalEncoding": (lambda nn: nn.PositionalEncoding(8), (X,)),
    "Maxout": (lambda nn: nn.Maxout(2), (X,)),
}
ALL = LAYERS | ONLY_OURS


class One(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


class Two(One):
    def forward(self, x, y):
        return self.inner(x, y)


class Three(One):
    def forward(self, x, y, z):
        return self.inner(x, y, z)


class Pair(One):
    """What torch.jit.script takes of a recurrent layer: its type of output is fixed."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.inner(x)
        return y


def made(name, package=nn):
    torch.manual_seed(0)
    make, inputs = ALL[name]
    return make(package).eval(), inputs


def held(name, package=nn):
    """The layer within a module."""
    layer, inputs = made(name, package)
    return {1: One, 2: Two, 3: Three}[len(inputs)](layer), inputs


def same(found, expected):
    torch.testing.assert_close(tree_leaves(found), tree_leaves(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_trace(name):
    layer, inputs = made(name)
    traced = torch.jit.trace(layer, inputs, check_trace=False)
    assert "pyneural::" not in str(traced.inlined_graph)
    same(traced(*inputs), layer(*inputs))
    file = io.BytesIO()
    torch.jit.save(traced, file)
    file.seek(0)
    same(torch.jit.load(file)(*inputs), layer(*inputs))


@pytest.mark.parametrize("name", ["RNN", "LSTM", "Linear", "TransformerEncoderLayer"])
def test_a_trace_takes_another_length(name):
    layer, inputs = made(name)
    traced = torch.jit.trace(layer, inputs, check_trace=False)
    longer = torch.randn(9, 2, 8)
    same(traced(longer), layer(longer))


@pytest.mark.parametrize("name", ALL)
def test_script(name):
    model, inputs = held(name)
    recurrent = name in ("RNN", "LSTM", "GRU")
    if recurrent:
        model = Pair(model.inner)
    expected = model(*inputs)
    scripted = torch.jit.script(model)
    assert "pyneural::" not in str(scripted.inlined_graph)
    same(scripted(*inputs), expected)
    same(model(*inputs), expected)  # the model itself goes on, with the same parameters
    kind = name.partition(" ")[0]
    assert isinstance(model.inner, getattr(torch.nn if hasattr(torch.nn, kind) else nn, kind))
    if not recurrent:
        same(torch.jit.script(made(name)[0])(*inputs), expected)


@pytest.mark.parametrize("activation", ["relu", "gelu", "sin", "elu", "softplus", "leaky_relu"])
def test_scripted_activations(activation):
    layer = nn.Linear(8, 4, activation=activation)
    same(torch.jit.script(layer)(X), layer(X))


@pytest.mark.parametrize("name", ["MLP", "MLP with a range", "MaskedLinear with tanh"])
def test_a_scripted_layer_trains_and_stays_what_it_is(name):
    model, inputs = held(name)
    scripted = torch.jit.script(model)
    assert scripted.state_dict().keys() == model.state_dict().keys()
    found = torch.autograd.grad(scripted(*inputs).sum(), list(scripted.parameters()))
    layer = made(name)[0]
    same(found, torch.autograd.grad(layer(*inputs).sum(), list(layer.parameters())))
    if isinstance(layer, nn.MLP):
        same(model.inner.jet(X[0], [(0,), (1, 1)]), layer.jet(X[0], [(0,), (1, 1)]))


def test_a_subclass_of_the_user_is_scripted_as_written():
    class Twice(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return 2 * torch.nn.functional.linear(input, self.weight, self.bias)

    class Named(nn.Linear):
        pass

    layer, named = Twice(8, 4), Named(8, 4)
    same(torch.jit.script(layer)(X), layer(X))
    same(torch.jit.script(named)(X), named(X))


@pytest.mark.parametrize("name", ALL)
def test_fx_sees_one_node(name):
    model, inputs = held(name)
    graph = torch.fx.symbolic_trace(model)
    calls = [node for node in graph.graph.nodes if node.op.startswith("call")]
    if name == "Sequential":  # torch's too is traced into
        assert [node.target for node in calls] == ["inner.0", "inner.1", "inner.2"]
    else:
        assert [(node.op, node.target) for node in calls] == [("call_module", "inner")]
    same(graph(*inputs), model(*inputs))
    assert type(graph.get_submodule(calls[0].target)).__module__.startswith(("pyneural", "torch"))


def test_fx_with_the_layer_as_root():
    for name in ("Linear", "Linear with tanh", "Dropout", "MSELoss", "Sequential"):
        layer, inputs = made(name)
        graph = torch.fx.symbolic_trace(layer)
        same(graph(*inputs), layer(*inputs))


def test_fx_with_keywords_and_constants():
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2)
            self.lstm = nn.LSTM(8, 8)

        def forward(self, x):
            y, _ = self.attention(x, key=x, value=x, need_weights=False)
            y, (h, _) = self.lstm(input=y)
            return y + h

    model = Model().eval()
    same(torch.fx.symbolic_trace(model)(X), model(X))


@pytest.mark.parametrize("name", ALL)
def test_export(name):
    layer, inputs = made(name)
    same(torch.export.export(layer, inputs).module()(*inputs), layer(*inputs))


def test_deepcopy_and_functional_call_of_a_twin():
    layer = nn.Linear(8, 4, activation="tanh")
    twin = copy.deepcopy(layer.as_torch())
    assert not isinstance(twin, DropIn)
    same(twin(X), layer(X))
    other = {name: 2 * p for name, p in layer.named_parameters()}
    same(torch.func.functional_call(twin, other, X), torch.func.functional_call(layer, other, X))


def test_kernels_are_at_work_after_a_trace():
    layer = nn.Linear(8, 4)
    torch.jit.trace(layer, (X,))
    torch.jit.script(layer)
    with CalledOps() as ops, torch.no_grad():
        layer(X)
    assert ops.names == ["pyneural.dense.default"]
