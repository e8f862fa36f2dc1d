"""Values at the ends of the range, +-inf, NaN and denormals: what torch gives, gradients too."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from pyneural import ops
from pyneural.ops.activations import NAMES
from tests.ops import by_torch
from tests.tolerances import assert_close

DTYPES = [torch.float32, torch.float64]
# Others' slopes fade to 0 by way of denormals, and 0 times infinity depends on the last of them.
PIECEWISE = {"linear", "relu", "leaky_relu"}
# torch's gelu of infinity in float32 is NaN on processors where oneDNN computes it.
EXPECTED = by_torch.ACTIVATIONS | {"gelu": lambda z: F.gelu(z.double()).to(z.dtype)}
REDUCED = [*DTYPES, torch.bfloat16, torch.float16]


def grid(dtype):
    info = torch.finfo(dtype)
    ends = [info.max, info.max / 2, info.tiny, info.tiny / 8, info.smallest_normal, info.eps]
    positive = [*ends, math.inf, 0.0, 1.0, 20.0, 100.0, 1e3, 1e4]
    return torch.tensor([*positive, *(-value for value in positive), math.nan], dtype=dtype)


def assert_same(found, expected, tolerance=1e-5, absolute=1e-30):
    """The same NaN and infinities, the rest close, element by element."""
    assert found.dtype == expected.dtype
    found, expected = found.double(), expected.double()
    assert torch.equal(found.isnan(), expected.isnan()), (found, expected)
    infinite = expected.isinf()
    assert torch.equal(found[infinite], expected[infinite])
    finite = ~infinite & ~expected.isnan()
    error = (found - expected)[finite].abs()
    assert (error <= tolerance * expected[finite].abs() + absolute).all(), (found, expected)


def value_and_gradients(function, tensors, grad):
    leaves = [t.clone().requires_grad_() for t in tensors]
    y = function(*leaves)
    return [y.detach(), *torch.autograd.grad(y, leaves, grad)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_activations(name, dtype):
    z = grid(dtype)
    one, zero = torch.ones(1, 1, dtype=dtype), torch.zeros(1, dtype=dtype)
    pattern = ops.SparsityPattern.from_mask(one > 0)
    expected = EXPECTED[name]
    layers = {
        "dense": lambda x: ops.dense(x, one, zero, name),
        "masked_dense": lambda x: ops.masked_dense(x, one[0], pattern, zero, name),
        "mlp": lambda x: ops.mlp(x, [one], [zero], "tanh", name),
    }
    grads = [1.0, math.inf, math.nan] if name in PIECEWISE else [1.0]
    for grad in (torch.full_like(z, grad) for grad in grads):
        exact = value_and_gradients(expected, [z], grad)
        for layer, call in layers.items():
            found = value_and_gradients(lambda z, call=call: call(z[:, None])[:, 0], [z], grad)
            for what, ours, theirs in zip(("value", "gradient"), found, exact, strict=True):
                try:
                    # The slope of elu is taken from its value, exp(z) - 1, to which 1 is added.
                    absolute = torch.finfo(dtype).eps if name == "elu" else 1e-30
                    assert_same(ours, theirs, absolute=absolute)
                except AssertionError as error:
                    raise AssertionError(f"{layer} {name}, {what} for {grad[0]}: {error}") from None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [math.inf, -math.inf])
@pytest.mark.parametrize("name", NAMES)
def test_infinite_biases(name, bias, dtype):
    x, one = torch.tensor([[1.0], [-2.0]], dtype=dtype), torch.ones(1, 1, dtype=dtype)
    b = torch.full((1,), bias, dtype=dtype)
    grad = torch.ones(2, 1, dtype=dtype)
    exact = value_and_gradients(
        lambda x, w, b: EXPECTED[name](F.linear(x, w, b)), [x, one, b], grad
    )
    for call in (
        lambda x, w, b: ops.dense(x, w, b, name),
        lambda x, w, b: ops.mlp(x, [w], [b], "tanh", name),
    ):
        for ours, theirs in zip(value_and_gradients(call, [x, one, b], grad), exact, strict=True):
            assert_same(ours, theirs)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", ["relu", "tanh"])
def test_recurrent_layers(cell, dtype):
    x = grid(dtype)[None, :, None]
    one = torch.ones(1, 1, dtype=dtype)
    torchs = torch.nn.RNN(1, 1, nonlinearity=cell, bias=False, dtype=dtype)
    torch.nn.init.ones_(torchs.weight_ih_l0)
    torch.nn.init.zeros_(torchs.weight_hh_l0)
    weights = [one, 0 * one, None, None]
    ours, exact = (
        value_and_gradients(call, [x], torch.ones_like(x))
        for call in (lambda x: ops.rnn(x, None, weights, cell)[0], lambda x: torchs(x)[0])
    )
    for found, expected in zip(ours, exact, strict=True):
        assert_same(found, expected)


def tensors(dtype, queries=5, keys=7, width=4):
    generator = torch.Generator().manual_seed(2)
    shapes = (2, 3, queries, width), (2, 3, keys, width), (2, 3, keys, width)
    return [torch.randn(*shape, generator=generator).to(dtype) for shape in shapes]


def attended(function, dtype, mask, **options):
    q, k, v = tensors(dtype)
    return value_and_gradients(lambda q, k, v: function(q, k, v, mask, **options), [q, k, v],
                               torch.ones_like(q))  # fmt: skip


def plain(q, k, v, mask):
    """torch's formula, in the arithmetic of the sums."""
    wide = torch.float64 if q.dtype == torch.float64 else torch.float32
    scores = q.to(wide) @ k.to(wide).mT * q.shape[-1] ** -0.5 + mask.to(wide)
    return (scores.softmax(-1) @ v.to(wide)).to(q.dtype)


@pytest.mark.parametrize("dtype", REDUCED)
@pytest.mark.parametrize("value", ["min", "min/2", "-1e9", "-1e4", "-100", "max/4", "1e4"])
@pytest.mark.parametrize("where", ["row", "all", "some"])
def test_masks_far_from_zero(where, value, dtype):
    info = torch.finfo(dtype)
    number = {"min": info.min, "min/2": info.min / 2, "max/4": info.max / 4}.get(value)
    number = max(info.min, float(value)) if number is None else number
    mask = torch.zeros(5, 7, dtype=dtype)
    if where == "row":
        mask[2] = number
    elif where == "all":
        mask[:] = number
    else:
        mask[:, ::2] = number
    tolerance = {torch.float64: 1e-11, torch.float32: 1e-4}.get(dtype, 3e-2)
    found = attended(lambda q, k, v, mask: ops.attention(q, k, v, mask), dtype, mask)
    exact = attended(plain, dtype, mask)
    for ours, expected in zip(found, exact, strict=True):
        assert_close(ours.double(), expected.double(), tolerance)
    if where == "row" and value == "min" and dtype != torch.float16:  # whose range is small
        v = tensors(dtype)[2]
        assert_close(found[0][:, :, 2].double(), v.double().mean(2), tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
def test_masks_far_from_zero_with_a_causal_limit(dtype):
    """What a query sees is far from 0, what it does not see is not."""
    q, k, v = tensors(dtype, 6, 6)
    mask = torch.zeros(6, 6, dtype=dtype)
    mask[:3, :3] = torch.finfo(dtype).min
    hidden = torch.ones(6, 6, dtype=torch.bool).triu(1)
    found, exact = (
        value_and_gradients(call, [q, k, v], torch.ones_like(q))
        for call in (
            lambda q, k, v: ops.attention(q, k, v, mask, is_causal=True),
            lambda q, k, v: plain(q, k, v, mask.masked_fill(hidden, -math.inf)),
        )
    )
    for ours, expected in zip(found, exact, strict=True):
        assert_close(ours, expected, 1e-4 if dtype == torch.float32 else 1e-11)


@pytest.mark.parametrize("dtype", DTYPES)
def test_denormal_and_large_inputs_of_attention(dtype):
    info = torch.finfo(dtype)
    for factor in (info.tiny, info.tiny / 8, 1e4):
        q, k, v = (t * factor for t in tensors(dtype))
        found, expected = (f(q, k, v) for f in (ops.attention, F.scaled_dot_product_attention))
        assert_same(found, expected, 1e-3)


HUGE = 1 << 45


@pytest.mark.parametrize("place", [0, 1, 2])
def test_attention_of_many_heads_without_elements(place):
    """Nothing to compute, however many there are of it."""
    q, k, v = (torch.empty([HUGE if d == place else 1 for d in range(3)] + [0]) for _ in range(3))
    assert ops.attention(q, k, v).shape == q.shape
    if place == 2:
        q = q[:, :, :3].requires_grad_()
        out, lse = torch.ops.pyneural.attention_with_lse(q, k, v, None, None, False, 0.0, None)
        assert_close(lse, torch.full((1, 1, 3), math.log(HUGE)), 1e-6)
        out = ops.attention(q, k.requires_grad_(), v.requires_grad_())
        for grad, leaf in zip(torch.autograd.grad(out.sum(), (q, k, v)), (q, k, v), strict=True):
            assert grad.shape == leaf.shape


@pytest.mark.parametrize("p", [1.5, -0.1, math.nan])
def test_no_probability(p):
    with pytest.raises(ValueError, match="attention_keep: dropout_p: expected 0 to 1, got"):
        torch.ops.pyneural.attention_keep(torch.tensor([1]), [1, 1, 1, 3], p)
