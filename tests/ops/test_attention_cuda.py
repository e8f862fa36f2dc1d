"""Attention's CUDA kernels on a GPU, against plain torch in float64 on the CPU."""

from __future__ import annotations

import pytest
import torch

from pyneural import ops
from pyneural.ops import reference
from tests.ops.test_attention import arguments, grouped, mask_of, plain, value_and_gradients

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
# Relative to the norm, of the output and of the gradients.
TOLERANCE = {
    torch.float64: 1e-12,
    torch.float32: 3e-6,
    torch.bfloat16: 2e-2,
    torch.float16: 2.5e-3,
}
# (N, H, heads of the keys, L, S, E, Ev): many blocks, both widths of a tile, rows of several
# chunks, rows that no vector fits, one query, few keys.
SHAPES = [
    (2, 4, 2, 200, 300, 64, 64),
    (2, 2, 2, 257, 129, 128, 96),
    (1, 3, 1, 100, 200, 200, 300),
    (2, 3, 3, 150, 150, 33, 17),
    (4, 8, 8, 1, 1000, 64, 64),
    (1, 4, 2, 2000, 20, 64, 40),
]
MASKS = [("none", False), ("none", True), ("bool", True), ("padding", False), ("added", False)]


def assert_close(found, exact, dtype):
    """The output, and the gradients together: one key's are exactly 0."""
    for part in (slice(1), slice(1, None)):
        one, right = (torch.cat([t.flatten() for t in of[part]]) for of in (found, exact))
        assert (one.cpu().double() - right).norm() <= TOLERANCE[dtype] * right.norm()


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("mask", "is_causal"), MASKS)
def test_shapes_and_masks_cuda(shape, mask, is_causal, dtype):
    tensors, grad_out = arguments(shape, dtype)
    given = mask_of(mask, shape, dtype=dtype)
    exact = value_and_gradients(
        plain, [t.double() for t in tensors], grad_out.double(), mask=given, is_causal=is_causal
    )
    options = {"mask": None if given is None else given.cuda(), "is_causal": is_causal}
    on_gpu = [t.cuda() for t in tensors], grad_out.cuda()
    found, again = (value_and_gradients(grouped, *on_gpu, **options) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))
    assert all(one.dtype == dtype for one in found)
    assert_close(found, exact, dtype)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("width", [64, 128])
def test_same_bits_where_tensors_lie_otherwise_cuda(width, dtype):
    # Whole tiles are copied at once where memory allows it, also of heads inside a row.
    tensors, grad_out = arguments((2, 4, 4, 200, 300, width, width), dtype)
    on_gpu = [t.cuda() for t in (*tensors, grad_out)]

    def off_by_one(t):
        return t.new_empty(t.numel() + 1)[1:].view(t.shape).copy_(t)

    def heads_in_rows(t):
        return t.transpose(1, 2).contiguous().transpose(1, 2)

    found = [
        value_and_gradients(grouped, [lay(t) for t in on_gpu[:3]], lay(on_gpu[3]))
        for lay in (torch.clone, off_by_one, heads_in_rows)
    ]
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_dropout_as_on_the_cpu_cuda(dtype):
    tensors, grad_out = arguments((2, 4, 2, 200, 300, 32, 32), dtype)
    options = None, torch.tensor([1 << 40]), True, 0.4, None
    exact = value_and_gradients(
        lambda *t: reference.attention(*t, *options),
        [t.double() for t in tensors],
        grad_out.double(),
    )
    found = value_and_gradients(
        lambda *t: torch.ops.pyneural.attention(*t, *options),
        [t.cuda() for t in tensors],
        grad_out.cuda(),
    )
    assert_close(found, exact, dtype)


def test_memory_grows_with_the_length_cuda():
    length, width = 8192, 64
    q, k, v = (
        torch.randn(1, 1, length, width, device="cuda", requires_grad=True) for _ in range(3)
    )
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    ops.attention(q, k, v).sum().backward()
    peak = torch.cuda.max_memory_allocated() - before
    assert peak < 16 * q.numel() * q.element_size()  # the scores alone were 128 times q
