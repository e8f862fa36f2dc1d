"""Losses of equations and conditions under torch.compile(fullgraph=True)."""

from __future__ import annotations

import gc

import pytest
import torch

from pyneural import models, nn, pde
from tests.pde.expressions import Checked, JetOnly, equation_of, network, points

BOX = pde.Box(t=(0, 1), x=(-1, 1))
DRAWING = {"dtype": torch.float64}


def compiled(function, **options):
    torch._dynamo.reset()
    return torch.compile(function, fullgraph=True, **{"backend": "eager", **options})


def check(found, expected, wanted):
    torch.testing.assert_close(found, expected)
    options = {"materialize_grads": True}
    gradients = (torch.autograd.grad(loss, wanted, **options) for loss in (found, expected))
    torch.testing.assert_close(*gradients)


RESIDUALS = {
    "fused": lambda u: u.t + u * u.x - 0.1 * u.xx,
    "expanded": lambda u, x: ((1 + u**2) * x * u.x).x,
    "column": lambda u, x: (torch.erf(x) * u.x).x,
    "system": lambda u, v: (u.t - v.x, u * v),
    "not lowered": lambda u: torch.where(u > 0, u.t, torch.erf(u).xx),
}


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("name", RESIDUALS)
def test_an_equation_for_any_number_of_points(name, dynamic):
    equation, net = equation_of(RESIDUALS[name]), network()
    loss = compiled(lambda x: equation.loss(net, x), dynamic=dynamic)
    for count in (11, 7, 23):
        x = points(count)
        check(loss(x), equation.loss(net, x), list(net.parameters()))


def test_with_the_whole_compiler_weights_coefficients_and_points():
    k = torch.nn.Parameter(torch.tensor(0.7, dtype=torch.float64))
    equation = Checked(lambda self, u, v, x: ((self.k * u.x).x, torch.exp(self.k) * v), k=k)
    net, x = network(), points().requires_grad_()
    weights = [torch.rand(11, dtype=torch.float64), torch.tensor(2.0).double()]
    for weight in weights:
        weight.requires_grad_()

    def loss(x, weights):
        return equation.loss(net, 2 * x, weights)

    found = compiled(loss, backend="aot_eager")(x, weights)
    check(found, loss(x, weights), [*net.parameters(), k, x, *weights])


def test_conditions():
    h = torch.nn.Parameter(torch.tensor(0.7, dtype=torch.float64))
    net, own = network(2, 1), torch.rand(8, dtype=torch.float64).requires_grad_()
    flux = pde.Operator(lambda u: u.n + h * u, 8, domain=BOX, part="x_high", **DRAWING)
    conditions = [
        flux,
        pde.Initial(BOX, lambda x: h * x, 8, **DRAWING),
        pde.Neumann(BOX, 1.0, 8, **DRAWING),
        pde.Periodic(BOX, "x", 8, **DRAWING),
        pde.Operator(lambda u: u, points(8, 2), inputs="tx", quadrature=torch.rand(8)),
    ]

    def total():
        return sum(condition.loss(net) for condition in conditions) + flux.loss(net, own)

    check(compiled(total)(), total(), [*net.parameters(), h, own])


def test_a_training_step_of_a_pinn():
    equation = equation_of(RESIDUALS["expanded"], "tx", "u")
    start = {"start": pde.Initial(BOX, 0.0, 5, **DRAWING)}
    weights = {"residual": torch.nn.Parameter(torch.rand(20, dtype=torch.float64) + 1)}
    model = models.PINN(
        network(2, 1), start, equation=equation, domain=BOX, points=20, weights=weights
    )

    def total():
        return sum(model.losses().values())

    check(compiled(total)(), total(), list(model.parameters()))


def test_a_changed_constant_is_seen_and_no_gradient_is_made_in_vain():
    equation, net, x = Checked(lambda self, u, v, x: self.rate * u.x), network(), points()
    equation.rate = 1.0
    loss = compiled(lambda x: equation.loss(net, x))
    first = loss(x).item()
    equation.rate = 3.0
    assert loss(x).item() == pytest.approx(9 * first)
    with torch.no_grad():
        assert not loss(x).requires_grad
    frozen = equation.loss(net.requires_grad_(False), x)
    torch.testing.assert_close(compiled(lambda x: equation.loss(net, x))(x), frozen)


def test_unknowns_that_a_graph_would_lose_are_refused():
    k = torch.nn.Parameter(torch.tensor(0.7, dtype=torch.float64))
    net, x = JetOnly(network()), points()
    equation = equation_of(lambda u: k * u.x)
    with pytest.raises(ValueError, match=r"torch.compile: Given.loss: expected unknowns that are"):
        compiled(lambda x: equation.loss(net, x))(x)


def test_graphs_keep_nothing_alive():
    from pyneural.pde.language import compiled as module

    def run():
        equation, net = equation_of(RESIDUALS["fused"], "tx", "u"), nn.MLP(2, [4], 1)
        compiled(lambda x: equation.loss(net, x))(torch.rand(5, 2))
        assert len(module._numbers) == before + 2

    gc.collect()
    before = len(module._numbers)
    run()
    torch._dynamo.reset()
    gc.collect()
    assert len(module._numbers) == before
