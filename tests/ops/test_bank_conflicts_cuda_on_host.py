"""Bank conflicts of the CUDA kernels in shared memory, computed from their accesses on the host."""

from __future__ import annotations

import ctypes
import platform
import sys

import pytest
import torch

from tests.ops.cuda_on_host_build import build
from tests.ops.test_dense_cuda_on_host import operands, product

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="gcc's instrumentation"
)


@pytest.fixture(scope="module")
def dense():
    return build("dense", traced=True)


def wavefronts(library):
    """Of reads and of writes: those of the requests since trace(), and the fewest possible."""
    counts = torch.zeros(2, 2, dtype=torch.int64)
    library.wavefronts_since(ctypes.c_void_p(counts.data_ptr()))
    return counts.tolist()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("along_k", [True, False])
@pytest.mark.parametrize("size", [128, 126, 127])
def test_the_tiles_of_dense(dense, size, along_k, dtype):
    """None, whether lines begin at 16 bytes, at 4 or 8, or at any element."""
    shape = (128, 128, size) if along_k else (size, size, 32)
    a, b, _ = operands(*shape, dtype)
    dense.trace()
    product(dense, a, b, None, along=(along_k, along_k))
    (reads, fewest_reads), (writes, fewest_writes) = wavefronts(dense)
    assert fewest_reads > 0 < fewest_writes
    assert reads == fewest_reads
    assert writes == fewest_writes
