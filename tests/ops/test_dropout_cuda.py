"""Dropout's CUDA kernel on a GPU, against the kernel of the CPU."""

from __future__ import annotations

import pytest
import torch

from pyneural import ops
from tests.nn.called_ops import CalledOps

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
drop = torch.ops.pyneural.dropout.default
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (5, 13), (64, 3), (300, 1001)], ids=str)
@pytest.mark.parametrize("p", [0.1, 0.5, 1.0])
def test_same_mask_as_on_the_cpu_cuda(shape, dtype, p):
    x, seed = torch.randn(shape, dtype=torch.float64).to(dtype), torch.tensor([1 << 40 | 12345])
    expected = drop(x, seed, p)
    for place in (seed, seed.cuda()):
        assert torch.equal(drop(x.cuda(), place, p).cpu(), expected)


def test_layer_gradients_and_seed_of_torch_cuda():
    x = torch.randn(70, 9, dtype=torch.float64, device="cuda", requires_grad=True)
    with CalledOps() as called:
        y = ops.dropout(x, 0.25)
    assert "pyneural.dropout.default" in called.names
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(gradient * x, y)
    runs = []
    for _ in range(2):
        torch.manual_seed(3)
        runs.append(ops.dropout(x, 0.5))
    assert torch.equal(*runs)
    assert not torch.equal(ops.dropout(x, 0.5), runs[0])


def test_a_graph_draws_anew_at_each_replay_cuda():
    x = torch.ones(1000, device="cuda")
    ops.dropout(x, 0.5)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = ops.dropout(x, 0.5)
    found = []
    for _ in range(2):
        graph.replay()
        found.append(y.clone())
    assert set(found[0].unique().tolist()) == {0.0, 2.0}
    assert not torch.equal(*found)
