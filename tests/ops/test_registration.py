"""What calls of the ops cost and reach: no Python in a plain backward, derivatives of backwards."""

from __future__ import annotations

import sys

import pytest
import torch

from pyneural import ops
from tests.ops.by_torch import second_derivatives
from tests.ops.networks import Network


def python_calls(function):
    """The files whose Python functions ran in a call."""
    files = []
    sys.setprofile(lambda frame, event, _: files.append(frame.f_code.co_filename))
    try:
        function()
    finally:
        sys.setprofile(None)
    return [file for file in files if "pyneural/" in file]


CALLS = {
    "dense": lambda n: ops.dense(n.x, n.weights[0], n.biases[0], "gelu"),
    "mlp": lambda n: ops.mlp(*n.parts, "gelu"),
    "mse_loss": lambda n: ops.mse_loss(n.x, n.x * 2),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_backward_without_a_graph_runs_no_python(name):
    network = Network.random((3, 4, 2), 5).leaves()
    value = CALLS[name](network).sum()
    assert not python_calls(lambda: value.backward(retain_graph=True))
    assert python_calls(lambda: torch.autograd.grad(value, network.x, create_graph=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_second_derivatives_keep_the_dtype(dtype):
    network = Network.random((3, 4), 5, dtype)
    tensors = network.x, network.weights[0], network.biases[0]
    for gradient in second_derivatives(lambda *t: ops.dense(*t, "silu"), tensors):
        assert gradient.dtype is dtype


def test_what_was_saved_gets_no_gradient():
    """The derivative of a backward reaches what was saved through the arguments it was made of."""
    x, weight, bias = (torch.randn(s, dtype=torch.float64) for s in ((5, 3), (4, 3), (4,)))
    saved = ops.dense(x, weight, bias, "tanh").requires_grad_()
    grad_y = torch.randn_like(saved).requires_grad_()
    backward = torch.ops.pyneural.dense_backward
    grad_x, *_ = backward(grad_y, x, weight, bias, saved, "tanh", [True] * 3)
    given = torch.autograd.grad(grad_x.sum(), [saved, grad_y], allow_unused=True)
    assert given[0] is None
    assert given[1].shape == grad_y.shape
