"""Tensors of every kind: where torch's layer takes one, ours does, with the same result."""

from __future__ import annotations

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_sequence
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from pyneural import nn
from tests.nn.called_ops import CalledOps

FLOAT32 = {"rtol": 1e-4, "atol": 1e-5}
COMPLEX = torch.complex64


def tensors(tree):
    found = []
    for leaf in tree_leaves(tree, is_leaf=lambda x: isinstance(x, PackedSequence)):
        if isinstance(leaf, PackedSequence):
            found.append(leaf.data)
        elif isinstance(leaf, torch.Tensor):
            found += leaf.unbind() if leaf.is_nested else [leaf]
    return found


def same(make, call, grads=True):
    """Outputs, and gradients of the parameters, of torch's layer and of ours."""
    found = []
    for package in (torch.nn, nn):
        torch.manual_seed(0)
        model = make(package)
        outputs = tensors(call(model))
        results = list(outputs)
        leaves = [p for p in model.parameters() if p.requires_grad]
        if grads and leaves:
            scalar = sum(t.abs().square().sum() for t in outputs if t.requires_grad)
            results += torch.autograd.grad(
                scalar, leaves, allow_unused=True, materialize_grads=True
            )
        found.append(results)
    torch.testing.assert_close(found[1], found[0], **FLOAT32)


# name: layer of a package, shape of its input
LAYERS = {
    "Linear": (lambda nn: nn.Linear(3, 4), (5, 2, 3)),
    "Sequential": (lambda nn: nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), (5, 3)),
    "RNN": (lambda nn: nn.RNN(3, 4), (5, 2, 3)),
    "LSTM": (lambda nn: nn.LSTM(3, 4, 2, bidirectional=True), (5, 2, 3)),
    "GRU": (lambda nn: nn.GRU(3, 4, batch_first=True), (5, 2, 3)),
    "RNNCell": (lambda nn: nn.RNNCell(3, 4), (2, 3)),
    "LSTMCell": (lambda nn: nn.LSTMCell(3, 4), (2, 3)),
    "GRUCell": (lambda nn: nn.GRUCell(3, 4), (2, 3)),
    "MultiheadAttention": (
        lambda nn: nn.Sequential(Triple(nn.MultiheadAttention(4, 2))),
        (5, 2, 4),
    ),
    "TransformerEncoderLayer": (lambda nn: nn.TransformerEncoderLayer(4, 2, 8, 0.0), (5, 2, 4)),
}
# Torch's attention has no softmax of complex numbers.
WITHOUT_ATTENTION = list(LAYERS)[:8]


class Triple(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x, x, x)


def drawn(name, dtype=torch.float32):
    return torch.randn(LAYERS[name][1], dtype=dtype, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", WITHOUT_ATTENTION)
def test_complex(name):
    same(lambda package: LAYERS[name][0](package).to(COMPLEX), lambda m: m(drawn(name, COMPLEX)))


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_float8(dtype):
    x = torch.randn(4, 3).to(dtype)
    found = []
    for package in (torch.nn, nn):
        torch.manual_seed(0)
        found.append(package.Linear(3, 4).to(dtype)(x).float())
        with pytest.raises(NotImplementedError):
            package.LSTM(3, 4).to(dtype)(x)
        with pytest.raises(NotImplementedError):
            package.MultiheadAttention(4, 2).to(dtype)(*[torch.ones(2, 1, 4).to(dtype)] * 3)
    assert torch.equal(*found)


NESTED = [torch.randn(2, 4), torch.randn(4, 4), torch.randn(1, 4)]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
@pytest.mark.parametrize(
    "make",
    [
        lambda nn: nn.Linear(4, 3),
        lambda nn: nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)),
        lambda nn: nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.0), nn.ReLU()),
        lambda nn: nn.Dropout(0.5).eval(),
    ],
    ids=["Linear", "Sequential", "Dropout", "eval"],
)
def test_nested(make, layout):
    same(make, lambda m: m(torch.nested.nested_tensor(NESTED, layout=layout)))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_through_a_transformer():
    x = torch.nested.nested_tensor(NESTED)
    options = {"batch_first": True}

    def attend(layer):
        return layer(x, x, x, need_weights=False)[0]

    with torch.no_grad():
        same(lambda p: p.MultiheadAttention(4, 2, **options).eval(), attend, grads=False)
        for activation in ("relu", "gelu", torch.nn.GELU()):
            same(
                lambda p, a=activation: p.TransformerEncoderLayer(
                    4, 2, 8, activation=a, **options
                ).eval(),
                lambda m: m(x),
                grads=False,
            )
        same(
            lambda p: p.TransformerEncoder(p.TransformerEncoderLayer(4, 2, 8, **options), 2).eval(),
            lambda m: m(x),
            grads=False,
        )
    dropped = nn.Dropout(0.5)(torch.nested.nested_tensor([torch.ones(100, 4)] * 2))
    assert set(torch.cat(list(dropped.unbind())).unique().tolist()) == {0.0, 2.0}


@pytest.mark.filterwarnings("ignore:Sparse CSR")
@pytest.mark.parametrize(
    ("side", "form"),
    [("input", "to_sparse_csr"), ("input", "to_sparse"), ("weight", "to_sparse_csr")],
)
def test_sparse(form, side):
    x = torch.randn(4, 3).relu()

    def call(layer):
        if side == "input":
            return layer(getattr(x, form)())
        sparse = getattr(layer.weight.detach().relu(), form)()
        layer.weight = torch.nn.Parameter(sparse, requires_grad=False)
        return layer(x)

    same(lambda package: package.Linear(3, 4), call, grads=False)


class Doubling(torch.Tensor):
    """A weight that says what a linear layer does with it, as quantised ones do."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        out = super().__torch_function__(func, types, args, kwargs or {})
        return 2 * out if func is torch.nn.functional.linear else out


class DoublingMode(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        return 2 * out if func is torch.nn.functional.linear else out


def plain(tree):
    return [t.as_subclass(torch.Tensor) for t in tensors(tree)]


@pytest.mark.parametrize("name", LAYERS)
def test_a_subclass_of_tensor(name):
    x = drawn(name).as_subclass(Doubling)
    same(LAYERS[name][0], lambda m: plain(m(x)), grads=False)


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("Linear", ""),
        ("Sequential", "0"),
        ("Sequential", "1"),
        ("TransformerEncoderLayer", "linear1"),
        ("TransformerEncoderLayer", "linear2"),
    ],
)
def test_a_weight_of_a_subclass(name, owner):
    def call(model):
        layer = model.get_submodule(owner)
        layer.weight = torch.nn.Parameter(layer.weight.detach().as_subclass(Doubling))
        return plain(model(drawn(name)))

    same(LAYERS[name][0], call, grads=False)


@pytest.mark.parametrize("name", ["Linear", "Sequential", "TransformerEncoderLayer"])
def test_a_mode_of_the_user(name):
    with DoublingMode():
        same(LAYERS[name][0], lambda m: m(drawn(name)))


def test_a_default_device_leaves_the_kernels_at_work():
    layer, x = nn.Linear(3, 4), torch.rand(2, 3)
    with torch.device("cpu"), CalledOps() as ops, torch.no_grad():
        layer(x)
    assert ops.names == ["pyneural.dense.default"]


@pytest.mark.parametrize("sorted_", [True, False])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}], ids=str)
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU", "projected"])
def test_another_default_device(name, options, sorted_):
    packed = pack_sequence([torch.ones(4, 3), 2 * torch.ones(2, 3)], enforce_sorted=sorted_)
    cls, more = ("LSTM", {"proj_size": 2}) if name == "projected" else (name, {})

    def call(layer):
        with torch.device("meta"):
            return layer(packed)

    same(lambda package: getattr(package, cls)(3, 4, **options, **more), call)


def test_another_default_device_elsewhere():
    x = torch.randn(5, 2, 4)
    padding = torch.zeros(2, 5, dtype=torch.bool)
    padding[0, 3:] = True
    state = torch.ones(2, 2, 2), torch.ones(2, 2, 4)
    causal = torch.ones(5, 5, dtype=torch.bool).triu(1)

    def on_meta(call):
        def run(model):
            with torch.device("meta"):
                return call(model)

        return run

    same(
        lambda p: p.MultiheadAttention(4, 2, add_bias_kv=True, add_zero_attn=True),
        on_meta(lambda m: m(x, x, x, key_padding_mask=padding, attn_mask=causal)),
    )
    same(
        lambda p: p.Transformer(4, 2, 1, 1, 8, 0.0),
        on_meta(lambda m: m(x, x, src_key_padding_mask=padding, tgt_mask=causal)),
    )
    same(lambda p: p.LSTM(4, 4, 2, proj_size=2), on_meta(lambda m: m(x, state)))
    encoding, masked = nn.PositionalEncoding(4), nn.MaskedLinear(nn.random_mask(3, 4, 0.5))
    for layer in (encoding, masked):
        assert torch.equal(on_meta(lambda m: m(x))(layer), layer(x))
    assert on_meta(lambda m: m.weight)(masked).device.type == "cpu"


def changed_in_place(outputs):
    for t in tensors(outputs):
        t.mul_(2)
    return outputs


PACKED = pack_sequence([torch.ones(4, 3), torch.linspace(0, 1, 6).view(2, 3)])


@pytest.mark.parametrize(
    "options", [{}, {"num_layers": 2}, {"bidirectional": True}, {"batch_first": True}], ids=str
)
@pytest.mark.parametrize("name", ["RNN", "GRU"])
def test_in_place_on_the_output_of_a_recurrent_layer(name, options):
    def make(package):
        return getattr(package, name)(3, 4, **options)

    same(make, lambda m: changed_in_place(m(drawn("RNN"))))
    same(make, lambda m: changed_in_place(m(drawn("RNN")[0])))
    same(make, lambda m: changed_in_place(m(PACKED)))


@pytest.mark.parametrize(
    ("make", "call"),
    [
        (lambda nn: nn.LSTM(3, 4), lambda m: m(PACKED)),
        (lambda nn: nn.LSTM(3, 4, bidirectional=True), lambda m: m(PACKED)),
        (lambda nn: nn.LSTM(3, 4), lambda m: m(drawn("LSTM"))[1]),
        (lambda nn: nn.LSTM(3, 4, proj_size=2), lambda m: m(drawn("LSTM"))),
        (lambda nn: nn.LSTMCell(3, 4), lambda m: m(drawn("LSTMCell"))),
        (lambda nn: nn.GRUCell(3, 4), lambda m: m(drawn("GRUCell"))),
        (lambda nn: nn.Linear(3, 4), lambda m: m(drawn("Linear"))),
        (LAYERS["Sequential"][0], lambda m: m(drawn("Sequential"))),
        (LAYERS["MultiheadAttention"][0], lambda m: m(drawn("MultiheadAttention"))),
        (
            lambda nn: nn.TransformerEncoderLayer(4, 2, 8, 0.0, dtype=torch.float64),
            lambda m: m(drawn("TransformerEncoderLayer", torch.float64)),
        ),
    ],
)
def test_in_place_elsewhere(make, call):
    same(make, lambda m: changed_in_place(call(m)))


def test_masked_linear_in_lower_precision():
    torch.manual_seed(0)
    layer = nn.MaskedLinear(nn.random_mask(5, 8, 0.5), activation="tanh")
    x = torch.randn(4, 8)
    expected = layer(x)
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype):
            automatic = layer(x)
            through = layer(torch.nn.functional.linear(x, torch.eye(8)))  # of the lower precision
        for found in (automatic, through):
            assert found.dtype == dtype
            torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=0.03)
        grads = torch.autograd.grad(automatic.float().sum(), list(layer.parameters()))
        exact = torch.autograd.grad(layer(x).sum(), list(layer.parameters()))
        torch.testing.assert_close(grads, exact, rtol=0.05, atol=0.05)
    for dtype in (torch.bfloat16, torch.float16):
        lower = nn.MaskedLinear(layer.mask, activation="tanh", dtype=dtype)
        lower.load_state_dict(layer.state_dict())
        found = lower(x.to(dtype))
        assert found.dtype == dtype
        torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=0.03)
        grads = torch.autograd.grad(found.sum(), list(lower.parameters()))
        exact = torch.autograd.grad(layer(x).sum(), list(layer.parameters()))
        for grad, wanted in zip(grads, exact, strict=True):
            torch.testing.assert_close(grad.float(), wanted, rtol=0.05, atol=0.05)
