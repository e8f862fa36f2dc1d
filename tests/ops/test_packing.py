"""Packed operands of parts that differ by one: a buffer for the larger one holds each of them."""

from __future__ import annotations

import pytest
import torch

from pyneural import nn, ops


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# Cut into two parts for the caches of 32 and 48 KiB, and of AVX-512.
@pytest.mark.parametrize("depth", [401, 593, 1041])
@pytest.mark.usefixtures("one_thread")
def test_dense_of_depths_that_are_cut_unevenly(depth):
    torch.manual_seed(0)
    x, w = torch.randn(128, depth, requires_grad=True), torch.randn(260, depth, requires_grad=True)
    y, grad_y = ops.dense(x, w), torch.randn(128, 260)
    torch.testing.assert_close(y, x @ w.T, rtol=1e-4, atol=1e-3)
    rows, few = torch.randn(depth, 260), torch.randn(depth, 128)
    layer = torch.randn(128, 260, requires_grad=True)
    (grad,) = torch.autograd.grad(ops.dense(rows, layer), layer, few)
    torch.testing.assert_close(grad, few.T @ rows, rtol=1e-4, atol=1e-3)
    grad_x, grad_w = torch.autograd.grad(y, (x, w), grad_y)
    torch.testing.assert_close(grad_x, grad_y @ w, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(grad_w, grad_y.T @ x, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("batch", "hidden", "steps"), [(17, 64, 1), (513, 128, 2)])
def test_lstm_of_groups_that_differ_by_a_row(batch, hidden, steps):
    torch.manual_seed(0)
    ours, theirs = nn.LSTM(hidden, hidden), torch.nn.LSTM(hidden, hidden)
    theirs.load_state_dict(ours.state_dict())
    x, grad = torch.randn(2, steps, batch, hidden)
    for _ in range(5):
        found, exact = (
            torch.autograd.grad(layer(x)[0], list(layer.parameters()), grad)
            for layer in (ours, theirs)
        )
        torch.testing.assert_close(found, exact, rtol=1e-3, atol=1e-3)


def test_padding_rows_of_an_mlp_count_for_nothing():
    """Of an infinite input the gradient of a weight is infinite, and not NaN."""
    x, w = torch.tensor([[torch.inf]]), torch.ones(1, 1, requires_grad=True)
    y = ops.mlp(x, [w], [torch.zeros(1)], "linear")
    assert torch.autograd.grad(y.sum(), w)[0].item() == torch.inf
