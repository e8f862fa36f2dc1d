"""Multi-head attention beside torch's, in both modes, and decoding with a cache."""

from __future__ import annotations

import itertools

import pytest
import torch

from pyneural import nn
from tests.nn import parity

# Each seventh: each value of each option is among them.
CASES = parity.cases(torch.nn.MultiheadAttention, nn.MultiheadAttention)[::7]
FLOAT64 = {"rtol": 1e-10, "atol": 1e-10}


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("check", parity.CHECKS, ids=parity.name)
def test_parity(check, case):
    check(case)


def pair(*arguments, **options):
    """Torch's layer and ours with the same weights, biases that are not 0."""
    torch.manual_seed(0)
    theirs = torch.nn.MultiheadAttention(*arguments, **options).double()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    ours = nn.MultiheadAttention(*arguments, **options).double()
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def masks(kind, rows=3, heads=2, queries=5, keys=7):
    torch.manual_seed(1)
    padding = torch.zeros(rows, keys, dtype=torch.bool)
    padding[1, 4:] = padding[2, 1:3] = True
    floats = torch.randn(queries, keys, dtype=torch.float64)
    each = torch.rand(rows * heads, queries, keys) < 0.3
    each[..., 0] = False
    return {
        "none": {},
        "padding": {"key_padding_mask": padding},
        "bool": {"attn_mask": each[0]},
        "each head": {"attn_mask": each},
        "floats": {"attn_mask": floats},
        "both": {"attn_mask": each[0], "key_padding_mask": padding},
        "mixed": {"attn_mask": floats, "key_padding_mask": padding},
    }[kind]


KINDS = ("none", "padding", "bool", "each head", "floats", "both", "mixed")
OPTIONS = (
    {},
    {"batch_first": True},
    {"kdim": 3, "vdim": 5},
    {"bias": False, "add_zero_attn": True},
    {"add_bias_kv": True, "batch_first": True},
    {"add_bias_kv": True, "add_zero_attn": True},
)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_masks_and_options(options, kind, training):
    pytest.importorskip("numpy")
    layers = pair(8, 2, **options)
    torch.manual_seed(2)
    shapes = ((5, 3, 8), (7, 3, options.get("kdim", 8)), (7, 3, options.get("vdim", 8)))
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    given = [x.transpose(0, 1) if options.get("batch_first") else x for x in inputs]
    found = []
    for layer in layers:
        y, weights = layer.train(training)(*given, **masks(kind), average_attn_weights=False)
        without, none = layer(*given, **masks(kind), need_weights=False)
        assert none is None
        torch.testing.assert_close(without, y, **FLOAT64)
        leaves = [*inputs, *layer.parameters()]
        grads = torch.autograd.grad((y.sin().sum() + weights.cos().sum()), leaves)
        found.append((y, weights, *grads))
    torch.testing.assert_close(found[1], found[0], **FLOAT64)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("batched", [True, False])
def test_self_attention(batched, causal, training):
    theirs, ours = pair(8, 4, batch_first=True)
    x = torch.randn((3, 6, 8) if batched else (6, 8), dtype=torch.float64)
    mask = torch.ones(6, 6, dtype=torch.bool).triu(1) if causal else None
    with torch.no_grad():
        expected = theirs.train(training)(x, x, x, attn_mask=mask, is_causal=causal)
        found = ours.train(training)(x, x, x, attn_mask=mask, is_causal=causal)
        alone = ours(x, x, x, is_causal=causal)
    torch.testing.assert_close(found, expected, **FLOAT64)
    torch.testing.assert_close(alone, expected, **FLOAT64)


def test_what_is_masked_does_not_leak():
    _, layer = pair(8, 2)
    x = torch.randn(5, 2, 8, dtype=torch.float64)
    padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    expected = layer(x, x, x, key_padding_mask=padding)[0][:3]
    x[3:, 1] = torch.nan
    found = layer(x, x, x, key_padding_mask=padding)[0][:3]
    assert torch.equal(found, expected)
    nothing = torch.ones(2, 5, dtype=torch.bool)
    y, weights = layer(x[:3], x, x, key_padding_mask=nothing)
    assert torch.equal(y, layer.out_proj.bias.expand_as(y))
    assert not weights.any()


def test_dropout_in_training_alone():
    layer = nn.MultiheadAttention(8, 2, dropout=0.5)
    x = torch.randn(5, 2, 8)
    torch.manual_seed(0)
    first, again = (layer(x, x, x)[0] for _ in range(2))
    assert not torch.allclose(first, again)
    torch.manual_seed(0)
    assert torch.equal(layer(x, x, x)[0], first)
    layer.eval()
    assert torch.equal(layer(x, x, x)[0], layer(x, x, x)[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_lower_precision(dtype):
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(16, 2)
    x = torch.randn(5, 2, 16)
    expected = layer(x, x, x)[0]
    with torch.autocast("cpu", torch.bfloat16):
        automatic = layer(x, x, x)[0]
    assert automatic.dtype == torch.bfloat16
    torch.testing.assert_close(automatic.float(), expected, rtol=0.05, atol=0.03)
    x = x.to(dtype)
    torch.testing.assert_close(layer.to(dtype)(x, x, x)[0].float(), expected, rtol=0.05, atol=0.03)


@pytest.mark.parametrize("first", [1, 4])
@pytest.mark.parametrize("batch_first", [True, False])
def test_cache_gives_what_all_tokens_give(batch_first, first):
    _, layer = pair(8, 2, batch_first=batch_first)
    x = torch.randn(40, 3, 8, dtype=torch.float64)
    x = x.transpose(0, 1) if batch_first else x
    axis = 1 if batch_first else 0
    with torch.no_grad():
        expected, _ = layer(x, x, x, is_causal=True)
        cache, found = nn.KeyValueCache(), []
        for part in x.split([first, *itertools.repeat(3, (40 - first) // 3)], axis):
            found.append(layer(part, part, part, cache=cache)[0])
    torch.testing.assert_close(torch.cat(found, axis), expected, **FLOAT64)
    assert len(cache) == 40


def test_cache_select_and_errors():
    _, layer = pair(8, 2, batch_first=True)
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    rows = torch.tensor([2, 0, 0])
    cache = nn.KeyValueCache()
    with torch.no_grad():
        layer(x[:, :2], x[:, :2], x[:, :2], cache=cache)  # three tensors: no self-attention
        assert len(cache) == 0
        with pytest.raises(ValueError, match="key: expected the sequence of the first call"):
            layer(x[:, 2:4], x[:, 2:4], x[:, 2:4], cache=cache)  # else keys of x[:, :2], silently
        start, end = x[:, :4].clone(), x[:, 4:].clone()
        cache = nn.KeyValueCache()
        layer(start, start, start, cache=cache)
        cache.select(rows)
        found, _ = layer(end, end, end, cache=cache)
        whole = torch.cat([start[rows], end], 1)
        torch.testing.assert_close(found, layer(whole, whole, whole)[0][:, 4:], **FLOAT64)
        one = x[:1]
        with pytest.raises(ValueError, match="expected 3 sequences as before, got 1"):
            layer(one, one, one, cache=cache)
        with pytest.raises(ValueError, match="expected None with a cache"):
            layer(end, end, end, cache=cache, attn_mask=torch.zeros(1, 1, dtype=torch.bool))
    with pytest.raises(ValueError, match="call the network under"):
        layer(x, x, x, cache=nn.KeyValueCache())


def test_cache_of_another_sequence():
    _, layer = pair(8, 2, batch_first=True)
    query, memory = (torch.randn(3, n, 8, dtype=torch.float64) for n in (2, 7))
    rows = torch.tensor([2, 0, 0])
    with torch.no_grad():
        cache = nn.KeyValueCache()
        for same in (memory, memory.clone()):
            found = layer(query, same, same, cache=cache)[0]
            assert torch.equal(found, layer(query, same, same)[0])
        for other in (memory + 1, memory[:, :4]):
            with pytest.raises(ValueError, match="KeyValueCache: key: expected the sequence of"):
                layer(query, other, other, cache=cache)
        cache.select(rows)
        chosen = memory[rows]
        found = layer(query, chosen, chosen, cache=cache)[0]
        torch.testing.assert_close(found, layer(query, chosen, chosen)[0], **FLOAT64)
        cache.select(rows[:2])
        with pytest.raises(ValueError, match="start with a new cache"):
            layer(query, memory, memory, cache=cache)


def test_compiles_in_one_graph():
    torch.compiler.reset()
    _, layer = pair(8, 2, batch_first=True)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x = torch.randn(3, 6, 8, dtype=torch.float64)
    padding = torch.zeros(3, 6, dtype=torch.bool)
    padding[0, 4:] = True
    for options in ({}, {"key_padding_mask": padding}, {"is_causal": True, "need_weights": False}):
        torch.testing.assert_close(compiled(x, x, x, **options), layer(x, x, x, **options))


X = torch.rand(5, 2, 8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: nn.MultiheadAttention(8, 3),
            "num_heads: expected a divisor of .* = 8, got 3",
        ),
        (lambda: nn.MultiheadAttention(8, 2, dropout=1.5), "dropout: expected a prob.*got 1.5"),
        (lambda: nn.MultiheadAttention(8, 2)(X, X[..., :6], X), r"key: expected \[S, N, 8\]"),
        (lambda: nn.MultiheadAttention(8, 2)(X, X, X[0]), "value: expected"),
        (lambda: nn.MultiheadAttention(8, 2)(X, X, X[:3]), "key, value: expected equal len"),
        (lambda: nn.MultiheadAttention(8, 2)(X, X[:, :1], X[:, :1]), "key, value: expected equal"),
        (
            lambda: nn.MultiheadAttention(8, 2)(X, X, X, attn_mask=torch.ones(5, 4).bool()),
            r"attn_mask: expected shape \[5, 5\] or \[4, 5, 5\], got \[5, 4\]",
        ),
        (
            lambda: nn.MultiheadAttention(8, 2)(X, X, X, key_padding_mask=torch.ones(5, 2)),
            r"key_padding_mask: expected shape \[2, 5\]",
        ),
        (
            lambda: nn.MultiheadAttention(8, 2)(X, X, X, attn_mask=torch.ones(5, 5).long()),
            "attn_mask: expected bool or floats, got torch.int64",
        ),
        (lambda: nn.MultiheadAttention(8, 2)(X.long(), X, X), "query: expected floating.*int64"),
        (lambda: nn.MultiheadAttention(8, 2)(X, X.long(), X), "key: expected floating.*int64"),
        (
            lambda: nn.MultiheadAttention(8, 2)(X.double(), X, X),
            "MultiheadAttention: query: expected torch.float32 as the layer's weights",
        ),
        (lambda: nn.PositionalEncoding(0), "d_model: expected >= 1"),
        (lambda: nn.PositionalEncoding(4)(X), r"x: expected \[L, N, 4\] or \[L, 4\], got"),
        (lambda: nn.PositionalEncoding(8)(X.long()), "x: expected floating-point .* got torch.int"),
        (lambda: nn.PositionalEncoding(8)(X, start=-1), "start: expected >= 0, got -1"),
        (lambda: nn.PositionalEncoding(8, dropout=2), "dropout: expected a prob.*got 2"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_positional_encoding():
    p = nn.PositionalEncoding(7)(torch.zeros(50, 7, dtype=torch.float64))
    t, i = torch.arange(50.0, dtype=torch.float64)[:, None], torch.arange(7)
    angle = t / 10_000 ** (2 * (i // 2).double() / 7)
    torch.testing.assert_close(p, torch.where(i % 2 == 0, angle.sin(), angle.cos()))
    x = torch.rand(3, 50, 7, dtype=torch.float64)
    torch.testing.assert_close(nn.PositionalEncoding(7, batch_first=True)(x), x + p)
    torch.testing.assert_close(
        nn.PositionalEncoding(7)(x.transpose(0, 1)), x.transpose(0, 1) + p[:, None]
    )
    later = nn.PositionalEncoding(7, batch_first=True)(x[:, 20:], start=20)
    torch.testing.assert_close(later, x[:, 20:] + p[20:])
    dropped = nn.PositionalEncoding(7, dropout=0.5)(torch.ones(50, 7))
    assert 0.3 < float((dropped == 0).float().mean()) < 0.7
