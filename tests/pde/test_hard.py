from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pyneural import ops
from pyneural.nn import MLP
from pyneural.pde import Burgers, Hard

DERIVATIVES = [(0,), (1,), (1, 1), (0, 1), (1, 0, 1), (2, 1, 1), (1, 1, 1, 1), (2, 0, 1, 2)]


def hard(outputs=1):
    return Hard(
        MLP(3, [6, 5], outputs, input_range=([0.0, -1.0, 0.0], [1.0, 1.0, 2.0])),
        "txy",
        lift=lambda x, y: -torch.sin(math.pi * x) * torch.exp(y),
        distance=lambda y, t, x: t * (1 - x**2) * torch.cos(y * t),
    ).double()


@pytest.mark.parametrize("outputs", [1, 2])
def test_jets_agree_with_nested_autograd(outputs, nested):
    network, x = hard(outputs), torch.rand(5, 3, dtype=torch.float64)
    jets = network.jet(x, DERIVATIVES)
    for jet, indices in zip(jets, [(), *DERIVATIVES], strict=True):
        torch.testing.assert_close(jet, nested(network, x, indices), rtol=1e-9, atol=1e-9)


def test_laplacian_is_the_sum_of_second_derivatives():
    network, x = hard(), torch.rand(5, 3, dtype=torch.float64)
    _, laplacian, u_xx, u_yy = network.jet(x, [ops.Laplacian(1, 2), (1, 1), (2, 2)])
    torch.testing.assert_close(laplacian, u_xx + u_yy)


def test_gradients_reach_the_parameters_and_the_points(nested):
    network = hard()
    x = torch.rand(4, 3, dtype=torch.float64, requires_grad=True)
    _, u_xx = network.jet(x, [(1, 1)])
    (ours,) = torch.autograd.grad(u_xx.sum(), x, retain_graph=True)
    torch.testing.assert_close(ours[:, 1:2], nested(network, x, (1, 1, 1)))
    parameters = list(network.parameters())
    ours = torch.autograd.grad(u_xx.square().sum(), parameters, allow_unused=True)
    theirs = torch.autograd.grad(
        nested(network, x, (1, 1)).square().sum(), parameters, allow_unused=True
    )
    for mine, yours in zip(ours, theirs, strict=True):
        zero = torch.zeros(1, dtype=torch.float64)
        torch.testing.assert_close(*(zero if g is None else g.sum()[None] for g in (mine, yours)))


def test_constants_and_leading_dimensions():
    network = Hard(MLP(1, [4], 2), "x", lift=3.0, distance=0.0)
    x = torch.rand(2, 5, 1)
    assert torch.equal(network(x), torch.full((2, 5, 2), 3.0))
    u, u_x = network.jet(x[0], [(0,)])
    assert torch.equal(u, torch.full((5, 2), 3.0))
    assert (u_x == 0).all()


def test_an_equation_takes_it_as_a_network(nested):
    burgers = Burgers()
    network = burgers.hard(MLP(2, [6, 6], 1)).double()
    x = burgers.domain.sample(9, dtype=torch.float64)
    u, u_t, u_x, u_xx = (nested(network, x, i)[:, 0] for i in ((), (0,), (1,), (1, 1)))
    expected = (u_t + u * u_x - burgers.nu * u_xx).square().mean()
    torch.testing.assert_close(burgers.loss(network, x), expected)
    assert next(iter(network.state_dict())) == "network.layers.0.weight"


def test_a_wrong_name_is_refused_at_construction():
    with pytest.raises(ValueError, match=r"Hard: distance: argument 'y'.*coordinates t, x"):
        Hard(MLP(2, [4], 1), "tx", lift=0.0, distance=lambda y: y)


@pytest.mark.parametrize(
    ("lift", "text"),
    [
        (
            None,
            "Hard: lift: expected a number, a tensor or a function of coordinates, got NoneType",
        ),
        ("sin(x)", "Hard: lift: expected a number, .* got str"),
        (lambda x: math.sin(x), r"Hard: lift: function: .* one number .*write torch.sin\(x\)"),
        (np.sin, r"lift: function: .* got numpy.sin; write lambda x: torch.sin\(x\)"),
        (
            lambda x: np.sin(x),
            r"lift: function: expected functions of torch, .*got one of numpy; "
            r"write torch.sin\(x\) for numpy.sin\(x\)",
        ),
        (lambda x: torch.as_tensor(np.interp(x, [0, 1], [0, 1])), "lift: .* got one of numpy"),
        (lambda x: torch.from_numpy(x.numpy()), "lift: .* got one of numpy"),
        (lambda x: x if x > 0 else -x, r"Hard: lift: function: .* one number .*torch.where\("),
    ],
)
def test_a_lift_that_has_no_derivatives_is_refused_at_construction(lift, text):
    with pytest.raises(ValueError, match=text):
        Hard(MLP(2, [4], 1), "tx", lift=lift, distance=lambda t: t)


def test_numbers_of_numpy_are_taken():
    u = Hard(MLP(2, [4], 1), "tx", lambda x: np.float64(2) * x * np.pi, lambda t: np.sin(1) * t)
    x = torch.rand(3, 2)
    _, u_x = u.jet(torch.cat([torch.zeros(3, 1), x[:, 1:]], 1), [(1,)])
    torch.testing.assert_close(u_x, torch.full((3, 1), 2 * math.pi))


def test_networks_of_another_dtype_than_torchs_default_in_the_conditions():
    class Lift(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = MLP(1, [4], 1).double()

        def forward(self, x):
            return self.inner(x[:, None])[:, 0]

    u, x = Hard(MLP(2, [4], 1).double(), "tx", Lift(), lambda t: t), torch.rand(3, 2).double()
    torch.testing.assert_close(u(x), u.lift.inner(x[:, 1:]) + x[:, :1] * u.network(x))
