"""The CUDA kernels of the spline where there is no GPU: arithmetic and barriers, on the host."""

from __future__ import annotations

import ctypes
import math
import sys

import pytest
import torch

from pyneural.ops import reference
from tests.ops.cuda_on_host_build import ASCENDING, DESCENDING, SHUFFLED, build
from tests.ops.test_spline import arguments
from tests.tolerances import assert_close

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="coroutines by ucontext.h")
HOPPER, LITTLE = 227 << 10, 48 << 10  # bytes of shared memory of a block
TOLERANCE = {torch.float64: 1e-11, torch.float32: 1e-4}
OPTIONS = 3.0, 1e-3  # bound and slope
for_both_types = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
for_both_ways = pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])


@pytest.fixture(scope="module")
def library():
    return build("spline")


def run(library, tensors, grads, inverse, order=ASCENDING, shared=HOPPER):
    """[y, ladj], the gradients of x and of the parameters, and the threads of both kernels.

    The parameters of a point lie beside each other, as a network gives them.
    """
    x, *parameters = tensors
    bins = parameters[0].shape[-1]
    joined = torch.cat(parameters, -1)
    at = [joined[..., first:].data_ptr() for first in (0, bins, 2 * bins)]
    if bins == 1:
        at[2] = joined.data_ptr()  # no derivatives
    function = library.run_double if x.dtype == torch.float64 else library.run_float
    values = [torch.full_like(x, math.nan) for _ in range(2)]
    of_tensors = [torch.full_like(t, math.nan) for t in tensors]
    threads = [
        function(
            backward, shared, order, *map(ctypes.c_double, OPTIONS), int(inverse),
            *map(ctypes.c_int64, (x.numel(), bins, joined.shape[-1])),
            *map(ctypes.c_void_p, (x.data_ptr(), *at)),
            *(ctypes.c_void_p(t.data_ptr()) for t in (*grads, *values, *of_tensors)),
        )
        for backward in (0, 1)
    ]  # fmt: skip
    return values, of_tensors, threads


def exact(tensors, grads, inverse):
    """The same by plain torch in float64."""
    wide = [t.double() for t in tensors]
    values = reference.rational_quadratic_spline(*wide, *OPTIONS, inverse)
    wide_grads = [g.double() for g in grads]
    of_tensors = reference.rational_quadratic_spline_backward(*wide_grads, *wide, *OPTIONS, inverse)
    return *values, *of_tensors


@for_both_types
@for_both_ways
@pytest.mark.parametrize(("points", "bins"), [(1, 1), (300, 2), (257, 8), (70, 64)], ids=str)
def test_against_plain_torch(library, points, bins, inverse, dtype):
    tensors = arguments((points,), bins, dtype, scale=0.5)
    grads = [torch.linspace(first, 1, points, dtype=dtype) for first in (-1, 0.5)]
    values, of_tensors, threads = run(library, tensors, grads, inverse)
    assert min(threads) > 0
    if bins > 1:
        expected = exact(tensors, grads, inverse)
        for one, other in zip((*values, *of_tensors), expected, strict=True):
            assert_close(one, other, TOLERANCE[dtype])
    else:  # the identity
        torch.testing.assert_close(values[0], tensors[0])
        torch.testing.assert_close(values[1], torch.zeros_like(tensors[0]))


@for_both_ways
def test_the_order_of_threads_makes_no_difference(library, inverse):
    tensors = arguments((150,), 5, torch.float32)
    grads = [torch.ones(150), torch.ones(150)]
    first, *others = (
        run(library, tensors, grads, inverse, order) for order in (ASCENDING, DESCENDING, SHUFFLED)
    )
    for other in others:
        for one, two in zip((*first[0], *first[1]), (*other[0], *other[1]), strict=True):
            assert torch.equal(one, two)


@pytest.mark.parametrize(
    ("shared", "bins", "threads"),
    [(HOPPER, 8, [128, 128]), (LITTLE, 8, [128, 128]), (HOPPER, 64, [32, 32]),
     (LITTLE, 64, [32, 19]), (HOPPER, 2000, [4, 2])],
)  # fmt: skip
def test_as_many_points_a_block_as_fit(library, shared, bins, threads):
    tensors = arguments((40,), bins, scale=0.2)
    grads = [torch.ones(40, dtype=torch.float64), torch.ones(40, dtype=torch.float64)]
    values, of_tensors, found = run(library, tensors, grads, False, shared=shared)
    assert found == threads
    expected = exact(tensors, grads, False)
    for one, other in zip((*values, *of_tensors), expected, strict=True):
        assert_close(one, other, 1e-9)


def test_parameters_that_do_not_fit(library):
    tensors = arguments((2,), 5000)
    grads = [torch.ones(2, dtype=torch.float64)] * 2
    assert run(library, tensors, grads, False, shared=LITTLE)[2] == [0, 0]


@for_both_types
@for_both_ways
def test_infinity_and_nan(library, inverse, dtype):
    x = torch.tensor([math.inf, -math.inf, math.nan, 1e6, -1e6, 3.0, -3.0], dtype=dtype)
    tensors = [x, *(t.expand(7, -1).contiguous() for t in arguments((), 4, dtype)[1:])]
    values, of_tensors, _ = run(library, tensors, [torch.ones_like(x)] * 2, inverse)
    assert torch.equal(values[0].nan_to_num(7.0)[:5], x.nan_to_num(7.0)[:5])
    assert not values[1][:5].any()
    assert all(t.isfinite().all() for t in of_tensors)
    assert (of_tensors[0][:5] == 1).all()
    assert not any(t[:5].any() for t in of_tensors[1:])
