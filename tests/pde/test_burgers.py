from __future__ import annotations

import math

import pytest
import torch

from pyneural.nn import MLP
from pyneural.pde import Burgers, cole_hopf


def test_residual_is_that_of_the_paper(nested):
    burgers, network = Burgers(), MLP(2, [9, 9], 1).double()
    x = burgers.domain.sample(17, dtype=torch.float64)
    u, u_t, u_x, u_xx = (nested(network, x, i)[:, 0] for i in ((), (0,), (1,), (1, 1)))
    expected = u_t + u * u_x - 0.01 / math.pi * u_xx
    torch.testing.assert_close(burgers.residuals(network, x)[0], expected)
    torch.testing.assert_close(burgers.loss(network, x), expected.square().mean())


def test_the_exact_solution_has_no_loss():
    class Exact(torch.nn.Module):
        def forward(self, x):
            return cole_hopf(x[:, 0], x[:, 1])[:, None]

    conditions = Burgers().conditions(64, dtype=torch.float64)
    assert list(conditions) == ["initial", "boundary"]
    for condition in conditions.values():
        assert len(condition.points) == 32
        assert condition.loss(Exact()) < 1e-28
    zero = lambda x: torch.zeros(len(x), 1, dtype=x.dtype)  # noqa: E731
    assert conditions["initial"].loss(zero) > 0.1
    assert conditions["boundary"].loss(zero) == 0


def test_hard_conditions_hold(generator):
    burgers = Burgers()
    network = burgers.hard(MLP(2, [8], 1))
    for condition in burgers.conditions(40, generator=generator).values():
        assert condition.loss(network) < 1e-12
    inside = burgers.domain.sample(10, generator=generator)
    assert (network(inside) + torch.sin(math.pi * inside[:, 1:])).abs().min() > 0


def test_a_learned_viscosity_gets_its_gradient():
    burgers = Burgers(torch.nn.Parameter(torch.tensor(0.05)))
    network, x = MLP(2, [8], 1), burgers.domain.sample(30)
    burgers.loss(network, x).backward()
    _, u_xx = network.jet(x, [(1, 1)])
    expected = (-2 * burgers.residuals(network, x)[0] * u_xx[:, 0]).mean()
    torch.testing.assert_close(burgers.nu.grad, expected, rtol=1e-4, atol=1e-6)
    assert list(burgers.parameters()) == [burgers.nu]


def test_grid_is_the_literature_s():
    points, u = Burgers().test_grid()
    assert points.shape == (25600, 2)
    assert u.shape == (25600, 1)
    torch.testing.assert_close(
        points.reshape(100, 256, 2)[:, 0, 0], torch.arange(100, dtype=torch.float64) / 100
    )
    torch.testing.assert_close(u[:256, 0], Burgers.initial(points[:256, 1]))


@pytest.mark.parametrize("nu", [0.0, -1.0, math.nan, math.inf])
def test_bad_viscosity(nu):
    with pytest.raises(ValueError, match=r"nu: expected a (viscosity > 0|finite number), got"):
        Burgers(nu)
