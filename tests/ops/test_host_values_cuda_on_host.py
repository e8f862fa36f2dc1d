"""Lengths and seeds on their way to the device as parameters of a kernel, on the host."""

from __future__ import annotations

import ctypes
import sys

import pytest
import torch

from tests.ops.cuda_on_host_build import build

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="coroutines by ucontext.h")


@pytest.fixture(scope="module")
def library():
    return build("host_values")


@pytest.mark.parametrize("count", [0, 1, 3, 256, 257, 1000])
def test_all_values_arrive_and_nothing_beyond_them(library, count):
    values = torch.randint(-(2**62), 2**62, (count,))
    to = torch.full((count + 300,), -1)
    pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in (values, to)]
    assert library.store_values(pointers[0], ctypes.c_int64(count), pointers[1]) == 0
    assert torch.equal(to[:count], values)
    assert (to[count:] == -1).all()
