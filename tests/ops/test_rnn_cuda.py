"""The recurrence's CUDA kernels on a GPU, against the same op on the CPU."""

from __future__ import annotations

import pytest
import torch

from pyneural.ops.rnn import GATES
from tests.ops.test_rnn import arguments, by_op, values_and_gradients

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
TOLERANCE = {torch.float64: 1e-10, torch.float32: 3e-5, torch.bfloat16: 6e-2, torch.float16: 1e-2}
# The last two: several ranks of a group, weights that fit no block's shared memory.
SHAPES = [(1, 1, 1, 1), (30, 5, 3, 9), (12, 140, 16, 70), (20, 33, 64, 512), (5, 3, 8, 3000)]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize(("with_lengths", "reverse"), [(False, False), (True, True)])
def test_as_on_the_cpu(cell, shape, dtype, with_lengths, reverse):
    tensors, lengths = arguments(cell, shape)
    case = lengths if with_lengths else None, cell, reverse
    exact = values_and_gradients(by_op, tensors, *case)
    on_gpu = [t if t is None else t.to("cuda", dtype) for t in tensors]
    found = values_and_gradients(by_op, on_gpu, *case)
    again = values_and_gradients(by_op, on_gpu, *case)
    for one, same, other in zip(found, again, exact, strict=True):
        assert torch.equal(one, same)  # the same bits on every run
        assert one.dtype == dtype
        scale = other.norm() if other.numel() else 1.0
        assert (one.double().cpu() - other).norm() <= TOLERANCE[dtype] * scale
