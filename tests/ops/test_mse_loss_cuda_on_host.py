"""The CUDA kernels of the mean squared error where there is no GPU, on the host."""

from __future__ import annotations

import ctypes
import math
import sys

import pytest
import torch
from torch.nn import functional as F

from tests.ops.cuda_on_host_build import ASCENDING, DESCENDING, SHUFFLED, build
from tests.tolerances import FLOAT64, assert_as_good_as_torch, assert_close

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="coroutines by ucontext.h")
GUARD = 64  # elements behind a result, which must stay as they are


@pytest.fixture(scope="module")
def library():
    return build("mse_loss")


def call(library, name, dtype, order, size, *tensors):
    function = getattr(library, f"{name}_{str(dtype).removeprefix('torch.')}")
    pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors]
    code = function(order, ctypes.c_int64(size), *pointers)
    assert code >= 0
    return code


def run(library, a, y, grad=1.0, order=ASCENDING):
    """The loss, its gradient, and the blocks that sum."""
    loss = torch.full((1 + GUARD,), math.nan, dtype=a.dtype)
    gradient = torch.full((a.numel() + GUARD,), math.nan, dtype=a.dtype)
    blocks = call(library, "forward", a.dtype, order, a.numel(), a, y, loss)
    if a.numel() > 0:
        factor = torch.tensor(grad, dtype=a.dtype)
        call(library, "backward", a.dtype, order, a.numel(), factor, a, y, gradient)
    assert loss[1:].isnan().all()
    assert gradient[a.numel() :].isnan().all()
    return loss[0], gradient[: a.numel()], blocks


def by_torch(a, y, grad):
    leaf = a.clone().requires_grad_()
    loss = F.mse_loss(leaf, y)
    return loss.detach(), *torch.autograd.grad(loss * grad, leaf)


@pytest.mark.parametrize("size", [1, 31, 256, 1023, 1024, 1025, 5000, (1 << 20) + 3001])
def test_against_torch(library, size):
    a, y = torch.randn(2, size, dtype=torch.float64)
    *found, blocks = run(library, a, y, grad=0.7)
    assert blocks == min(-(-size // 1024), 1024)
    for one, other in zip(found, by_torch(a, y, 0.7), strict=True):
        assert_close(one, other, FLOAT64)
    a, y = a.float(), y.float()
    *found, _ = run(library, a, y, grad=0.7)
    exact = by_torch(a.double(), y.double(), 0.7)
    for triple in zip(found, by_torch(a, y, 0.7), exact, strict=True):
        assert_as_good_as_torch(*triple)


def test_the_order_of_threads_makes_no_difference(library):
    a, y = torch.randn(2, 3333)
    first, *others = (run(library, a, y, order=o) for o in (ASCENDING, DESCENDING, SHUFFLED))
    for other in others:
        assert all(torch.equal(*pair) for pair in zip(first[:2], other[:2], strict=True))


def test_of_nothing_and_of_what_is_no_number(library):
    empty = torch.ones(0)
    loss, _, blocks = run(library, empty, empty)
    assert loss.isnan()
    assert blocks == 0
    for value in (math.nan, math.inf):
        a = torch.zeros(2000)
        a[1999] = value
        loss, gradient, _ = run(library, a, torch.zeros(2000))
        torch.testing.assert_close(loss, torch.tensor(value), equal_nan=True)
        torch.testing.assert_close(gradient[1999], torch.tensor(value), equal_nan=True)
        assert not gradient[:1999].any()
