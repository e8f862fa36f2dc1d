"""Exact score matching against autograd, and on data whose score is known."""

from __future__ import annotations

import pytest
import torch

from pyneural import nn
from pyneural.training.losses import score_matching_loss
from tests.tolerances import FLOAT64_GRADIENT, assert_close


@pytest.mark.parametrize("hidden", [[7], [7, 6], [7, 6, 5]])
@pytest.mark.parametrize("energy", [False, True])
def test_against_autograd(hidden, energy):
    torch.manual_seed(0)
    network = nn.MLP(3, hidden, 1 if energy else 3).double()
    x = torch.randn(8, 3, dtype=torch.float64)

    def score(point):
        if energy:
            return -torch.func.grad(lambda p: network(p)[0])(point)
        return network(point)

    def loss(point):
        jacobian = torch.func.jacfwd(score)(point)
        return 0.5 * score(point).square().sum() + jacobian.trace()

    exact = torch.stack([loss(point) for point in x])
    found = score_matching_loss(network, x, energy=energy)
    assert_close(found, exact, FLOAT64_GRADIENT)
    parameters = list(network.parameters())
    wanted = torch.autograd.grad(exact.mean(), parameters, materialize_grads=True)
    given = torch.autograd.grad(found.mean(), parameters, materialize_grads=True)
    for one, other in zip(given, wanted, strict=True):
        assert_close(one, other, FLOAT64_GRADIENT)


def test_learns_the_score_of_a_gaussian():
    """A linear score has its minimum where it is -C^-1 (x - m)."""
    torch.manual_seed(0)
    root = torch.tensor([[1.0, 0.0], [0.5, 0.8]], dtype=torch.float64)
    x = torch.randn(500, 2, dtype=torch.float64) @ root.T + torch.tensor([1.0, -1.0])
    network = nn.MLP(2, [], 2).double()
    optimizer = torch.optim.LBFGS(network.parameters(), max_iter=100, tolerance_change=1e-14)

    def closure():
        optimizer.zero_grad()
        loss = score_matching_loss(network, x).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    covariance, mean = torch.cov(x.T, correction=0), x.mean(0)
    exact = -(x - mean) @ torch.linalg.inv(covariance)
    assert_close(network(x), exact, 1e-5)


def test_an_energy_has_one_output():
    with pytest.raises(ValueError, match="network: expected one output with energy=True, got 2"):
        score_matching_loss(nn.MLP(2, [4], 2), torch.ones(1, 2), energy=True)


def test_a_score_has_an_output_for_each_input():
    with pytest.raises(ValueError, match="expected 2 outputs as x has columns, got 1"):
        score_matching_loss(nn.MLP(2, [4], 1), torch.ones(1, 2))
