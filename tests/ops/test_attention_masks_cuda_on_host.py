"""Float masks of attention's CUDA kernels, on the host."""
# ruff: noqa: F811 (libraries and way are fixtures)

from __future__ import annotations

import sys

import pytest
import torch

from tests.ops.test_attention import arguments, mask_of
from tests.ops.test_attention_cuda_on_host import (  # noqa: F401
    HOPPER,
    LITTLE,
    MASKED,
    assert_close,
    exact,
    kernels,
    libraries,
    mask_of_tiles,
    way,
    ways,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="coroutines by ucontext.h")


@ways(2, 5)
def test_float_masks_with_and_without_room(way):
    """What a mask adds is kept beside rows of 100 elements in 227 KiB, read again in 99."""
    library, dtype = way
    shape = (1, 2, 1, 70, 100, 100, 72)
    tensors, grad_out = arguments(shape, dtype)
    given = mask_of("added", shape, dtype=torch.float32)
    given[..., 3, :] += 1000
    kept, again = (
        kernels(library, tensors, grad_out, given, shared=shared)[0] for shared in (HOPPER, LITTLE)
    )
    assert_close(kept, exact(tensors, grad_out, given), dtype)
    assert all(torch.equal(a, b) for a, b in zip(kept, again, strict=True))


@ways(0, 1, 2, 5)
@pytest.mark.parametrize("is_causal", [False, True])
def test_a_float_mask_that_adds_nothing(way, is_causal):
    """The same bits as a bool one: blocks that are seen as a whole, in part and not at all."""
    library, dtype = way
    tensors, grad_out = arguments(MASKED, dtype)
    allowed = mask_of_tiles("bool", MASKED)
    allowed[0] = True
    zeros = mask_of_tiles("added", MASKED).masked_fill(allowed, 0)
    one, other = (
        kernels(library, tensors, grad_out, mask, is_causal=is_causal)[0]
        for mask in (allowed, zeros)
    )
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert_close(one, exact(tensors, grad_out, allowed, is_causal=is_causal), dtype)


@ways(0, 2, 5)
def test_a_row_for_all_queries_under_the_causal_limit(way):
    """A large addend raises the base of the queries from its key on, not that of those before."""
    library, dtype = way
    shape = (1, 2, 1, 130, 130, 16, 16)
    tensors, grad_out = arguments(shape, dtype)
    given = torch.zeros(1, 1, 1, 130)
    given[..., 40] = 100
    found = kernels(library, tensors, grad_out, given, is_causal=True)[0]
    assert_close(found, exact(tensors, grad_out, given, is_causal=True), dtype)
