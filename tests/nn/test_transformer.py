"""Transformer layers and stacks beside torch's, in both modes, and decoding with a cache."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from pyneural import nn
from tests.nn import parity
from tests.nn.called_ops import CalledOps

# Of how many of PyTorch's cases one is taken: most differ by options of the layers alone. Odd:
# an even step through products of booleans never meets one of the two.
EVERY = {
    "TransformerEncoderLayer": 5,
    "TransformerDecoderLayer": 11,
    "TransformerEncoder": 13,
    "Transformer": 31,
}
FLOAT64 = {"rtol": 1e-9, "atol": 1e-10}


def cases():
    found = []
    for name, every in EVERY.items():
        for case in parity.cases(getattr(torch.nn, name), getattr(nn, name))[::every]:
            if name == "TransformerEncoder":  # takes a layer; its dtype is the layer's
                case.options.pop("dtype")
            found.append(pytest.param(case, id=f"{name}-{case}"))
    return found


@pytest.mark.parametrize("case", cases())
@pytest.mark.parametrize("check", parity.CHECKS, ids=parity.name)
def test_parity(check, case):
    if check is parity.check_vmap and case.twin is torch.nn.TransformerEncoder:
        pytest.skip("torch's own compares masks, which vmap cannot")
    with sdpa_kernel(SDPBackend.MATH):  # torch's others have no second derivatives
        check(case)


def pair(**options):
    """Torch's transformer and ours with the same weights."""
    options = {"dim_feedforward": 12, "dropout": 0.0, **options}
    torch.manual_seed(0)
    theirs = torch.nn.Transformer(8, 2, 2, 2, **options).double()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    torch.manual_seed(0)
    ours = nn.Transformer(8, 2, 2, 2, **options).double()
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


OPTIONS = (
    {},
    {"batch_first": True},
    {"batch_first": True, "norm_first": True},
    {"activation": "gelu", "bias": False},
    {"activation": F.silu},
)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options) or "default")
def test_same_numbers(options, training):
    models = pair(**options)
    torch.manual_seed(1)
    src, tgt = (torch.randn(3, length, 8, dtype=torch.float64) for length in (7, 5))
    if not options.get("batch_first"):
        src, tgt = src.transpose(0, 1), tgt.transpose(0, 1)
    padding = torch.zeros(3, 7, dtype=torch.bool)
    padding[1, 5:] = True
    tgt_mask = torch.ones(5, 5, dtype=torch.bool).triu(1)
    found = []
    for model in models:
        model.train(training)
        y = model(
            src, tgt, tgt_mask=tgt_mask, src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
        )  # fmt: skip
        found.append([y, *torch.autograd.grad(y.sin().sum(), [*model.parameters()])])
        with torch.no_grad():
            found[-1].append(model.encoder(src))
    torch.testing.assert_close(found[1], found[0], **FLOAT64)


def test_same_initialisation():
    for options in OPTIONS:
        states = []
        for cls in (torch.nn.Transformer, nn.Transformer):
            torch.manual_seed(3)
            states.append(cls(8, 2, 1, 2, 12, **options).state_dict())
        assert list(states[0]) == list(states[1])
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    model = nn.Transformer(8, 2, 1, 1, 12)
    assert type(model.encoder) is nn.TransformerEncoder
    assert type(model.decoder) is nn.TransformerDecoder
    assert type(model.decoder.layers[0].multihead_attn) is nn.MultiheadAttention
    assert type(copy.deepcopy(model).encoder.layers[0].linear1) is nn.Linear


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("padded", [True, False])
def test_our_kernels_do_the_work(padded, training):
    layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 3).train(training)
    padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2]) if padded else None
    with torch.no_grad(), CalledOps() as ops:
        y = encoder(torch.randn(2, 5, 8), src_key_padding_mask=padding)
    assert y.shape == (2, 5, 8)
    assert ops.names.count("pyneural.attention.default") == 3
    assert ops.names.count("pyneural.dense.default") == 12
    assert not any("transformer" in name or "multi_head" in name for name in ops.names)


@pytest.mark.parametrize("form", ["hint", "bool", "floats"])
def test_a_causal_mask_is_recognised(form):
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0), 2)
    x = torch.randn(6, 3, 8)
    masks = {
        "hint": (None, True),
        "bool": (torch.ones(6, 6, dtype=torch.bool).triu(1), None),
        "floats": (nn.Transformer.generate_square_subsequent_mask(6), None),
    }
    mask, hint = masks[form]
    with CalledOps() as ops, torch.no_grad():
        y = model(x, mask=mask, is_causal=hint)
    assert "aten.where.self" not in ops.names
    changed = x.clone()
    changed[4:] += 1
    torch.testing.assert_close(model(changed, mask=mask, is_causal=hint)[:4], y[:4])
    assert not torch.allclose(model(changed)[:4], model(x)[:4])
    other = torch.ones(6, 6, dtype=torch.bool).triu(2)
    assert not torch.allclose(model(x, mask=other), y)


@pytest.mark.parametrize("norm_first", [True, False])
def test_decoding_with_a_cache(norm_first):
    _, model = pair(norm_first=norm_first, batch_first=True)
    src, tgt = (torch.randn(3, length, 8, dtype=torch.float64) for length in (7, 20))
    with torch.no_grad():
        memory = model.encoder(src)
        expected = model.decoder(tgt, memory, tgt_is_causal=True)
        cache = nn.KeyValueCache()
        found = [model.decoder(token, memory, cache=cache) for token in tgt.split(1, 1)]
        torch.testing.assert_close(torch.cat(found, 1), expected, **FLOAT64)
        assert len(cache) == 20
        alone = model.encoder(tgt, is_causal=True)  # as a decoder without memory
        cache = nn.KeyValueCache()
        found = [model.encoder(token, cache=cache) for token in tgt.split(4, 1)]
        torch.testing.assert_close(torch.cat(found, 1), alone, **FLOAT64)


def test_a_cached_token_costs_what_its_length_does():
    _, model = pair(batch_first=True)
    src = torch.randn(1, 7, 8, dtype=torch.float64)
    cache = nn.KeyValueCache()
    projected = []
    with torch.no_grad():
        memory = model.encoder(src)
        for _ in range(3):
            with CalledOps() as ops:
                model.decoder(src[:, :1], memory, cache=cache)
            projected.append(ops.names.count("pyneural.dense.default"))
    # of a layer: q, k and v, result; q, k, v, result; two linear ones. Then memory's stay.
    assert projected == [2 * 8, 2 * 6, 2 * 6]


def test_compiles_in_one_graph():
    torch.compiler.reset()
    _, model = pair(batch_first=True)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    src, tgt = (torch.randn(3, length, 8, dtype=torch.float64) for length in (7, 5))
    mask = nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
    expected = model(src, tgt, tgt_mask=mask)
    torch.testing.assert_close(compiled(src, tgt, tgt_mask=mask), expected, **FLOAT64)
    expected = model(src, tgt, tgt_is_causal=True)
    torch.testing.assert_close(compiled(src, tgt, tgt_is_causal=True), expected, **FLOAT64)


@pytest.mark.parametrize("activation", [torch.nn.SiLU(), torch.nn.GELU("tanh")], ids=str)
@pytest.mark.parametrize("kind", ["Encoder", "Decoder"])
def test_an_activation_that_is_a_module_is_in_copies_too(kind, activation):
    theirs, ours = (
        getattr(package, f"Transformer{kind}Layer")(8, 2, 12, dropout=0.0, activation=activation)
        for package in (torch.nn, nn)
    )
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(5, 3, 8)
    inputs = (x, torch.randn(7, 3, 8))[: 1 if kind == "Encoder" else 2]
    stack = getattr(nn, f"Transformer{kind}")(ours, 1)
    torch.testing.assert_close(stack(*inputs), theirs(*inputs))


def test_unknown_activation():
    with pytest.raises(ValueError, match="activation: expected relu, gelu or a function, got 'x'"):
        nn.TransformerEncoderLayer(8, 2, activation="x")


@pytest.mark.parametrize("kind", ["Encoder", "Decoder"])
def test_parts_replaced_later_are_used(kind):
    theirs, ours = (
        getattr(package, f"Transformer{kind}Layer")(8, 2, 12, dropout=0.0)
        for package in (torch.nn, nn)
    )
    x = torch.randn(5, 3, 8)
    inputs = (x, torch.randn(7, 3, 8))[: 1 if kind == "Encoder" else 2]
    for activation in (F.silu, F.gelu):
        theirs.activation = ours.activation = activation
        ours.load_state_dict(theirs.state_dict())
        torch.testing.assert_close(ours(*inputs), theirs(*inputs))
    ours.linear1 = theirs.linear1
    torch.testing.assert_close(ours(*inputs), theirs(*inputs))


def test_an_empty_custom_encoder_is_kept():
    nothing = torch.nn.Sequential()
    assert nn.Transformer(8, 2, 1, 1, 12, custom_encoder=nothing).encoder is nothing


@pytest.mark.parametrize(
    ("src", "tgt", "message"),
    [
        (torch.rand(4, 2, 6), torch.rand(4, 2, 8), r"src: expected \[S, N, 8\] .* \[4, 2, 6\]"),
        (
            torch.rand(4, 2, 8),
            torch.rand(4, 8),
            r"tgt: expected \[T, N, 8\] .*, got \[4, 8\]; .* both batched",
        ),
        (torch.rand(4, 2, 8), torch.rand(4, 3, 8), "src, tgt: expected the same N, .*batch_first"),
        (torch.rand(4, 2, 8), torch.ones(4, 2, 8).long(), "tgt: expected floating-point .*, got"),
    ],
)
def test_errors(src, tgt, message):
    with pytest.raises(ValueError, match=message):
        nn.Transformer(8, 2, 1, 1, 12)(src, tgt)
