"""The simplest recurrent network: its equation, rolled and unrolled, and its gradient in time."""

from __future__ import annotations

import torch

from pyneural.models import SimpleRNN
from tests.tolerances import FLOAT64, FLOAT64_GRADIENT, assert_close


def network_and_series(steps=12):
    torch.manual_seed(0)
    return SimpleRNN(2, 7, 3).double(), torch.randn(4, steps, 2, dtype=torch.float64)


def test_rolled_is_unrolled():
    network, x = network_and_series()
    x.requires_grad_()
    rolled, unrolled = network(x), network.unrolled(x)
    assert_close(rolled, unrolled, FLOAT64)
    leaves = [x, *network.parameters()]
    weights = torch.randn_like(rolled)
    grads = [torch.autograd.grad((y * weights).sum(), leaves) for y in (rolled, unrolled)]
    for one, other in zip(*grads, strict=True):
        assert_close(one, other, FLOAT64_GRADIENT)


def test_the_equation_by_hand():
    network = SimpleRNN(1, 1, 1).double()
    with torch.no_grad():
        for weight, value in zip(network.parameters(), (0.5, -0.8, 2.0), strict=True):
            weight.fill_(value)
    x = torch.tensor([[[1.0], [-2.0]]], dtype=torch.float64)
    first = torch.tanh(torch.tensor(0.5, dtype=torch.float64))
    second = torch.tanh(-0.8 * first - 1.0)
    assert_close(network(x)[0, :, 0], 2 * torch.stack([first, second]), FLOAT64)


def test_gradient_through_time_is_that_of_finite_differences():
    """Of the last output with respect to every input, the first one included."""
    network, x = network_and_series()
    x.requires_grad_()
    (grad,) = torch.autograd.grad(network(x)[:, -1].sum(), x)
    step = 1e-5
    with torch.no_grad():
        for t in range(x.shape[1]):
            for i in range(x.shape[2]):
                shift = torch.zeros_like(x)
                shift[:, t, i] = step
                ends = network(x + shift)[:, -1].sum(1) - network(x - shift)[:, -1].sum(1)
                torch.testing.assert_close(grad[:, t, i], ends / (2 * step), atol=1e-8, rtol=1e-6)


def test_the_future_does_not_change_the_past():
    network, x = network_and_series()
    changed = x.clone()
    changed[:, 8:] += 1
    before, after = network(x), network(changed)
    assert torch.equal(before[:, :8], after[:, :8])
    assert not torch.isclose(before[:, 8:], after[:, 8:]).any()
