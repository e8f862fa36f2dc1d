"""The kernels of residuals' Jacobians and Gram matrices on a GPU, against the CPU in float64."""

from __future__ import annotations

import pytest
import torch

from pyneural import ops
from pyneural.ops import record_residual
from tests.nn.called_ops import CalledOps
from tests.ops.networks import Network

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
TOLERANCE = {torch.float64: 1e-11, torch.float32: 1e-5}
DERIVATIVES = [(0,), (1,), (1, 1)]
# One panel and many; points of several blocks, the last of them with one point.
SIZES = [((2, 9, 1), 70), ((2, 20, 20, 20, 1), 10_001), ((2, 40, 40, 1), 4097)]


def system(jet, x, c, r):
    first = jet[1, 0] + jet[0, 0] * jet[2, 0] * r[0] - c[0] * jet[3, 0]
    return first, (first * x[0]).sin() + c[1] * jet[0, 0]


PROGRAM = record_residual(system)


def subject(widths, points):
    network = Network.random(widths, points)
    draw = torch.Generator().manual_seed(1)
    others = (torch.randn(size, generator=draw, dtype=torch.float64) for size in ([2], [1, points]))
    return network, *others


def arguments(network, *others):
    return *network.parts, "tanh", DERIVATIVES, PROGRAM, *others


def moved(dtype, network, *others):
    to = {"dtype": dtype, "device": "cuda"}
    return arguments(network.map(lambda t: t.to(**to)), *(t.to(**to) for t in others))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_against_the_cpu_cuda(size, dtype):
    given = subject(*size)
    exact = (
        *ops.jet_mlp_residual_jacobian(*arguments(*given)),
        *ops.jet_mlp_gram(*arguments(*given)),
    )
    on_device = moved(dtype, *given)
    with CalledOps() as called:
        runs = [
            [*ops.jet_mlp_residual_jacobian(*on_device), *ops.jet_mlp_gram(*on_device)]
            for _ in range(2)
        ]
    assert "pyneural.jet_mlp_gram.default" in called.names
    assert "pyneural.jet_mlp_jacobian.default" not in called.names
    assert all(map(torch.equal, *runs))
    assert torch.equal(runs[0][4], runs[0][4].T)
    for found, expected in zip(runs[0], exact, strict=True):
        assert found.dtype == dtype
        assert (found.cpu().double() - expected).norm() <= TOLERANCE[dtype] * expected.norm()


def test_in_a_graph_cuda():
    """The program of the residuals travels with the launches."""
    given = moved(torch.float64, *subject(*SIZES[1]))
    expected = ops.jet_mlp_gram(*given)  # also the first launch
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = ops.jet_mlp_gram(*given)
    graph.replay()
    assert all(map(torch.equal, found, expected))


def test_gradients_and_transforms_cuda():
    """By plain torch, as on the CPU."""
    network, *others = subject((2, 4, 1), 7)
    given = moved(torch.float64, network, *others)
    x = given[0].requires_grad_()
    (found,) = torch.autograd.grad(ops.jet_mlp_gram(*given)[2].sum(), x)
    on_cpu = list(arguments(network, *others))
    on_cpu[0] = on_cpu[0].requires_grad_()
    (expected,) = torch.autograd.grad(ops.jet_mlp_gram(*on_cpu)[2].sum(), on_cpu[0])
    torch.testing.assert_close(found.cpu(), expected)
