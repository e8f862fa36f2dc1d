"""The dense layer's CUDA kernels on a GPU, against float64 torch on the CPU."""

from __future__ import annotations

import pytest
import torch

from pyneural import ops
from pyneural.ops.activations import VALUES

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
TOLERANCE = {
    torch.float64: 1e-13,
    torch.float32: 3e-6,
    torch.bfloat16: 2e-2,
    torch.float16: 3e-3,
}
SHAPES = [(1, 1, 1), (7, 33, 5), (129, 784, 128), (4096, 512, 512), (30_000, 64, 64)]


def run(function, leaves, grad_y):
    y = function(*leaves)
    return [y, *torch.autograd.grad(y, leaves, grad_y)]


def compare(shape, activation, dtype, bias=True):
    rows, inputs, outputs = shape
    sizes = [(rows, inputs), (outputs, inputs), (outputs,)][: 3 if bias else 2]
    exact = [torch.randn(size, dtype=torch.float64) for size in sizes]
    exact[1] *= inputs**-0.5
    lowered = [tensor.to(dtype) for tensor in exact]
    grad_y = torch.randn(rows, outputs, dtype=torch.float64).to(dtype)

    def plain(x, weight, b=None):
        return VALUES[activation](torch.nn.functional.linear(x, weight, b))

    def kernel(x, weight, b=None):
        return ops.dense(x, weight, b, activation)

    expected = run(plain, [t.double().requires_grad_() for t in lowered], grad_y.double())
    found = run(kernel, [t.cuda().requires_grad_() for t in lowered], grad_y.cuda())
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == dtype
        assert (a.cpu().double() - b).norm() <= TOLERANCE[dtype] * b.norm()
    again = run(kernel, [t.cuda().requires_grad_() for t in lowered], grad_y.cuda())
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes_cuda(shape, dtype):
    compare(shape, "tanh", dtype)
    compare(shape, "linear", dtype, bias=False)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("activation", VALUES)
def test_activations_cuda(activation, dtype):
    compare((200, 70, 50), activation, dtype)


def test_strided_input_and_leading_dimensions_cuda():
    x = torch.randn(40, 6, 5, device="cuda").transpose(0, 1)
    weight, bias = torch.randn(7, 5, device="cuda"), torch.randn(7, device="cuda")
    expected = torch.relu(torch.nn.functional.linear(x, weight, bias))
    torch.testing.assert_close(ops.dense(x, weight, bias, "relu"), expected)
    assert ops.dense(x[:, :0], weight, bias, "relu").shape == (6, 0, 7)


def test_tf32_cuda(monkeypatch):
    x, weight = (torch.randn(256, 256, device="cuda") for _ in range(2))
    exact = x.double() @ weight.double().t()
    errors = []
    for allowed in (False, True):
        monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", allowed)
        found = ops.dense(x, weight, None, "linear")
        errors.append(float((found - exact).norm() / exact.norm()))
    assert errors[0] < 1e-6 < 1e-5 < errors[1] < 1e-2
