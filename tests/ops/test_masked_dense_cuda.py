"""The sparsely connected layer's CUDA kernels on a GPU, against float64 torch on the CPU."""

from __future__ import annotations

import math

import pytest
import torch

from pyneural import ops
from pyneural.ops import SparsityPattern
from pyneural.ops.activations import VALUES

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
TOLERANCE = {torch.float64: 1e-13, torch.float32: 3e-6}
# rows, inputs, outputs, share of edges
SHAPES = [(1, 1, 1, 1.0), (7, 33, 5, 0.5), (129, 784, 130, 0.3), (30_000, 64, 64, 0.5)]


def run(function, leaves, grad_y):
    y = function(*leaves)
    return [y, *torch.autograd.grad(y, leaves, grad_y)]


def compare(shape, activation, dtype):
    rows, inputs, outputs, share = shape
    mask = torch.rand(outputs, inputs) < share
    pattern = SparsityPattern.from_mask(mask)
    on_gpu = SparsityPattern.from_mask(mask.cuda())
    sizes = (rows, inputs), len(pattern.inputs), outputs, (rows, outputs)
    *given, grad_y = (torch.randn(size, dtype=torch.float64).to(dtype) for size in sizes)

    def plain(x, values, bias):
        weight = torch.zeros(mask.shape, dtype=values.dtype).masked_scatter(mask, values)
        return VALUES[activation](torch.nn.functional.linear(x, weight, bias))

    def kernel(x, values, bias):
        return ops.masked_dense(x, values, on_gpu, bias, activation)

    exact = run(plain, [t.double().requires_grad_() for t in given], grad_y.double())
    found, again = (
        run(kernel, [t.cuda().requires_grad_() for t in given], grad_y.cuda()) for _ in range(2)
    )
    for one, same, other in zip(found, again, exact, strict=True):
        assert torch.equal(one, same)
        assert (one.cpu().double() - other).norm() <= TOLERANCE[dtype] * other.norm()


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes_cuda(shape, dtype):
    compare(shape, "linear", dtype)
    compare(shape, "tanh", dtype)


@pytest.mark.parametrize("activation", VALUES)
def test_activations_cuda(activation):
    compare((200, 70, 50, 0.4), activation, torch.float64)


def test_strided_input_no_bias_and_second_derivatives_cuda():
    mask = torch.rand(7, 5, device="cuda") < 0.5
    pattern = SparsityPattern.from_mask(mask)
    values = torch.randn(len(pattern.inputs), device="cuda", dtype=torch.float64)
    x = torch.randn(40, 6, 5, device="cuda", dtype=torch.float64).transpose(0, 1)
    weight = torch.zeros(mask.shape, device="cuda", dtype=torch.float64)
    expected = torch.tanh(x @ weight.masked_scatter(mask, values).t())
    torch.testing.assert_close(ops.masked_dense(x, values, pattern, None, "tanh"), expected)
    leaves = [x[:2, :2].clone().requires_grad_(), values.requires_grad_()]
    assert torch.autograd.gradgradcheck(
        lambda x, v: ops.masked_dense(x, v, pattern, None, "tanh"), leaves
    )


def test_absent_edges_see_no_infinity_cuda():
    mask = torch.tensor([[True, False], [True, True]], device="cuda")
    pattern = SparsityPattern.from_mask(mask)
    x = torch.tensor([[1.0, math.inf]], device="cuda")
    y = ops.masked_dense(x, torch.ones(3, device="cuda"), pattern)
    assert y.tolist() == [[1.0, math.inf]]
