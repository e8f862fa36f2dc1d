"""Unknowns in conditions: parameters are learned, what another network gave is fixed."""

from __future__ import annotations

import copy
import functools

import pytest
import torch

from pyneural import models, nn, pde
from pyneural.training import LBFGS, Adam
from tests.pde.expressions import JetOnly

BOX = pde.Box(t=(0, 1), x=(-1, 1))
DRAWING = {"dtype": torch.float64}


class Ramp(pde.Equation):
    """u_t + u_x = 1: u = t where u = 0 at the start, which a linear network learns exactly."""

    inputs, outputs, domain = "tx", "u", BOX

    def residual(self, u):
        return u.t + u.x - 1


def linear(hidden=()):
    torch.manual_seed(0)
    return nn.MLP(2, hidden, 1).double()


def number(value=0.1):
    return torch.nn.Parameter(torch.tensor(value, dtype=torch.float64))


def pinn(condition, network=None, equation=None, **more):
    network = linear() if network is None else network
    start = {"start": pde.Initial(BOX, 0.0, 5, **DRAWING)}
    equation = Ramp() if equation is None else equation
    return models.PINN(network, start | {"unknown": condition} | more, equation=equation, points=20)


class Inflow(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c

    def forward(self, t):
        return self.c * t


class Holder:
    def __init__(self, c):
        self.constants = {"c": [c]}

    def value(self, t):
        return self.constants["c"][0] * t


def scaled(factor, t):
    return factor * t


WAYS = {
    "closure": lambda c: lambda t: c * t,
    "default": lambda c: lambda t, *, c=c: c * t,
    "partial": lambda c: functools.partial(scaled, c),
    "named partial": lambda c: functools.partial(scaled, factor=c),
    "nested function": lambda c: lambda t: (lambda: c * t)(),
    "method of an object": lambda c: Holder(c).value,
    "module": Inflow,
}


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("way", ["closure", "module"])
def test_a_constant_of_the_boundary_is_learned(way, fused):
    c = number()
    condition = pde.Dirichlet(BOX, WAYS[way](c), 6, **DRAWING)
    model = pinn(condition, linear() if fused else JetOnly(linear()))
    assert any(parameter is c for parameter in model.parameters())
    model.fit([Adam(3), LBFGS(40)], progress=False)
    assert c.item() == pytest.approx(1, abs=1e-5)  # u = t meets everything, and c t at the walls


@pytest.mark.parametrize("way", WAYS)
def test_gradient_of_an_unknown_is_that_of_the_formula(way):
    c = number()
    condition = pde.Dirichlet(BOX, WAYS[way](c), 6, **DRAWING)
    net, t = linear([5]), condition.points[:, :1]
    for _ in range(2):
        (found,) = torch.autograd.grad(condition.loss(net), c)
        torch.testing.assert_close(found, (-2 * t * (net(condition.points) - c * t)).mean())


@pytest.mark.parametrize("shape", [(), (6,), (6, 1)])
def test_values_that_are_parameters_are_learned_at_each_point(shape):
    c = torch.nn.Parameter(torch.full(shape, 0.1, dtype=torch.float64))
    points = BOX.sample_face("x", "high", 6, **DRAWING)
    for condition in (
        pde.Data(points, c),
        pde.Dirichlet(BOX, c, points),
        pde.Neumann(BOX, c, points, coordinate="x", side="high"),
        pde.Initial(BOX, c, points * torch.tensor([0.0, 1.0]), order=1),
    ):
        assert [p is c for p in condition.parameters()] == [True]
        (gradient,) = torch.autograd.grad(condition.loss(linear([5])), c)
        (residual,) = condition.residuals(linear([5]))
        expected = -2 * residual / 6
        torch.testing.assert_close(
            gradient, expected.sum() if shape == () else expected.view(shape)
        )


def test_a_constant_of_the_equation_may_stand_in_a_condition_too():
    class Decay(Ramp):
        def __init__(self):
            super().__init__()
            self.rate = number(2.0)

        def residual(self, u):
            return u.t + u.x - self.rate

    equation = Decay()
    condition = pde.Dirichlet(BOX, lambda t: equation.rate * t, 6, **DRAWING)
    assert not list(condition.parameters())
    model = pinn(condition, linear([5]), equation)
    assert condition.target.requires_grad
    (whole,) = torch.autograd.grad(sum(model.losses().values()), equation.rate)
    u, t = model.network(condition.points).detach(), condition.points[:, :1]
    at_walls = (-2 * t * (u - equation.rate * t)).mean()
    _, u_t, u_x = model.network.jet(model.collocation, [(0,), (1,)])
    torch.testing.assert_close(whole, at_walls - 2 * (u_t + u_x - equation.rate).mean())


def test_targets_of_another_network_are_fixed():
    other, points = linear([4]), BOX.sample(9, **DRAWING)
    with pytest.warns(UserWarning, match=r"Data: value: .* stays as it is now; write value.det"):
        given = pde.Data(points, other(points))
    function = pde.Dirichlet(BOX, lambda t, x: other(torch.stack([t, x], 1)), 6, **DRAWING)
    model = pinn(given, linear([5]), walls=function)
    assert torch.equal(given.target, other(points))
    assert function.unknown is None
    assert torch.equal(function.target, other(function.points))
    before = [p.clone() for p in other.parameters()]
    model.fit([Adam(3), LBFGS(3)], progress=False)
    assert all(map(torch.equal, before, other.parameters()))
    assert all(p.grad is None for p in other.parameters())
    assert not any(p is q for p in model.parameters() for q in other.parameters())


def test_an_unknown_made_without_gradients_is_learned():
    c = number()
    with torch.no_grad():
        condition = pde.Dirichlet(BOX, lambda t: c * t, 6, **DRAWING)
        pinn(condition)
    assert condition.target.requires_grad


def test_points_that_require_a_gradient_are_fixed_and_keep_the_fused_loss(monkeypatch):
    points = BOX.sample(20, **DRAWING).requires_grad_()
    condition = pde.Data(points, torch.zeros(20, dtype=torch.float64))
    model = models.PINN(linear([5]), {"data": condition}, equation=Ramp(), points=points)
    assert not condition.points.requires_grad
    assert not model.collocation.requires_grad
    model.fit(Adam(3), progress=False)
    with pytest.raises(ValueError, match=r"Data: points: expected fixed ones, got a torch.nn.Par"):
        pde.Data(torch.nn.Parameter(points.detach()), torch.zeros(20))


def test_unknowns_in_a_hard_condition_are_learned(nested):
    c, d = number(0.5), number(0.3)
    hard = pde.Hard(linear([5]), "tx", lambda x: c * x, d)
    assert {id(c), id(d)} < {id(p) for p in hard.parameters()}
    x = BOX.sample(7, **DRAWING)

    def by_hand(x):
        return c * x[:, 1:] + d * hard.network(x)

    torch.testing.assert_close(hard(x), by_hand(x))
    _, u_t = hard.jet(x, [(0,)])
    expected = nested(by_hand, x, (0,))
    torch.testing.assert_close(u_t, expected)
    for value, by_nested in ((hard(x), by_hand(x)), (u_t, expected)):
        for unknown in (c, d):
            mine, theirs = (
                torch.autograd.grad(
                    v.square().sum(), unknown, retain_graph=True, allow_unused=True
                )[0]
                for v in (value, by_nested)
            )
            zero = torch.zeros((), dtype=torch.float64)
            torch.testing.assert_close(
                zero if mine is None else mine, zero if theirs is None else theirs
            )


def test_a_network_is_learned_where_it_is_the_value():
    flux = Inflow(number())
    condition = pde.Neumann(BOX, flux, 6, **DRAWING)
    assert [p is flux.c for p in condition.parameters()] == [True]
    hard = pde.Hard(linear(), "tx", flux, 1.0)
    assert any(p is flux.c for p in hard.parameters())


class Hidden(Ramp):
    """Keeps its coefficient where torch does not see it."""

    def __init__(self, c):
        super().__init__()
        self.coefficients = [c]

    def residual(self, u):
        return u.t - self.coefficients[0] * u.xx - 1


def test_what_would_not_be_learned_is_refused():
    c, other = number(), linear([4])
    plain = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    with pytest.raises(ValueError, match=r"Dirichlet: value: .* torch.nn.Parameter, got a tensor"):
        pde.Dirichlet(BOX, plain, 5)
    with pytest.raises(ValueError, match=r"Dirichlet: value: .*variables of the function, got a t"):
        pde.Dirichlet(BOX, lambda t: plain * t, 5)
    with pytest.raises(ValueError, match=r"Hard: lift: .*variables of the function"):
        pde.Hard(linear(), "tx", lambda t: plain * t, 1.0)
    walls = pde.Dirichlet(BOX, 0.0, 5, **DRAWING)
    for equation in (Hidden(c), Hidden(plain)):
        with pytest.raises(
            ValueError, match=r"PINN: residual: expected unknowns .* not be learned"
        ):
            pinn(walls, linear([5]), equation)
    both = pde.Dirichlet(BOX, lambda t, x: c * other(torch.stack([t, x], 1)), 6, **DRAWING)
    with pytest.raises(ValueError, match=r"PINN: unknown: expected unknowns .*requires_grad_\(Fal"):
        pinn(both)
    other.requires_grad_(False)
    pinn(both)
    assert both.target.requires_grad


def test_a_copy_that_would_share_its_unknown_is_refused():
    c = number()
    with pytest.raises(TypeError, match="deepcopy: expected functions without parameters in them"):
        copy.deepcopy(pde.Dirichlet(BOX, lambda t: c * t, 5))
    copied = copy.deepcopy(pde.Dirichlet(BOX, Inflow(c), 5))
    assert next(copied.parameters()) is not c
    (gradient,) = torch.autograd.grad(copied.target.sum(), list(copied.parameters()))
    assert gradient > 0


def test_an_unknown_is_in_the_checkpoint(tmp_path):
    def train(steps, **options):
        c = number()
        points = torch.Generator().manual_seed(0)
        condition = pde.Dirichlet(BOX, lambda t: c * t, 6, generator=points, **DRAWING)
        given = {"unknown": condition}
        net, box = linear([5]), BOX.grid(3, 3, **DRAWING)
        model = models.PINN(net, given, equation=Ramp(), points=box)
        model.fit(Adam(steps, final=1.0), progress=False, **options)
        return c.item()

    path = {"checkpoint": tmp_path / "run.safetensors"}
    train(3, **path)
    assert train(6, resume=True, **path) == train(6) != 0.1
