"""Recurrent layers and cells beside their torch.nn twins."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence

from pyneural import nn, ops
from tests.nn import parity
from tests.nn.called_ops import CalledOps
from tests.tolerances import FLOAT64, FLOAT64_GRADIENT, assert_close

LAYERS = ("RNN", "LSTM", "GRU")
CASES = [
    case
    for name in (*LAYERS, "RNNCell", "LSTMCell", "GRUCell")
    for case in parity.cases(getattr(torch.nn, name), getattr(nn, name))
]
# Torch's recurrent layers keep a list of their weights beside them, which weight_norm leaves stale,
# and do not run under vmap: these two are tested against their meaning below.
CHECKS = [
    check for check in parity.CHECKS if check not in (parity.check_weight_norm, parity.check_vmap)
]


def label(case: parity.Case) -> str:
    return f"{case.ours.__name__}-{case}"


@pytest.mark.parametrize("case", CASES, ids=label)
@pytest.mark.parametrize("check", CHECKS, ids=parity.name)
def test_parity(check, case):
    check(case)


# Dynamo refuses every subclass of torch's recurrent layers but for this.
@torch._dynamo.config.patch(allow_rnn=True)
@pytest.mark.parametrize("name", LAYERS)
def test_compiles_in_one_graph(name):
    torch.manual_seed(0)
    layer = getattr(nn, name)(3, 5, num_layers=2, bidirectional=True, dtype=torch.float64)
    x = torch.randn(7, 2, 3, dtype=torch.float64)
    torch.compiler.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    assert_close(compiled(x)[0], layer(x)[0], FLOAT64)
    expected = torch.autograd.grad(layer(x)[0].square().sum(), [*layer.parameters()])
    found = torch.autograd.grad(compiled(x)[0].square().sum(), [*layer.parameters()])
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other, FLOAT64_GRADIENT)


def pair(name, **options):
    torch.manual_seed(0)
    ours = getattr(nn, name)(4, 6, dtype=torch.float64, **options)
    twin = getattr(torch.nn, name)(4, 6, dtype=torch.float64, **options)
    twin.load_state_dict(ours.state_dict())
    return ours, twin


def leaves(result):
    return parity.floating(tuple(result))


def same_with_gradients(ours, twin, inputs, leaf):
    found, expected = leaves(ours(*inputs)), leaves(twin(*inputs))
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other, FLOAT64)
    grads = [
        torch.autograd.grad(parity.weighted(out), [leaf, *module.parameters()], retain_graph=True)
        for out, module in ((found, ours), (expected, twin))
    ]
    for one, other in zip(*grads, strict=True):
        assert_close(one, other, FLOAT64_GRADIENT)


FORMS = [
    {},
    {"num_layers": 3},
    {"bidirectional": True, "num_layers": 2},
    {"bias": False, "batch_first": True},
]
PROJECTED = [
    {"proj_size": 3},
    {"proj_size": 2, "bidirectional": True, "num_layers": 2, "batch_first": True},
    {"proj_size": 5, "bias": False},
]
LAYERS_AND_FORMS = [
    *itertools.product(LAYERS, FORMS),
    *(("LSTM", options) for options in PROJECTED),
]


@pytest.mark.parametrize(("name", "options"), LAYERS_AND_FORMS, ids=str)
@pytest.mark.parametrize("sizes", [(1, 1), (1, 5), (20, 3), (5, 0)], ids=str)
def test_steps_and_rows(name, options, sizes):
    steps, rows = sizes
    ours, twin = pair(name, **options)
    shape = (rows, steps, 4) if options.get("batch_first") else (steps, rows, 4)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    same_with_gradients(ours, twin, (x,), x)


@pytest.mark.parametrize(("name", "options"), LAYERS_AND_FORMS, ids=str)
@pytest.mark.parametrize("is_sorted", [True, False])
def test_packed(name, options, is_sorted):
    ours, twin = pair(name, **options)
    lengths = [7, 4, 4, 1] if is_sorted else [4, 1, 7, 4]
    data = [torch.randn(n, 4, dtype=torch.float64, requires_grad=True) for n in lengths]
    packed = pack_sequence(data, enforce_sorted=is_sorted)
    directions = 2 if options.get("bidirectional") else 1
    layers = options.get("num_layers", 1) * directions
    h = torch.randn(layers, 4, options.get("proj_size", 6), dtype=torch.float64)
    state = (h, torch.randn(layers, 4, 6, dtype=torch.float64)) if name == "LSTM" else h
    same_with_gradients(ours, twin, (packed, state), data[2])
    theirs = twin(packed)[0]
    assert all(
        torch.equal(one, other)
        for one, other in zip(ours(packed)[0][1:], theirs[1:], strict=True)
        if one is not None
    )


def test_packed_padding_may_be_no_number():
    layer = nn.LSTM(4, 6)
    x = torch.full((5, 2, 4), torch.nan)
    x[:3, 0], x[:5, 1] = 1.0, 2.0
    y, _ = layer(pack_padded_sequence(x, [3, 5], enforce_sorted=False))
    assert y.data.isfinite().all()


@pytest.mark.parametrize("reverse", [False, True])
def test_projection_by_kernel(reverse):
    torch.manual_seed(0)
    shapes = (4, 3, 5), (3, 2), (3, 6), (24, 5), (24, 2), (24,), (24,), (2, 6)
    tensors = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]

    def call(x, h, c, *weights):
        y, (h_n, c_n) = ops.rnn(x, (h, c), weights, "lstm", [2, 4, 1], reverse)
        return y, h_n, c_n

    assert torch.autograd.gradcheck(call, tensors)
    assert torch.autograd.gradgradcheck(call, tensors, fast_mode=True)
    with CalledOps() as called:
        call(*(t.detach() for t in tensors))
    assert called.names.count("pyneural.rnn.default") == 1
    x = tensors[0].detach().clone()
    x[3, 0], x[2:, 2] = torch.nan, torch.nan  # beyond the ends
    assert all(out.isfinite().all() for out in call(x, *tensors[1:]))


def test_unbatched():
    ours, twin = pair("LSTM", num_layers=2, batch_first=True)
    x = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    h = torch.randn(2, 6, dtype=torch.float64)
    same_with_gradients(ours, twin, (x, (h, h)), x)


def test_dropout_is_between_layers_in_training_alone():
    ours, twin = pair("GRU", num_layers=3, dropout=0.5)
    x = torch.randn(5, 2, 4, dtype=torch.float64)
    layers = []
    for number in range(3):
        layers.append(nn.GRU(4 if number == 0 else ours.hidden_size, ours.hidden_size).double())
        ends = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        layers[-1].load_state_dict({f"{end}_l0": getattr(ours, f"{end}_l{number}") for end in ends})
    torch.manual_seed(1)
    found = ours(x)[0]
    torch.manual_seed(1)
    y = layers[0](x)[0]
    for layer in layers[1:]:
        y = layer(ops.dropout(y, 0.5))[0]
    assert_close(found, y, FLOAT64)
    ours.eval(), twin.eval()
    assert_close(ours(x)[0], twin(x)[0], FLOAT64)
    assert not torch.equal(found, ours(x)[0])


@pytest.mark.parametrize("name", LAYERS)
def test_weight_norm(name):
    layer, plain = pair(name)
    torch.nn.utils.parametrizations.weight_norm(layer, "weight_hh_l0")
    with torch.no_grad():
        layer.parametrizations.weight_hh_l0.original0.mul_(2)
        plain.weight_hh_l0.mul_(2)
    x = torch.randn(5, 2, 4, dtype=torch.float64)
    assert_close(layer(x)[0], plain(x)[0], FLOAT64)


@pytest.mark.parametrize("name", LAYERS)
def test_vmap_over_parameters(name):
    layer, _ = pair(name)
    x = torch.randn(5, 2, 4, dtype=torch.float64)
    sets = {key: torch.stack([p, 0.5 * p]) for key, p in layer.named_parameters()}

    def loss(parameters):
        return torch.func.functional_call(layer, parameters, (x,))[0].square().sum()

    found = torch.func.vmap(torch.func.grad(loss))(sets)
    for index in range(2):
        leaves = {k: v[index].detach().requires_grad_() for k, v in sets.items()}
        expected = torch.autograd.grad(loss(leaves), [*leaves.values()])
        for key, value in zip(leaves, expected, strict=True):
            assert_close(found[key][index], value, FLOAT64_GRADIENT)


X = torch.rand(5, 2, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.LSTM(4, 6)(torch.rand(4)), "LSTM: input: expected"),
        (
            lambda: nn.LSTM(4, 6)(torch.rand(5, 2, 3)),
            r"LSTM: input: expected \[\.\.\., 4\], got \[5, 2, 3\]",
        ),
        (lambda: nn.LSTM(4, 6)(torch.rand(5, 2, 4), torch.rand(1, 2, 6)), "expected a pair"),
        (
            lambda: nn.GRU(4, 6)(torch.rand(5, 2, 4), (torch.rand(1, 2, 6),) * 2),
            "hx: expected a te",
        ),
        (lambda: nn.GRU(4, 6)(torch.rand(5, 2, 4), torch.rand(2, 2, 6)), "h_0: expected .1, N, H"),
        (
            lambda: nn.GRU(4, 6)(torch.rand(5, 2, 4), torch.rand(1, 3, 6)),
            "h_0: .* = .1, 2, 6. for",
        ),
        (lambda: nn.GRU(4, 6)(torch.rand(0, 2, 4)), "at least one step"),
        (
            lambda: nn.RNN(4, 6)(torch.rand(5, 2, 4).double()),
            "RNN: input: expected torch.float32 as",
        ),
        (
            lambda: ops.rnn(X, None, [torch.rand(24, 4), torch.rand(24, 3), None, None, X], "lstm"),
            r"weight_hr: expected shape \[P, H\] = \[3, 6\]",
        ),
        (
            lambda: nn.LSTM(4, 6, proj_size=3)(X, (torch.rand(1, 2, 6), torch.rand(1, 2, 6))),
            r"LSTM: h_0: expected \[1, N, P\] = \[1, 2, 3\]",
        ),
        (lambda: nn.LSTM(4, 6, proj_size=3)(X.double()), "LSTM: input: expected torch.float32"),
        (lambda: nn.RNNCell(4, 6)(torch.rand(5, 2, 4)), "RNNCell: input: expected"),
        (lambda: nn.RNN(4, 0), "greater than zero"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
