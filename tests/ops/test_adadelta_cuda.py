"""Adadelta's CUDA kernel on a GPU, against torch's own optimiser."""

from __future__ import annotations

import copy

import pytest
import torch

from pyneural.optim import Adadelta
from tests.nn.called_ops import CalledOps
from tests.optim.test_in_one_call import SHAPES, same, take_steps

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("options", [{}, {"lr": 0.3, "rho": 0.8, "eps": 1e-3, "weight_decay": 0.1}])
@pytest.mark.parametrize("copies", [1, 30])
def test_steps_are_torchs_cuda(copies, options, dtype):
    ours = [torch.randn(s, dtype=dtype, device="cuda").requires_grad_() for s in SHAPES * copies]
    torchs = copy.deepcopy(ours)
    pairs = [
        (ours, Adadelta(ours, **options)),
        (torchs, torch.optim.Adadelta(torchs, **options)),
    ]
    with CalledOps() as called:
        take_steps(pairs, 3)
    assert "pyneural.adadelta_.default" in called.names
    same(ours, torchs, dtype)
    states = [optimizer.state_dict()["state"] for _, optimizer in pairs]
    for index, state in states[1].items():
        assert state.keys() == states[0][index].keys()
        assert states[0][index]["step"].device == state["step"].device
        same(states[0][index].values(), state.values(), dtype)


def test_a_captured_step_is_refused_as_torchs_is_cuda():
    weight = torch.ones(3, device="cuda", requires_grad=True)
    weight.grad = torch.ones_like(weight)
    optimizer = Adadelta([weight])
    optimizer.step()
    with pytest.raises(RuntimeError, match="capturable"), torch.cuda.graph(torch.cuda.CUDAGraph()):
        optimizer.step()


def test_several_devices_take_torchs_step_cuda():
    weights = [torch.ones(3, device=d).requires_grad_() for d in ("cpu", "cuda")]
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    with CalledOps() as called:
        Adadelta(weights).step()
    assert "pyneural.adadelta_.default" not in called.names
    assert torch.equal(weights[0], weights[1].cpu())
