"""The CUDA kernels of whole networks, mlp and jets, on a GPU, against the same ops on the CPU."""

from __future__ import annotations

import itertools

import pytest
import torch

from pyneural import ops

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
GPU = "cuda"
TOLERANCE = {torch.float64: 1e-10, torch.float32: 3e-5}
# Inputs, widths, outputs; rows: narrow, off every tile, wide.
SHAPES = [((3, 20, 20, 2), 300), ((2, 33, 1), 129), ((2, 128, 128, 1), 70), ((1, 300, 3), 40)]
DERIVATIVES = [(0,), (0, 0)]


def mlp(x, weights, biases):
    return [ops.mlp(x, weights, biases, "sin", "sigmoid")]


def jet(x, weights, biases):
    return ops.jet_mlp(x, weights, biases, "tanh", DERIVATIVES)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("op", [mlp, jet])
def test_as_on_the_cpu(op, shape, dtype):
    sizes, rows = shape
    torch.manual_seed(0)
    pairs = list(itertools.pairwise(sizes))
    weights = [torch.randn(o, i, dtype=torch.float64) / i**0.5 for i, o in pairs]
    biases = [torch.randn(o, dtype=torch.float64) for o in sizes[1:]]
    x = torch.randn(rows, sizes[0], dtype=torch.float64)

    def run(device, dtype):
        moved = [t.to(device, dtype).requires_grad_() for t in (x, *weights, *biases)]
        outputs = op(moved[0], moved[1 : len(pairs) + 1], moved[len(pairs) + 1 :])
        loss = sum(out.square().sum() for out in outputs)
        return [*outputs, *torch.autograd.grad(loss, moved)]

    found, again, exact = run(GPU, dtype), run(GPU, dtype), run("cpu", torch.float64)
    for one, same, other in zip(found, again, exact, strict=True):
        assert torch.equal(one, same)  # the same bits on every run
        assert (one.double().cpu() - other).norm() <= TOLERANCE[dtype] * other.norm()
