"""ops.dropout against a mask drawn word by word, and nn.Dropout against torch's."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch

from pyneural import nn, ops
from pyneural.ops import reference
from tests.nn.called_ops import CalledOps
from tests.tolerances import FLOAT64, assert_close

SEED = torch.tensor([1 << 40 | 12345])
drop = torch.ops.pyneural.dropout.default


def by_mask(x, seed, p):
    """In plain torch; the words are those of one row of attention's scores."""
    keep = torch.ops.pyneural.attention_keep(seed, [1, 1, 1, x.numel()], p).view(x.shape)
    return torch.where(keep, x / (1 - p), 0)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (63,), (64,), (5, 13), (3, 0, 2), (40, 1000)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_against_a_mask(shape, dtype, p):
    x = torch.randn(shape, dtype=torch.float64).to(dtype)
    found, expected = drop(x, SEED, p), by_mask(x.double(), SEED, p)
    assert (found.dtype, found.shape) == (dtype, x.shape)
    assert_close(found.double(), expected, torch.finfo(dtype).eps)


def test_not_contiguous():
    x = torch.randn(6, 50, dtype=torch.float64)
    assert torch.equal(drop(x.t(), SEED, 0.3), drop(x.t().contiguous(), SEED, 0.3))


def test_any_threads_and_more_than_one_share(threads):
    x = torch.randn(100_003)
    found = []
    for count in (1, 2, 3):
        threads(count)
        found.append(drop(x, SEED, 0.4))
    assert all(torch.equal(found[0], other) for other in found[1:])


@pytest.mark.parametrize("p", [0.1, 0.5, 0.99])
def test_share_of_zeros_and_mean(p):
    torch.manual_seed(0)
    n = 1 << 20
    y = ops.dropout(torch.ones(n), p)
    assert abs(float((y == 0).sum()) - n * p) < 5 * (n * p * (1 - p)) ** 0.5
    assert set(y.unique().tolist()) == {0.0, float(torch.tensor(1 / (1 - p)))}


def test_neighbours_and_calls_are_independent():
    torch.manual_seed(1)
    first, second = (ops.dropout(torch.ones(1 << 16), 0.5) > 0 for _ in range(2))
    for a, b in ((first, second), (first[1:], first[:-1]), (first[64:], first[:-64])):
        assert abs(float((a == b).double().mean()) - 0.5) < 0.012


def test_seed_of_torch_repeats_it():
    x = torch.randn(1000)
    runs = []
    for _ in range(2):
        torch.manual_seed(3)
        runs.append(ops.dropout(x, 0.5))
    assert torch.equal(*runs)


def test_default_device_of_torch_does_not_matter():
    x = torch.ones(500)
    with torch.device("meta"):
        y = ops.dropout(x, 0.5)
    assert set(y.tolist()) == {0.0, 2.0}


def test_ends_of_p():
    x = torch.randn(100)
    assert ops.dropout(x, 0.0) is x
    assert not ops.dropout(x, 1.0).any()


NOT_FINITE = torch.tensor([math.inf, -math.inf, math.nan, 2.0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_falls_is_not_finite_if_it_was_not(dtype):
    """Torch multiplies by 0."""
    x = NOT_FINITE.to(dtype).repeat_interleave(50).requires_grad_()
    kept = torch.ops.pyneural.attention_keep(SEED, [1, 1, 1, 200], 0.5).flatten()
    for function in (drop, reference.dropout):
        y = function(x, SEED, 0.5)
        (gradient,) = torch.autograd.grad(y, x, x.detach())
        for found in (y, gradient):
            assert torch.equal(found.isnan(), ~kept & ~x.isfinite() | x.isnan())
            torch.testing.assert_close(found[kept], (2 * x)[kept], equal_nan=True)
            assert (found[150:][~kept[150:]] == 0).all()


@pytest.mark.parametrize("p", [0.0, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_not_finite_at_the_ends_of_p_as_torch(p, dtype):
    found, expected = [], []
    for values, layer in ((found, nn.Dropout(p)), (expected, torch.nn.Dropout(p))):
        x = NOT_FINITE.to(dtype).requires_grad_()
        y = layer(x)
        values += [y.detach(), *torch.autograd.grad(y, x, NOT_FINITE.flip(0).to(dtype))]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


def test_gradients():
    x = torch.randn(70, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(drop(x, SEED, 0.3).sum(), x)
    assert_close(gradient, by_mask(torch.ones_like(x), SEED, 0.3), FLOAT64)
    assert torch.autograd.gradcheck(lambda x: drop(x, SEED, 0.3), x)
    assert torch.autograd.gradgradcheck(lambda x: drop(x, SEED, 0.3), x)


def test_opcheck():
    torch.library.opcheck(drop, (torch.randn(5, 3, requires_grad=True), SEED, 0.3))


def test_compile_vmap_and_forward_mode():
    x = torch.randn(1000)
    compiled = torch.compile(lambda x: ops.dropout(x, 0.5), backend="aot_eager", fullgraph=True)
    assert set(compiled(torch.ones(1000)).unique().tolist()) == {0.0, 2.0}
    mapped = torch.func.vmap(lambda x: ops.dropout(x, 0.5), randomness="different")
    assert set(mapped(torch.ones(10, 100)).unique().tolist()) == {0.0, 2.0}
    y, tangent = torch.func.jvp(lambda x: ops.dropout(x, 0.5), (x,), (torch.ones_like(x),))
    assert torch.equal(y == 0, tangent == 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: ops.dropout(x, 1.5), "dropout: p: expected a probability from 0 to 1, got 1.5"),
        (lambda x: ops.dropout(x.int(), 0.5), "dropout: x: expected float32, .* got Int"),
        (lambda x: drop(x, SEED, -1.0), "dropout: p: expected 0 to 1, got -1"),
        (
            lambda x: drop(x, SEED.int(), 0.5),
            r"dropout: seed: expected one int64, got \[1\] of Int",
        ),
        (
            lambda x: drop(x, SEED.to("meta"), 0.5),
            "dropout: seed: expected cpu like x, or the CPU, got meta",
        ),
        (lambda x: drop(x, SEED.expand(2), 0.5), r"dropout: seed: .*got \[2\] of Long"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.ones(3))


def test_layer_is_torchs():
    x = torch.randn(500)
    layer = nn.Dropout(0.25)
    assert isinstance(layer, torch.nn.Dropout)
    assert repr(layer) == repr(torch.nn.Dropout(0.25))
    with CalledOps() as called:
        y = layer(x)
    assert "pyneural.dropout.default" in called.names
    assert_close(y[y != 0], x[y != 0] / 0.75, 1e-6)
    assert layer.eval()(x) is x
    for copied in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert copied(x) is x
    z = x.clone()
    assert nn.Dropout(0.5, inplace=True)(z) is z
    assert (z == 0).any()


@pytest.mark.parametrize("p", [-0.1, 1.1])
def test_layer_refuses_what_is_no_probability(p):
    with pytest.raises(ValueError, match="dropout probability has to be between 0 and 1"):
        nn.Dropout(p)
