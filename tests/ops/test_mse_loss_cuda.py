"""The CUDA kernels of the mean squared error on a GPU, against float64 torch on the CPU."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from pyneural import ops
from tests.nn.called_ops import CalledOps

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
TOLERANCE = {torch.float64: 1e-14, torch.float32: 1e-6}


def run(function, a, y):
    leaves = [tensor.detach().requires_grad_() for tensor in (a, y)]
    loss = function(*leaves)
    return [loss, *torch.autograd.grad(loss * 3, leaves)]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", [(), (1,), (1025,), (100, 784), (3, 1 << 20)], ids=str)
def test_against_torch_cuda(shape, dtype):
    a, y = torch.randn(2, *shape, dtype=torch.float64).to(dtype)
    exact = run(F.mse_loss, a.double(), y.double())
    with CalledOps() as called:
        found, again = (run(ops.mse_loss, a.cuda(), y.cuda()) for _ in range(2))
    assert "pyneural.mse_loss.default" in called.names
    for one, same, other in zip(found, again, exact, strict=True):
        assert torch.equal(one, same)
        assert (one.cpu().double() - other).norm() <= TOLERANCE[dtype] * other.norm()


def test_of_nothing_and_second_derivatives_cuda():
    assert ops.mse_loss(torch.ones(0, device="cuda"), torch.ones(0, device="cuda")).isnan()
    pair = [torch.randn(4, 5, dtype=torch.float64, device="cuda").requires_grad_() for _ in "ay"]
    assert torch.autograd.gradgradcheck(ops.mse_loss, pair)


def test_others_are_torchs_cuda():
    a = torch.randn(8, device="cuda")
    with CalledOps() as called:
        ops.mse_loss(a.half(), a.half())
        ops.mse_loss(a.view(2, 4).t(), a.view(2, 4).t())
    assert "pyneural.mse_loss.default" not in called.names
