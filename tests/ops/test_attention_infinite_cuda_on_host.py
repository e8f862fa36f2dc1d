"""Infinite and NaN arguments of attention's CUDA kernels, on the host."""

from __future__ import annotations

import math
import sys

import pytest
import torch

from tests.ops.test_attention import arguments, mask_of
from tests.ops.test_attention_cuda_on_host import (  # noqa: F401 (libraries and way are fixtures)
    TOLERANCE,
    kernels,
    libraries,
    way,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="coroutines by ucontext.h")


def test_infinite_scores_in_float32(libraries):  # noqa: F811
    """The remainder of an infinity in tf32 is NaN."""
    (q, k, v), grad_out = arguments((1, 1, 1, 3, 5, 8, 8), torch.float32)
    q[..., 0, 2], q[..., 1:, 2] = 0.75, 0.5
    k[..., 3, 2] = -math.inf  # the weight of this key is 0
    k[..., 4, 2] = torch.finfo(torch.float32).min
    out = kernels(libraries[0], (q, k, v), grad_out)[0][0]
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    assert expected.isfinite().all()
    torch.testing.assert_close(out, expected)


@pytest.mark.parametrize(("kind", "dropout"), [("none", 0.0), ("bool", 0.0), ("none", 0.3)])
def test_infinite_values(way, kind, dropout):  # noqa: F811
    """What torch gives of an infinite, NaN or very large v; nothing of one masked or dropped."""
    library, dtype = way
    shape = (1, 1, 1, 40, 70, 16, 24)
    (q, k, v), grad_out = arguments(shape, dtype)
    v[..., 3, 2], v[..., 5, 3], v[..., 6, 3] = math.inf, math.inf, -math.inf
    v[..., 7, 4], v[..., 69, 5], v[..., 8, 6] = math.nan, -math.inf, torch.finfo(dtype).max
    mask, seed = mask_of(kind, shape), torch.tensor([1 << 40]) if dropout else None
    out = kernels(library, (q, k, v), grad_out, mask, seed, dropout=dropout)[0][0].double()
    scores = q.double() @ k.double().mT * q.shape[-1] ** -0.5
    allowed = torch.ones(40, 70, dtype=torch.bool) if mask is None else mask[0, 0]
    weights = scores.masked_fill(~allowed, -math.inf).softmax(-1) / (1 - dropout)
    if dropout:
        allowed = torch.ops.pyneural.attention_keep(seed, scores.shape, dropout)
    parts = weights[..., None] * v.double()[:, :, None]
    expected = parts.masked_fill(~allowed[..., None], 0).sum(3)
    assert expected.isinf().any()
    assert expected.isnan().any()
    assert torch.equal(out.isnan(), expected.isnan())
    assert torch.equal(out.isinf(), expected.isinf())
    assert torch.equal(out.sign()[out.isinf()], expected.sign()[out.isinf()])
    finite = expected.isfinite()
    others = finite & (torch.arange(24) != 6)
    error, largest = TOLERANCE[dtype][0], expected[others].abs().max()
    assert (out - expected)[others].abs().max() <= error * largest
    assert ((out / expected)[..., 6][finite[..., 6]] - 1).abs().max() <= 10 * error


@pytest.mark.parametrize(("is_causal", "dropout"), [(False, 0.0), (True, 0.0), (False, 0.3)])
def test_infinite_grad_out(way, is_causal, dropout):  # noqa: F811
    """The gradient of v is infinite where torch's is; of masked and dropped weights nothing is."""
    library, dtype = way
    (q, k, v), grad_out = arguments((1, 2, 1, 70, 40, 16, 24), dtype)
    seed = torch.tensor([1 << 40]) if dropout else None
    grad_out[..., 0, 3, 2], grad_out[..., 1, 60, 5] = math.inf, -math.inf
    found = kernels(library, (q, k, v), grad_out, None, seed, is_causal, dropout)[0][3].double()
    scores = q.double() @ k.double().mT * q.shape[-1] ** -0.5
    hidden = torch.ones(70, 40, dtype=torch.bool).triu(1) & is_causal
    weights = scores.masked_fill(hidden, -math.inf).softmax(-1) / (1 - dropout)
    parts = weights[..., None] * grad_out.double()[:, :, :, None]
    if dropout:
        hidden = hidden | ~torch.ops.pyneural.attention_keep(seed, scores.shape, dropout)
    expected = parts.masked_fill(hidden[..., None], 0).sum((1, 2))[:, None]
    assert expected.isinf().any()
    assert torch.equal(found.isnan(), expected.isnan())
    assert torch.equal(found.isinf(), expected.isinf())
    assert torch.equal(found.sign()[found.isinf()], expected.sign()[found.isinf()])
    finite = expected.isfinite()
    error = TOLERANCE[dtype][0]
    assert (found - expected)[finite].abs().max() <= 2 * error * expected[finite].abs().max()
