"""The CUDA kernel of dropout where there is no GPU, against the kernel of the CPU, bit by bit."""

from __future__ import annotations

import ctypes
import math
import sys

import pytest
import torch

import pyneural.ops  # noqa: F401 (the op of the CPU)
from tests.ops.cuda_on_host_build import ASCENDING, DESCENDING, SHUFFLED, build

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="coroutines by ucontext.h")
GUARD = 64  # elements behind the result, which must stay as they are
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


@pytest.fixture(scope="module")
def library():
    return build("dropout")


def drop(library, x, seed, p, order=ASCENDING):
    function = getattr(library, f"drop_{str(x.dtype).removeprefix('torch.')}")
    y = torch.full((x.numel() + GUARD,), math.nan, dtype=x.dtype)
    pointers = [ctypes.c_void_p(t.data_ptr()) for t in (x, seed, y)]
    size = ctypes.c_int64(x.numel())
    assert function(order, size, *pointers[:2], ctypes.c_double(p), pointers[2]) == 0
    assert y[x.numel() :].isnan().all()
    return y[: x.numel()]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("size", [1, 15, 17, 63, 64, 65, 1000, 4097])
def test_same_bits_as_on_the_cpu(library, size, p, dtype):
    x = torch.randn(size, dtype=torch.float64).to(dtype)
    seed = torch.randint(torch.iinfo(torch.int64).max, (1,))
    expected = torch.ops.pyneural.dropout(x, seed, p)
    for order in (ASCENDING, DESCENDING, SHUFFLED):
        assert torch.equal(drop(library, x, seed, p, order), expected)


def test_what_falls_is_not_finite_if_it_was_not(library):
    x = torch.full((300,), -math.inf)
    x[:50], x[50:100] = math.nan, 1.0
    seed = torch.tensor([7])
    expected = torch.ops.pyneural.dropout(x, seed, 0.5)
    assert 150 < expected.isnan().sum() < 250
    torch.testing.assert_close(
        drop(library, x, seed, 0.5), expected, rtol=0, atol=0, equal_nan=True
    )
