"""The CUDA kernel of a step of Adadelta where there is no GPU, on the host."""

from __future__ import annotations

import ctypes
import sys

import pytest
import torch

from pyneural.ops import reference
from tests.ops.cuda_on_host_build import ASCENDING, DESCENDING, SHUFFLED, build

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="coroutines by ucontext.h")
RATES = 0.7, 0.8, 1e-3, 0.1  # learning rate, rho, epsilon, weight decay
MOST = 80  # tensors of a launch
TOLERANCE = {torch.float64: 1e-14, torch.float32: 1e-6}


@pytest.fixture(scope="module")
def library():
    return build("adadelta")


def lists(sizes, dtype):
    """Parameters, gradients, squares and changes, each followed by an element to be left alone."""
    drawn = [[torch.randn(size + 1, dtype=dtype) for size in sizes] for _ in range(4)]
    return [*drawn[:2], *([t.square() for t in each] for each in drawn[2:])]


def step(library, sizes, tensors, order=ASCENDING):
    """The number of launches."""
    name = str(tensors[0][0].dtype).removeprefix("torch.")
    count = len(sizes)
    pointers = [(ctypes.c_void_p * count)(*(t.data_ptr() for t in each)) for each in tensors]
    rates = map(ctypes.c_double, RATES)
    function = getattr(library, f"step_{name}")
    launches = function(order, count, (ctypes.c_int64 * count)(*sizes), *pointers, *rates)
    assert launches >= 0
    return launches


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(
    "sizes",
    [[0], [1], [0, 5, 0], [1023, 1024, 1025, 3], [2048, 1, 4097], [3] * MOST, [2, 1500] * MOST],
    ids=len,
)
def test_steps_are_the_references(library, sizes, dtype):
    tensors = lists(sizes, dtype)
    exact = [[t.double()[:-1] for t in each] for each in tensors]
    last = [[t[-1].clone() for t in each] for each in tensors]
    for _ in range(2):
        filled = sum(size > 0 for size in sizes)
        assert step(library, sizes, tensors) == -(-filled // MOST)
        reference.adadelta_(*exact, [], *RATES)
    for found, expected, ends in zip(tensors, exact, last, strict=True):
        for one, other, end in zip(found, expected, ends, strict=True):
            torch.testing.assert_close(
                one[:-1].double(), other, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype]
            )
            assert torch.equal(one[-1], end)


def test_the_order_of_threads_makes_no_difference(library):
    sizes = [1500, 40]
    given = lists(sizes, torch.float32)
    results = []
    for order in (ASCENDING, DESCENDING, SHUFFLED):
        tensors = [[t.clone() for t in each] for each in given]
        step(library, sizes, tensors, order)
        results.append([t for each in tensors for t in each])
    for others in results[1:]:
        assert all(torch.equal(*pair) for pair in zip(results[0], others, strict=True))
