"""The CUDA kernels of the dense layer where there is no GPU, tensor cores included, on the host."""

from __future__ import annotations

import ctypes
import math
import sys
from random import Random

import pytest
import torch

from pyneural.ops.activations import NEEDS_PREACTIVATION, VALUES
from tests.ops.cuda_on_host_build import ASCENDING, DESCENDING, SHUFFLED, build

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="coroutines by ucontext.h")

# Largest error in parts of the largest element: of the sum, and of what is stored.
TOLERANCE = {
    torch.float64: 1e-14,
    torch.float32: 2e-6,
    torch.bfloat16: 2**-8,
    torch.float16: 2**-11 + 1e-5,
}
DTYPES = list(TOLERANCE)
ALONG = [(True, True), (True, False), (False, False), (False, True)]


@pytest.fixture(scope="module")
def library():
    return build("dense")


def pointer(tensor):
    return ctypes.c_void_p(0 if tensor is None else tensor.data_ptr())


def call(library, name, dtype, *arguments):
    function = getattr(library, f"{name}_{str(dtype).removeprefix('torch.')}")
    code = function(
        *(
            pointer(a) if a is None or isinstance(a, torch.Tensor)
            else a.encode() if isinstance(a, str)
            else a
            for a in arguments
        )
    )  # fmt: skip
    assert code >= 0
    return code


def sizes(*values):
    return [ctypes.c_int64(value) for value in values]


def product(library, a, b, bias, activation="linear", *, along=(True, True), order=ASCENDING,
            multiprocessors=1, with_z=False, tf32=False):  # fmt: skip
    """y and z of the kernel for a [rows, depth], b [columns, depth], and the number of splits."""
    rows, columns, depth = len(a), len(b), a.shape[1]
    y, z = (torch.full((rows, columns), float("nan"), dtype=a.dtype) for _ in range(2))
    left, right = (m if k else m.t().contiguous() for m, k in zip((a, b), along, strict=True))
    splits = call(
        library, "product", a.dtype, multiprocessors, order, activation, int(tf32),
        *sizes(rows, columns, depth), left, int(along[0]), right, int(along[1]), bias, y,
        z if with_z else None,
    )  # fmt: skip
    return y, z, splits


def exact(a, b, bias):
    z = a.double() @ b.double().t()
    return z if bias is None else z + bias.double()


def assert_close(found, expected, dtype, terms=None):
    """To the size of the largest element or, where a sum may cancel, of the sum of its terms."""
    size = (expected if terms is None else terms).abs().max().clamp(min=1e-30)
    error = (found.double() - expected).abs().max() / size
    assert error <= TOLERANCE[dtype], float(error)


def operands(rows, columns, depth, dtype):
    scale = max(depth, 1) ** -0.5
    return (
        torch.randn(rows, depth, dtype=torch.float64).to(dtype),
        (scale * torch.randn(columns, depth, dtype=torch.float64)).to(dtype),
        torch.randn(columns, dtype=torch.float64).to(dtype),
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("along", ALONG)
@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 3, 7), (130, 67, 40), (136, 136, 96)])
def test_product(library, shape, along, dtype):
    a, b, bias = operands(*shape, dtype)
    y, z, splits = product(library, a, b, bias, along=along, with_z=True)
    assert_close(y, exact(a, b, bias), dtype, terms=exact(a.abs(), b.abs(), bias.abs()))
    assert torch.equal(y, z)
    assert splits == 1
    for order in (DESCENDING, SHUFFLED):
        assert torch.equal(product(library, a, b, bias, along=along, order=order)[0], y)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("along", ALONG)
def test_shapes_of_every_run(library, along, dtype):
    """Whatever a tile and a chunk hold; the shape is another one each time."""
    random = Random()
    shape = random.randint(1, 150), random.randint(1, 150), random.randint(0, 150)
    a, b, bias = operands(*shape, dtype)
    y, _, _ = product(library, a, b, bias, along=along, order=SHUFFLED)
    terms = exact(a.abs(), b.abs(), bias.abs())
    error = (y.double() - exact(a, b, bias)).abs().max() / terms.max()
    assert error <= TOLERANCE[dtype], shape


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("along", [(True, False), (False, True)])
@pytest.mark.parametrize(("lines", "first"), [(96, 0), (96, 1), (96, 2), (34, 0), (33, 0), (33, 3)])
def test_lines_that_begin_anywhere(library, lines, first, along, dtype):
    """At 16 bytes, as the widest copies need it, at 4 or 8, or at any element."""
    rows, columns, depth = (40, lines, lines) if along[0] else (lines, 40, lines)
    a, b, bias = operands(rows, columns, depth, dtype)
    left, right = (
        torch.cat([m.new_full([first], math.nan), (m if k else m.t()).flatten()])[first:]
        for m, k in zip((a, b), along, strict=True)
    )
    y = torch.full((rows, columns), math.nan, dtype=dtype)
    call(library, "product", dtype, 1, ASCENDING, "linear", 0, *sizes(rows, columns, depth),
         left, int(along[0]), right, int(along[1]), bias, y, None)  # fmt: skip
    assert_close(y, exact(a, b, bias), dtype, terms=exact(a.abs(), b.abs(), bias.abs()))


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_empty_sum_is_the_bias(library, dtype):
    a, b, bias = operands(3, 5, 0, dtype)
    product(library, *operands(3, 5, 200, dtype))  # whose chunks are still in shared memory
    for along in ALONG:
        y, _, splits = product(library, a, b, bias, along=along)
        assert torch.equal(y, bias.expand(3, 5))
        assert splits == 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_long_sums_are_split_over_idle_multiprocessors(library, dtype):
    a, b, _ = operands(9, 10, 1700, dtype)
    y, _, splits = product(library, a, b, None, along=(False, False), multiprocessors=8)
    assert splits == 3
    assert_close(y, exact(a, b, None), dtype)


def test_tf32_is_taken_only_where_it_is_allowed(library):
    a, b, _ = operands(16, 8, 64, torch.float32)
    expected = exact(a, b, None)
    errors = [
        float((product(library, a, b, None, tf32=tf32)[0] - expected).norm() / expected.norm())
        for tf32 in (False, True)
    ]
    assert errors[0] < 5e-7
    assert 1e-5 < errors[1] < 1e-3


def test_long_sums_keep_the_precision_of_float32(library):
    """Although tensor cores cut their sums off, which adds up where all terms have one sign."""
    a, b = (torch.rand(16, 784) for _ in range(2))
    expected = exact(a, b, None)
    found = product(library, a, b, None)[0]
    assert float((found - expected).norm() / expected.norm()) < 3e-7


@pytest.mark.parametrize("activation", VALUES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_epilogue_and_grad(library, activation, dtype):
    a, b, bias = operands(7, 5, 6, dtype)
    y, z, _ = product(library, a, b, bias, activation, with_z=True)
    exact_z = exact(a, b, bias)
    assert_close(z, exact_z, dtype)
    assert_close(y, VALUES[activation](exact_z), dtype)

    rows, columns = 601, 70  # three blocks of rows, three of columns, neither of them whole
    saved = torch.randn(rows, columns, dtype=torch.float64).to(dtype)
    grad_y = torch.randn(rows, columns, dtype=torch.float64).to(dtype)
    leaf = saved.double().requires_grad_()
    value = VALUES[activation](leaf)
    (expected,) = torch.autograd.grad(value, leaf, grad_y.double())
    if activation not in NEEDS_PREACTIVATION:
        saved = value.detach().to(dtype)
    for order in (ASCENDING, DESCENDING, SHUFFLED):
        grad_z = torch.full_like(saved, float("nan"))
        grad_bias = torch.full((columns,), float("nan"), dtype=dtype)
        shape = sizes(rows, columns)
        call(library, "grad", dtype, order, activation, *shape, grad_y, saved, grad_z, grad_bias)
        if dtype == torch.float64:
            assert_close(grad_z, expected, dtype)
            assert_close(grad_bias, expected.sum(0), dtype)
        else:  # the saved value is rounded too
            assert (grad_z.double() - expected).abs().max() < 0.02 * expected.abs().max()
    alone = torch.full((columns,), float("nan"), dtype=dtype)
    call(library, "grad", dtype, ASCENDING, activation, *shape, grad_y, saved, None, alone)
    assert torch.equal(alone, grad_bias)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halves_are_stored_to_the_nearest(library, dtype):
    values = torch.randn(128, 1, dtype=torch.float64)
    special = torch.tensor([[0.0], [-0.0], [float("inf")], [float("nan")], [6e4], [1e-7]])
    a = torch.cat([values, special.double()]).to(dtype)
    one = torch.ones(1, 1, dtype=dtype)
    y, _, _ = product(library, a, one, None)
    torch.testing.assert_close(y, a, rtol=0, atol=0, equal_nan=True)
    half_step = torch.finfo(dtype).eps / 2
    ties = torch.tensor([[1, half_step], [1, 3 * half_step], [-1, -half_step]], dtype=dtype)
    y, _, _ = product(library, ties, torch.ones(1, 2, dtype=dtype), None)
    assert torch.equal(y[:, 0], ties.float().sum(1).to(dtype))
    third = torch.full((1, 1), 1 / 3, dtype=dtype)
    y, _, _ = product(library, a[:128], third, None)
    assert torch.equal(y, (a[:128].float() * third.float()).to(dtype))


def test_infinities_and_what_tf32_rounds_to_one(library):
    """Their remainders in tf32 are NaN and the opposite infinity."""
    a, b, bias = operands(16, 8, 64, torch.float32)
    a[0, 3], a[1, 4], a[2, :2] = math.inf, -math.inf, torch.tensor([math.inf, -math.inf])
    a[3, 5], a[4, 6] = torch.finfo(torch.float32).max, math.nan
    b[:4, 3:7] = torch.tensor([1.0, 0.5, 0.25, 2.0])
    b[4:, 5] *= 0.1
    b[5, 2] = math.inf
    y, _, splits = product(library, a, b, bias)
    expected = a @ b.t() + bias
    assert splits == 1
    assert expected.isinf().sum() > 20
    assert torch.equal(y.isfinite(), expected.isfinite())
    torch.testing.assert_close(y, expected, equal_nan=True)
