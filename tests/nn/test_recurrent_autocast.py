"""Recurrent layers under autocast on the CPU: dtypes and values of torch's."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

from pyneural import nn
from tests.nn import parity

BF16, F16, F32 = torch.bfloat16, torch.float16, torch.float32
LAYERS = [
    ("RNN", {}),
    ("GRU", {"num_layers": 2}),
    ("GRU", {"bidirectional": True, "batch_first": True}),
    ("LSTM", {"num_layers": 2}),
    ("LSTM", {"num_layers": 2, "bidirectional": True, "proj_size": 3}),
]
CELLS = [("RNNCell", {}), ("GRUCell", {"bias": False}), ("LSTMCell", {})]
# None for zeros; h_0 and c_0 where they differ.
STATES = [None, (F32, F32), (BF16, BF16), (BF16, F32), (F32, BF16)]


def pair(name, options):
    torch.manual_seed(0)
    twin = getattr(torch.nn, name)(4, 6, **options)
    ours = getattr(nn, name)(4, 6, **options)
    ours.load_state_dict(twin.state_dict())
    return ours, twin


def inputs(name, options, x_dtype, state):
    """x [5, 2, 4] or [2, 4], and the state or None."""
    torch.manual_seed(1)
    lead = (2,)
    if "Cell" not in name:
        count = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
        lead = count, 2
    steps = () if "Cell" in name else (2, 5) if options.get("batch_first") else (5, 2)
    x = torch.randn(*(steps or (2,)), 4).to(x_dtype).requires_grad_()
    if state is None:
        return x, None
    h = torch.randn(*lead, options.get("proj_size", 6)).to(state[0])
    c = torch.randn(*lead, 6).to(state[1])
    return x, (h, c) if "LSTM" in name else h


def outputs_and_gradients(layer, x, state, dtype):
    with torch.autocast("cpu", dtype):
        found = parity.floating(tuple(layer(x, state)))
    leaf = x.data if isinstance(x, torch.nn.utils.rnn.PackedSequence) else x
    loss = sum(t.float().square().sum() for t in found)
    return [*found, *torch.autograd.grad(loss, [leaf, *layer.parameters()])]


def assert_torchs(ours, twin, x, state, dtype=BF16):
    found = outputs_and_gradients(ours, x, state, dtype)
    expected = outputs_and_gradients(twin, x, state, dtype)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one.float(), other.float(), rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ("name", "options", "state"),
    [
        (*layer, state)
        for layer, state in itertools.product([*LAYERS, *CELLS], STATES)
        if "LSTM" in layer[0] or state in STATES[:3]
    ],
    ids=str,
)
@pytest.mark.parametrize("x_dtype", [F32, BF16])
def test_as_torch(name, options, state, x_dtype):
    ours, twin = pair(name, options)
    assert_torchs(ours, twin, *inputs(name, options, x_dtype, state))


@pytest.mark.parametrize(("name", "options"), LAYERS, ids=str)
@pytest.mark.parametrize("state", STATES[:3], ids=str)
def test_packed(name, options, state):
    ours, twin = pair(name, options)
    x, hx = inputs(name, options, F32, state)
    packed = pack_padded_sequence(x, [5, 3], options.get("batch_first", False))
    assert_torchs(ours, twin, packed, hx)


@pytest.mark.parametrize(("name", "options"), [*LAYERS[:3], *LAYERS[4:], *CELLS], ids=str)
def test_float16_and_parameters_in_bfloat16(name, options):
    ours, twin = pair(name, options)
    assert_torchs(ours, twin, *inputs(name, options, F32, None), F16)
    assert_torchs(ours.bfloat16(), twin.bfloat16(), *inputs(name, options, F32, None))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("name", "options"), LAYERS[:4], ids=str)
@pytest.mark.parametrize(("of_all", "lower"), [(F16, BF16), (BF16, F16)], ids=str)
def test_the_other_half_precision(name, options, of_all, lower, packed):
    """Everything in one of the two, under autocast to the other."""
    ours, twin = (layer.to(of_all) for layer in pair(name, options))
    x, _ = inputs(name, options, of_all, None)
    if packed:
        x = pack_padded_sequence(x, [5, 3], options.get("batch_first", False))
    try:
        with torch.autocast("cpu", lower):
            twin(x)
    except RuntimeError as error:
        pytest.skip(f"torch itself: {error}")
    assert_torchs(ours, twin, x, None, lower)


def test_no_rows():
    ours, twin = pair("LSTM", {})
    assert_torchs(ours, twin, torch.zeros(5, 0, 4, requires_grad=True), None)


@pytest.mark.parametrize(("name", "options"), [("GRU", {}), ("GRUCell", {})], ids=str)
def test_float64_is_refused(name, options):
    ours, twin = pair(name, options)
    x, state = inputs(name, options, F32, (F32, F32))
    for given in ((x.double(), state), (x, state.double())):
        for layer in (ours, twin):
            with torch.autocast("cpu", BF16), pytest.raises((ValueError, RuntimeError)):
                layer(*given)


# Dynamo refuses every subclass of torch's recurrent layers but for this.
@torch._dynamo.config.patch(allow_rnn=True)
@pytest.mark.parametrize(("name", "options"), [*LAYERS[1:2], *LAYERS[4:], *CELLS[1:]], ids=str)
def test_compiles(name, options):
    ours, _ = pair(name, options)
    x, state = inputs(name, options, F32, (F32, F32))
    torch.compiler.reset()
    compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")
    with torch.autocast("cpu", BF16):
        found, expected = (parity.floating(tuple(f(x, state))) for f in (compiled, ours))
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
