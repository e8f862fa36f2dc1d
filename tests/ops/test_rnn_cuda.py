"""The recurrence's CUDA kernels on a GPU, against the same op on the CPU."""

from __future__ import annotations

import functools

import pytest
import torch

from pyneural.ops.rnn import GATES
from tests.ops.test_rnn import arguments, by_op, values_and_gradients

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
TOLERANCE = {torch.float64: 1e-10, torch.float32: 3e-5, torch.bfloat16: 2e-2, torch.float16: 3e-3}
# In a few units rounding moves the sum across 0, where the slope jumps.
TOLERANCE_OF_RELU = {**TOLERANCE, torch.bfloat16: 1e-1, torch.float16: 4e-2}
# On an H100: one block a group; several tiles of rows; clusters; groups whose barrier is in global
# memory; weights that fit no block's shared memory, of halves too; no rows.
SHAPES = [
    (1, 1, 1, 1),
    (30, 5, 3, 9),
    (12, 140, 16, 70),
    (2, 6000, 2, 21),  # of more rows gradients of relu leave the range of float16
    (6, 33, 8, 128),
    (20, 33, 64, 512),
    (5, 3, 8, 1600),
    (3, 3, 8, 2400),
    (4, 0, 3, 5),
]


@functools.lru_cache(maxsize=1)  # for all precisions, which follow one another
def on_the_cpu(cell, shape, with_lengths, reverse):
    tensors, lengths = arguments(cell, shape)
    case = lengths if with_lengths else None, cell, reverse
    return tensors, case, values_and_gradients(by_op, tensors, *case)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize(("with_lengths", "reverse"), [(False, False), (True, True)])
def test_as_on_the_cpu(cell, shape, dtype, with_lengths, reverse):
    tensors, case, exact = on_the_cpu(cell, shape, with_lengths, reverse)
    on_gpu = [t if t is None else t.to("cuda", dtype) for t in tensors]
    found = values_and_gradients(by_op, on_gpu, *case)
    again = values_and_gradients(by_op, on_gpu, *case)
    tolerance = (TOLERANCE_OF_RELU if cell == "relu" else TOLERANCE)[dtype]
    for one, same, other in zip(found, again, exact, strict=True):
        assert torch.equal(one, same)  # the same bits on every run
        assert one.dtype == dtype
        scale = other.norm() if other.numel() else 1.0
        assert (one.double().cpu() - other).norm() <= tolerance * scale
