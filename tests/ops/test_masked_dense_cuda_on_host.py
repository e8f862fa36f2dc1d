"""The CUDA kernels of the sparsely connected layer where there is no GPU, on the host."""

from __future__ import annotations

import ctypes
import math
import sys

import pytest
import torch

from pyneural.ops import SparsityPattern
from pyneural.ops.activations import NEEDS_PREACTIVATION, VALUES
from tests.ops.cuda_on_host_build import ASCENDING, DESCENDING, SHUFFLED, build

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="coroutines by ucontext.h")
TOLERANCE = {torch.float64: 1e-14, torch.float32: 2e-6}  # in parts of the sums' terms
GUARD = 64  # elements behind a result, which must stay as they are
for_both_types = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
# rows, inputs, outputs, share of edges: one of each, off every tile and word, whole ones, full and
# empty masks, no inputs.
SHAPES = [
    (1, 1, 1, 1.0),
    (5, 33, 3, 0.5),
    (33, 31, 129, 0.3),
    (32, 64, 128, 1.0),
    (70, 130, 40, 0.1),
    (9, 200, 70, 0.6),
    (40, 20, 6, 0.0),
    (7, 0, 4, 0.5),
]


@pytest.fixture(scope="module")
def library():
    return build("masked_dense")


class Layer:
    """Fresh random tensors, and the kernels on them."""

    def __init__(self, library, shape, dtype, activation="linear"):
        rows, inputs, outputs, share = shape
        self.library, self.dtype, self.activation = library, dtype, activation
        self.sizes = rows, inputs, outputs
        self.mask = torch.rand(outputs, inputs) < share
        self.pattern = SparsityPattern.from_mask(self.mask)
        self.values, self.x, self.bias, self.grad_z = (
            torch.randn(size, dtype=torch.float64).to(dtype)
            for size in (len(self.pattern.inputs), (rows, inputs), outputs, (rows, outputs))
        )

    def weight(self, values=None):
        """The dense matrix, in float64."""
        values = self.values if values is None else values
        return torch.zeros(self.mask.shape, dtype=torch.float64).masked_scatter(
            self.mask, values.double()
        )

    def run(self, backward, order, multiprocessors, wanted, pattern):
        """Results of the shapes wanted, None for null, and what the function returns."""
        (rows, inputs, outputs), dtype = self.sizes, self.dtype
        results = [
            None
            if shape is None
            else torch.full((math.prod(shape) + GUARD,), math.nan, dtype=dtype)
            for shape in wanted
        ]
        pointers = [
            None if t is None else ctypes.c_void_p(t.data_ptr())
            for t in (
                pattern.starts, pattern.inputs, self.values, self.x, self.bias, *results[:2],
                self.grad_z, *results[2:],
            )
        ]  # fmt: skip
        function = getattr(self.library, f"run_{str(dtype).removeprefix('torch.')}")
        sizes = map(ctypes.c_int64, (rows, inputs, outputs, len(self.values)))
        code = function(
            backward, multiprocessors, order, self.activation.encode(), *sizes, *pointers
        )
        found = []
        for result, shape in zip(results, wanted, strict=True):
            if result is not None:
                assert result[math.prod(shape) :].isnan().all()
                found.append(result[: math.prod(shape)].view(shape))
        return found, code

    def forward(self, order=ASCENDING, pattern=None):
        """y, and z where f' needs it."""
        shape = self.sizes[0], self.sizes[2]
        z_shape = shape if self.activation in NEEDS_PREACTIVATION else None
        found, code = self.run(0, order, 1, (shape, z_shape, None, None), pattern or self.pattern)
        return found if code == 1 else code

    def backward(self, order=ASCENDING, multiprocessors=1, with_x=True):
        """grad_x if wanted, grad_values, and the parts into which the rows were split."""
        of_x = (self.sizes[0], self.sizes[1]) if with_x and self.sizes[1] else None
        found, splits = self.run(
            1, order, multiprocessors, (None, None, of_x, (len(self.values),)), self.pattern
        )
        assert splits > 0
        return *found, splits


def assert_close(found, expected, terms, dtype):
    """To the size of the largest sum of absolute terms."""
    assert found.shape == expected.shape
    if found.numel() > 0:
        error = (found.double() - expected).abs().max() / terms.max().clamp(min=1e-30)
        assert error <= TOLERANCE[dtype], float(error)


@for_both_types
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_against_a_dense_layer(library, shape, dtype):
    layer = Layer(library, shape, dtype)
    x, weight, grad_z = layer.x.double(), layer.weight(), layer.grad_z.double()
    (y,) = layer.forward()
    terms = x.abs() @ weight.abs().t() + layer.bias.double().abs()
    assert_close(y, x @ weight.t() + layer.bias.double(), terms, dtype)
    *grads, splits = layer.backward()
    assert splits == 1
    products = [(grad_z.t() @ x)[layer.mask], (grad_z.abs().t() @ x.abs())[layer.mask]]
    assert_close(grads[-1], *products, dtype)
    if shape[1]:
        assert_close(grads[0], grad_z @ weight, grad_z.abs() @ weight.abs(), dtype)
    alone, _ = layer.backward(with_x=False)
    assert torch.equal(alone, grads[-1])


@pytest.mark.parametrize("activation", VALUES)
def test_activations(library, activation):
    layer = Layer(library, (11, 20, 135, 0.4), torch.float64, activation)
    y, *z = layer.forward()
    exact = layer.x @ layer.weight().t() + layer.bias
    torch.testing.assert_close(y, VALUES[activation](exact), rtol=1e-12, atol=1e-12)
    assert len(z) == (activation in NEEDS_PREACTIVATION)
    for each in z:
        torch.testing.assert_close(each, exact, rtol=1e-12, atol=1e-12)


def test_without_a_bias(library):
    layer = Layer(library, (4, 7, 5, 0.5), torch.float64)
    layer.bias = None
    torch.testing.assert_close(layer.forward()[0], layer.x @ layer.weight().t())


@for_both_types
def test_rows_are_split_over_idle_multiprocessors(library, dtype):
    layer = Layer(library, (700, 40, 50, 0.5), dtype)
    x, grad_z = layer.x.double(), layer.grad_z.double()
    _, grad_values, splits = layer.backward(multiprocessors=4)
    assert splits == 4
    terms = (grad_z.abs().t() @ x.abs())[layer.mask]
    assert_close(grad_values, (grad_z.t() @ x)[layer.mask], terms, dtype)


def test_the_order_of_threads_makes_no_difference(library):
    layer = Layer(library, (300, 70, 40, 0.5), torch.float32, "silu")
    first, *others = (
        [*layer.forward(order), *layer.backward(order, multiprocessors=2)[:2]]
        for order in (ASCENDING, DESCENDING, SHUFFLED)
    )
    for other in others:
        assert all(torch.equal(*pair) for pair in zip(first, other, strict=True))


@for_both_types
def test_absent_edges_see_no_infinity_and_no_nan(library, dtype):
    layer = Layer(library, (40, 50, 45, 0.2), dtype)
    layer.x[3, 7], layer.x[35, 49] = math.inf, math.nan
    layer.grad_z[2, 5], layer.grad_z[39, 44] = -math.inf, math.nan
    (y,) = layer.forward()
    grad_x, _, _ = layer.backward()
    weight = layer.weight()
    for found, left, right, bias in (
        (y, layer.x, weight.t(), layer.bias.double()),
        (grad_x, layer.grad_z, weight, 0.0),
    ):
        terms = torch.where(right != 0, left.double()[:, :, None] * right, 0.0)
        expected = terms.sum(1) + bias
        assert expected.isfinite().sum() > expected.numel() - 100
        assert not expected.isfinite().all()
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize(
    "change",
    [
        lambda starts, inputs: (starts, inputs.index_fill(0, torch.tensor([-1]), 40)),
        lambda starts, inputs: (starts, inputs.index_fill(0, torch.tensor([0]), -1)),
        lambda starts, inputs: (starts + 1, inputs),
        lambda starts, inputs: (starts - 1, inputs),
        lambda starts, inputs: (starts.flip(0), inputs),
        lambda starts, inputs: (starts, inputs.index_fill(0, torch.arange(2), 5)),
    ],
    ids=["an input too large", "negative", "too many edges", "a negative start", "falling starts",
         "an edge twice"],
)  # fmt: skip
def test_indices_out_of_range_stop_the_kernel(library, change):
    layer = Layer(library, (3, 40, 6, 1.0), torch.float32)
    pattern = SparsityPattern(*change(layer.pattern.starts, layer.pattern.inputs))
    assert layer.forward(pattern=pattern) == -1
