"""ops.attention against plain torch."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from pyneural import ops
from pyneural.ops import reference
from tests.tolerances import (
    FLOAT64,
    FLOAT64_GRADIENT,
    assert_as_good_as_torch,
    assert_close,
)

# (N, H, heads of the keys, L, S, E, Ev): off every tile; several blocks of keys and chunks of
# queries; one query, one key; grouped queries; several panels of a value; empty.
SHAPES = [
    (1, 1, 1, 1, 1, 1, 1),
    (2, 3, 3, 5, 7, 4, 6),
    (2, 4, 2, 130, 200, 16, 16),
    (1, 2, 1, 49, 129, 33, 17),
    (1, 1, 1, 700, 300, 8, 5),
    (1, 2, 2, 1, 300, 64, 80),
    (2, 2, 2, 60, 1, 3, 2),
    (1, 4, 1, 20, 40, 130, 20),
    (0, 2, 2, 3, 4, 5, 6),
    (2, 2, 2, 0, 4, 5, 6),
    (2, 2, 2, 3, 0, 5, 6),
    (2, 2, 2, 3, 4, 0, 6),
    (2, 2, 2, 3, 4, 0, 0),
]
# A mask, and whether it is causal too.
MASKS = [
    ("none", False),
    ("none", True),
    ("bool", False),
    ("bool", True),
    ("padding", False),
    ("added", True),
    ("rows", False),
]


def arguments(shape, dtype=torch.float64, device="cpu", seed=0):
    """[q, k, v] and grad_out."""
    n, heads, key_heads, queries, keys, width, value_width = shape
    generator = torch.Generator().manual_seed(seed)

    def normal(*sizes):
        return torch.randn(*sizes, generator=generator, dtype=torch.float64).to(device, dtype)

    tensors = [
        normal(n, heads, queries, width),
        normal(n, key_heads, keys, width),
        normal(n, key_heads, keys, value_width),
    ]
    return tensors, normal(n, heads, queries, value_width)


def mask_of(kind, shape, device="cpu", dtype=torch.float64):
    n, heads, _, queries, keys, *_ = shape
    generator = torch.Generator().manual_seed(1)
    if kind == "none":
        return None
    if kind == "padding":
        lengths = torch.randint(0, keys + 1, (n, 1, 1, 1), generator=generator)
        return (torch.arange(keys) < lengths).to(device)
    if kind == "rows":  # some queries see nothing, the others everything
        return (torch.rand(1, 1, queries, 1, generator=generator) > 0.4).to(device)
    chosen = torch.rand(n, heads, queries, keys, generator=generator) > 0.4
    if kind == "bool":
        return chosen[:, :1].to(device)
    added = torch.randn(heads, queries, keys, generator=generator, dtype=torch.float64)
    return added.masked_fill(~chosen[:1].any(0), -math.inf).to(device, dtype)


def plain(q, k, v, mask=None, is_causal=False, scale=None):
    mask = None if mask is None else mask[(None,) * (4 - mask.dim())]
    return reference.attention(q, k, v, mask, None, is_causal, 0.0, scale)


def grouped(*tensors, **options):
    return ops.attention(*tensors, enable_gqa=True, **options)


def value_and_gradients(function, tensors, grad_out, **options):
    leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    out = function(*leaves, **options)
    return [out, *torch.autograd.grad(out, leaves, grad_out, materialize_grads=True)]


def assert_all_close(found, exact):
    """Value and gradients; the latter relative to the largest of all: one key's are exactly 0."""
    assert_close(found[0], exact[0], FLOAT64)
    flat = [torch.cat([t.flatten() for t in tensors[1:]]) for tensors in (found, exact)]
    assert_close(*flat, FLOAT64_GRADIENT)


@pytest.mark.parametrize(("mask", "is_causal"), MASKS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_against_plain_torch(device, shape, mask, is_causal):
    tensors, grad_out = arguments(shape, device=device)
    options = {"mask": mask_of(mask, shape, device), "is_causal": is_causal}
    exact = value_and_gradients(plain, tensors, grad_out, **options)
    found = value_and_gradients(grouped, tensors, grad_out, **options)
    assert_all_close(found, exact)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("mask", ["none", "bool", "added"])
@pytest.mark.parametrize("shape", [SHAPES[2], SHAPES[3], (1, 2, 2, 150, 150, 64, 64)], ids=str)
def test_low_precision_is_as_good_as_torch(device, dtype, mask, shape):
    tensors, grad_out = arguments(shape, dtype, device)
    wide = [tensor.double() for tensor in tensors]
    options = {"mask": mask_of(mask, shape, device, dtype)}
    exact = value_and_gradients(plain, wide, grad_out.double(), **options)
    by_torch = value_and_gradients(plain, tensors, grad_out, **options)
    found = value_and_gradients(grouped, tensors, grad_out, **options)
    for one, theirs, right in zip(found, by_torch, exact, strict=True):
        assert one.dtype == dtype
        assert_as_good_as_torch(one, theirs, right)


@pytest.mark.parametrize("scale", [0.0, -0.3, 2.0])
def test_scale(device, scale):
    tensors, grad_out = arguments(SHAPES[1], device=device)
    exact = value_and_gradients(plain, tensors, grad_out, scale=scale)
    assert_all_close(value_and_gradients(ops.attention, tensors, grad_out, scale=scale), exact)


def test_large_scores(device):
    tensors, grad_out = arguments((1, 1, 1, 40, 300, 8, 8), device=device)
    tensors[0] *= 1e3  # weights of 0 and 1: nothing overflows
    exact = value_and_gradients(plain, tensors, grad_out)
    assert_all_close(value_and_gradients(ops.attention, tensors, grad_out), exact)


@pytest.mark.parametrize(
    ("q_shape", "k_shape", "mask_shape"),
    [
        ((5, 4), (7, 4), (5, 7)),
        ((3, 5, 4), (3, 7, 4), (3, 1, 7)),
        ((3, 5, 4), (1, 7, 4), None),
        ((2, 3, 5, 4), (1, 3, 7, 4), (2, 1, 5, 1)),
        ((3, 5, 4), (2, 3, 7, 4), None),
        ((6, 2, 3, 5, 4), (6, 1, 3, 7, 4), (1, 2, 1, 5, 7)),
    ],
    ids=str,
)
def test_dimensions_as_torch(device, q_shape, k_shape, mask_shape):
    q = torch.randn(q_shape, dtype=torch.float64, device=device)
    k, v = (torch.randn(k_shape, dtype=torch.float64, device=device) for _ in range(2))
    mask = None if mask_shape is None else torch.rand(mask_shape, device=device) > 0.3
    exact = scaled_dot_product_attention(q, k, v, mask)
    exact = exact.nan_to_num(0.0)  # a row without a key
    found = ops.attention(q, k, v, mask)
    assert_close(found, exact, FLOAT64)


def test_a_float32_mask_of_float64_queries(device):
    tensors, grad_out = arguments((2, 3, 3, 5, 7, 4, 4), device=device)
    mask = torch.randn(5, 7, device=device)
    exact = value_and_gradients(scaled_dot_product_attention, tensors, grad_out, attn_mask=mask)
    found = value_and_gradients(ops.attention, tensors, grad_out, mask=mask)
    for one, other in zip(found, exact, strict=True):
        assert_close(one, other, FLOAT64_GRADIENT)


def test_layouts(device):
    """Heads inside the rows, as projections give them; strided and overlapping inputs."""
    (q, k, v), grad_out = arguments((2, 3, 3, 50, 50, 8, 8), device=device)
    exact = value_and_gradients(ops.attention, [q, k, v], grad_out)
    inside = [t.transpose(1, 2).contiguous().transpose(1, 2) for t in (q, k, v)]
    found = value_and_gradients(ops.attention, inside, grad_out)
    assert found[0].transpose(1, 2).is_contiguous()
    strided = [t.repeat_interleave(2, 3)[..., ::2] for t in (q, k, v)]
    for ways in (found, value_and_gradients(ops.attention, strided, grad_out.mT.contiguous().mT)):
        assert all(torch.equal(one, other) for one, other in zip(ways, exact, strict=True))
    single = k[:1, :1].expand(2, 3, 50, 8)
    assert torch.equal(ops.attention(q, single, v), ops.attention(q, single.contiguous(), v))


@pytest.mark.parametrize("needed", range(3))
def test_only_the_gradient_asked_for(device, needed):
    tensors, grad_out = arguments(SHAPES[2], device=device)
    every = value_and_gradients(grouped, tensors, grad_out)
    tensors[needed].requires_grad_()
    out = grouped(*tensors)
    assert torch.equal(torch.autograd.grad(out, tensors[needed], grad_out)[0], every[1 + needed])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("how", ["bool", "added", "padding", "causal"])
def test_masked_nan_does_not_leak(device, how, dtype):
    n, heads, length, width = 2, 2, 150, 16
    shape = (n, heads, heads, length, length, width, width)
    tensors, grad_out = arguments(shape, dtype, device)
    options = {}
    hidden = torch.zeros(n, 1, length, length, dtype=torch.bool, device=device)
    if how == "causal":
        options["is_causal"] = True
        hidden |= torch.ones_like(hidden).triu(1)
    else:
        hidden[:, :, :140, 100:] = True
        if how == "padding":
            hidden[:, :, :, 100:] = True
        added = torch.zeros(hidden.shape, dtype=dtype, device=device)
        options["mask"] = added.masked_fill(hidden, -math.inf) if how == "added" else ~hidden
    clean = value_and_gradients(ops.attention, tensors, grad_out, **options)
    for poison in (math.nan, math.inf):
        dirty = [tensor.clone() for tensor in tensors]
        for tensor in dirty[1:]:
            tensor[:, :, 145:] = poison
        found = value_and_gradients(ops.attention, dirty, grad_out, **options)
        queries = ~hidden[0, 0, :, 145:].all(1)  # that see the poison
        assert not found[0][:, :, queries].isfinite().any()
        unseen = hidden[0, 0, queries].all(0)  # keys that no such query sees
        untouched = (~queries, ~queries, unseen, unseen)
        for one, other, rows in zip(found, clean, untouched, strict=True):
            # Products of infinities are summed one by one, not by a processor's pairs.
            limit = 2 * torch.finfo(dtype).eps if dtype == torch.bfloat16 else 0.0
            assert_close(one[:, :, rows], other[:, :, rows], limit)


def test_nan_is_seen(device):
    tensors, _ = arguments((1, 1, 1, 150, 150, 16, 16), torch.float32, device)
    for i, rows in ((0, 3), (1, slice(None)), (2, slice(None))):
        dirty = [tensor.clone() for tensor in tensors]
        dirty[i][0, 0, 3, 5] = math.nan
        assert ops.attention(*dirty)[0, 0, rows].isnan().any(-1).all()


def test_nan_of_a_mask_is_seen(device):
    """As of (1 - keep) * -inf, where keep is 1: by the kernel, under torch.func, in the weights."""
    (q, k, v), _ = arguments((1, 1, 1, 5, 7, 4, 4), device=device)
    mask = torch.zeros(5, 7, dtype=torch.float64, device=device)
    mask[1], mask[3, 2] = math.nan, math.nan
    expected = [False, True, False, True, False]
    outs = (
        ops.attention(q, k, v, mask),
        torch.func.vmap(lambda v: ops.attention(q, k, v, mask))(v[None])[0],
        ops.attention_weights(q, k, mask),
    )
    for out in outs:
        assert out[0, 0].isnan().any(-1).tolist() == expected


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_dropout(device, dtype):
    shape = (2, 3, 3, 70, 150, 16, 150)
    (q, k, _), _ = arguments(shape, dtype, device)
    one = torch.eye(150, dtype=dtype, device=device).expand(2, 3, 150, 150)
    torch.manual_seed(5)
    weights = ops.attention(q, k, one, dropout_p=0.3)
    whole = ops.attention(q, k, one)
    dropped = (weights == 0) & (whole > 0)
    share = dropped.double().mean().item()
    assert abs(share - 0.3) < 5 * (0.3 * 0.7 / dropped.numel()) ** 0.5
    kept = ~dropped
    ratio = (weights[kept].double() / whole[kept].double()).nan_to_num(1 / 0.7)
    assert_close(ratio, torch.full_like(ratio, 1 / 0.7), 4 * torch.finfo(dtype).eps + FLOAT64)
    torch.manual_seed(5)
    assert torch.equal(weights, ops.attention(q, k, one, dropout_p=0.3))
    assert not torch.equal(weights, ops.attention(q, k, one, dropout_p=0.3))
    assert ops.attention(q, k, one, dropout_p=1.0).count_nonzero() == 0


def test_backward_replays_the_dropout(device):
    tensors, grad_out = arguments(SHAPES[2], device=device)
    seed = torch.tensor([1 << 40], device=device)
    options = None, seed, True, 0.4, None
    exact = value_and_gradients(lambda *t: reference.attention(*t, *options), tensors, grad_out)
    found = value_and_gradients(
        lambda *t: torch.ops.pyneural.attention(*t, *options), tensors, grad_out
    )
    assert_all_close(found, exact)


def test_same_bits_on_every_run(threads):
    for shape in ((1, 1, 1, 700, 700, 16, 16), (3, 5, 5, 70, 300, 16, 16)):
        tensors, grad_out = arguments(shape, torch.float32)
        runs = []
        for count in (1, 2, 2):
            threads(count)
            runs.append(value_and_gradients(ops.attention, tensors, grad_out, is_causal=True))
        assert all(torch.equal(a, b) for a, b in zip(runs[1], runs[2], strict=True))
        assert torch.equal(runs[0][0], runs[1][0])  # whatever the threads
        for a, b in zip(runs[0], runs[1], strict=True):
            assert_close(a, b, 1e-5)


def test_inference_mode(device):
    tensors, _ = arguments(SHAPES[1], device=device)
    with torch.inference_mode():
        assert_close(ops.attention(*tensors), plain(*tensors), FLOAT64)


def test_attention_weights(device):
    (q, k, v), _ = arguments(SHAPES[1], device=device)
    mask = mask_of("rows", SHAPES[1], device)
    weights = ops.attention_weights(q, k, mask, is_causal=True)
    assert_close(weights @ v, ops.attention(q, k, v, mask, is_causal=True), FLOAT64)
    assert weights.triu(1).count_nonzero() == 0
    sums = weights.sum(-1)
    assert_close(sums, mask[..., 0].to(sums).expand_as(sums), FLOAT64)
    assert ops.attention_weights(q[0, 0], k[0, 0]).shape == (5, 7)


WRONG = {
    "integers": (
        lambda q, k, v: ((q.int(), k, v), {}),
        "attention: q: expected float32, float64, bfloat16 or float16, got Int; convert it with",
    ),
    "one dimension": (
        lambda q, k, v: ((q[0, 0, 0], k, v), {}),
        r"attention: q: expected \[..., heads, length, width\], got \[4\]; give at least",
    ),
    "E of q and k": (
        lambda q, k, v: ((q, k[..., :3], v), {}),
        r"attention: k: expected 4 elements for each key, like q, \[2, 6, 5, 4\], got \[2, 6, 7",
    ),
    "S of k and v": (
        lambda q, k, v: ((q, k, v[:, :, :6]), {}),
        r"attention: v: expected shape \[2, 6, 7, 3\], got \[2, 6, 6, 3\]; it must fit q",
    ),
    "heads without gqa": (
        lambda q, k, v: ((q, k[:, :3], v[:, :3]), {}),
        "attention: k: expected 6 heads like q, got 3; if several heads of q share one",
    ),
    "heads that do not divide": (
        lambda q, k, v: ((q, k[:, :4], v[:, :4]), {"enable_gqa": True}),
        "attention: k: expected heads that divide those of q, 6, got 4; each head of the keys",
    ),
    "batches": (
        lambda q, k, v: ((q[:1].repeat(3, 1, 1, 1), k, v), {}),
        "attention: q, k, v: expected dimensions before the heads that broadcast, got",
    ),
    "a mask that does not broadcast": (
        lambda q, k, v: ((q, k, v, torch.ones(5, 6, dtype=torch.bool)), {}),
        r"attention: mask: expected a shape that broadcasts to \[2, 6, 5, 7\], .* got \[1, 1, 5, 6",
    ),
    "an integer mask": (
        lambda q, k, v: ((q, k, v, torch.ones(5, 7, dtype=torch.int64)), {}),
        "attention: mask: expected bool .True takes part., or Float like q to be added, got Long",
    ),
    "another dtype": (
        lambda q, k, v: ((q, k.double(), v), {}),
        r"attention: k: expected Float like q, got Double; convert one of them with \.to\(dtype\)",
    ),
    "dropout below 0": (
        lambda q, k, v: ((q, k, v), {"dropout_p": -0.1}),
        "attention: dropout_p: expected 0 to 1, got -0.1; it is the probability",
    ),
    "dropout above 1": (
        lambda q, k, v: ((q, k, v), {"dropout_p": 1.1}),
        "attention: dropout_p: expected 0 to 1, got 1.1; it is the probability",
    ),
    "no scale": (
        lambda q, k, v: ((q, k, v), {"scale": math.nan}),
        "attention: scale: expected a finite number or None, got nan; it multiplies",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(case):
    tensors, _ = arguments((2, 6, 6, 5, 7, 4, 3), torch.float32)
    change, text = WRONG[case]
    positional, named = change(*tensors)
    with pytest.raises(ValueError, match=text):
        ops.attention(*positional, **named)


def test_wrong_gradient():
    (q, k, v), grad_out = arguments(SHAPES[1])
    options = None, None, False, 0.0, None
    out, lse = torch.ops.pyneural.attention_with_lse(q, k, v, *options)

    def call(grad_out: Tensor, out: Tensor, lse: Tensor):
        return torch.ops.pyneural.attention_backward(
            grad_out, q, k, v, *options[:2], out, lse, *options[2:], [True] * 3
        )

    with pytest.raises(ValueError, match="attention_backward: grad_out: expected shape"):
        call(grad_out[:1], out, lse)
    with pytest.raises(ValueError, match="attention_backward: out: expected shape"):
        call(grad_out, out[..., :2], lse)
    with pytest.raises(ValueError, match="attention_backward: lse: expected shape"):
        call(grad_out, out, lse[:1])
    with pytest.raises(ValueError, match="attention_backward: lse: expected Double, got Float"):
        call(grad_out, out, lse.float())
