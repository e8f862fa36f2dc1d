"""Derivatives of expressions in a residual, against nested autograd and exact derivatives."""

from __future__ import annotations

import warnings

import pytest
import torch

from pyneural.nn import MLP
from pyneural.pde import Operator
from tests.pde.expressions import (
    Autograd,
    Checked,
    JetOnly,
    WithColumns,
    check,
    equation_of,
    network,
    points,
)

# Each: the residual as it is written, and by nested autograd. Inputs are t, x, y.
EXPANDED = {
    "power": (lambda u: (u**3 - u).xx, lambda d: d(d.u**3 - d.u, 1, 1)),
    "negative power": (lambda u: (2 + u).pow(-2).x, lambda d: d((2 + d.u) ** -2, 1)),
    "product": (lambda u, v: (u * v).laplacian, lambda d: d.laplacian(d.u * d.v)),
    "product of derivatives": (
        lambda u, v: (u.x * v.y).tx,
        lambda d: d(d(d.u, 1) * d(d.v, 2), 0, 1),
    ),
    "conservation": (lambda u: u.t + (u**2 / 2).x, lambda d: d(d.u, 0) + d(d.u**2 / 2, 1)),
    "function": (lambda u: torch.exp(u).t, lambda d: d(torch.exp(d.u), 0)),
    "functions": (
        lambda u, v: (torch.sin(u) * torch.cos(v) + torch.tanh(u * v) + torch.sqrt(v * v + 1)).xy,
        lambda d: d(
            torch.sin(d.u) * torch.cos(d.v) + torch.tanh(d.u * d.v) + (d.v**2 + 1).sqrt(), 1, 2
        ),
    ),
    "logarithm": (lambda u: torch.log(3 + u).xx, lambda d: d(torch.log(3 + d.u), 1, 1)),
    "quotient": (lambda u, v: (u / (2 + v * v)).xx, lambda d: d(d.u / (2 + d.v**2), 1, 1)),
    "quotient of a constant": (
        lambda u: (1 / (3 + u)).laplacian,
        lambda d: d.laplacian(1 / (3 + d.u)),
    ),
    "fourth order": (lambda u: (u * u).xxxx, lambda d: d(d.u**2, 1, 1, 1, 1)),
    "biharmonic": (lambda u: u.laplacian.laplacian, lambda d: d.laplacian(d.laplacian(d.u))),
    "of a derivative": (lambda u: u.x.t + u.xx.y, lambda d: d(d.u, 1, 0) + d(d.u, 1, 1, 2)),
    "of a function": (
        lambda u: torch.exp(torch.sin(u)).laplacian,
        lambda d: d.laplacian(torch.exp(torch.sin(d.u))),
    ),
    "fourth of a function": (
        lambda u: torch.tanh(2 * u).xxyy,
        lambda d: d(torch.tanh(2 * d.u), 1, 1, 2, 2),
    ),
    "coordinates": (lambda u, x: (x**2 * u.x).x, lambda d: d(d.x1**2 * d(d.u, 1), 1)),
    "cylinder": (lambda u, x: (x * u.x).x / x, lambda d: d(d.x1 * d(d.u, 1), 1) / d.x1),
    "functions of coordinates": (
        lambda u, x, t: (torch.sin(x) / t * u).xt,
        lambda d: d(torch.sin(d.x1) / d.t * d.u, 1, 0),
    ),
    "of a coordinate": (lambda u, x, y: u * x.x + x.y + (x * y).xy, lambda d: d.u + 1),
    "diffusivity": (
        lambda u: ((1 + u**2) * u.x).x + ((1 + u**2) * u.y).y,
        lambda d: d((1 + d.u**2) * d(d.u, 1), 1) + d((1 + d.u**2) * d(d.u, 2), 2),
    ),
    "constants": (
        lambda u: (2 * u + 1).x - (3 - u).x + (-u).y,
        lambda d: 3 * d(d.u, 1) - d(d.u, 2),
    ),
}
# With operations that have no instruction.
PLAIN = {
    "step": (
        lambda u, v: torch.where(u > 0, u * v, u**2).x,
        lambda d: d(torch.where(d.u > 0, d.u * d.v, d.u**2), 1),
    ),
    "error function": (lambda u: torch.erf(u).xx, lambda d: d(torch.erf(d.u), 1, 1)),
    "hyperbolic": (
        lambda u: (torch.sinh(u) * torch.cosh(u)).xy,
        lambda d: d(torch.sinh(d.u) * torch.cosh(d.u), 1, 2),
    ),
    "sigmoid": (lambda u: torch.sigmoid(u).laplacian, lambda d: d.laplacian(torch.sigmoid(d.u))),
    "absolute": (lambda u, v: (abs(u) * v).xx, lambda d: d(abs(d.u) * d.v, 1, 1)),
    "root": (lambda u: ((2 + u) ** 1.5).xxx, lambda d: d((2 + d.u) ** 1.5, 1, 1, 1)),
    "exponential": (lambda u: (2**u).xy, lambda d: d(2**d.u, 1, 2)),
    "inverse": (
        lambda u: (torch.atan(u) + torch.asin(u / 9) + torch.rsqrt(2 + u)).xx,
        lambda d: d(torch.atan(d.u) + torch.asin(d.u / 9) + (2 + d.u) ** -0.5, 1, 1),
    ),
    "logarithms": (
        lambda u: (torch.log1p(u**2) + torch.expm1(u) + torch.tan(u / 9)).xx,
        lambda d: d(torch.log1p(d.u**2) + torch.expm1(d.u) + torch.tan(d.u / 9), 1, 1),
    ),
    "other bases": (
        lambda u: (torch.exp2(u) * torch.log2(9 + u) + torch.log10(9 + u)).xx,
        lambda d: d(torch.exp2(d.u) * torch.log2(9 + d.u) + torch.log10(9 + d.u), 1, 1),
    ),
    "of errors and angles": (
        lambda u: (torch.erfc(u) + torch.acos(u / 9) + torch.reciprocal(9 + u) + torch.relu(u)).xx,
        lambda d: d(torch.erfc(d.u) + torch.acos(d.u / 9) + 1 / (9 + d.u) + torch.relu(d.u), 1, 1),
    ),
    "larger": (
        lambda u, v: torch.maximum(u, v).x + torch.minimum(u, v**2).y,
        lambda d: d(torch.maximum(d.u, d.v), 1) + d(torch.minimum(d.u, d.v**2), 2),
    ),
    "switch": (lambda u, v: ((v > 0) * u).x, lambda d: d((d.v > 0) * d.u, 1)),
    "of columns": (
        lambda u, x: (torch.erf(x) * u.x + torch.where(x > 0.8, 2.0, 0.1) * u).x,
        lambda d: (
            d(torch.erf(d.x1) * d(d.u, 1), 1)
            + torch.where(d.x1 > 0.8, 2 + 0 * d.x1, 0.1) * d(d.u, 1)
        ),
    ),
}


@pytest.mark.parametrize("name", EXPANDED)
def test_expanded_derivatives_equal_nested_autograd_fused_and_not(name, monkeypatch):
    calls, fused = [], MLP.jet_loss
    monkeypatch.setattr(MLP, "jet_loss", lambda *a: calls.append(a) or fused(*a))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(*EXPANDED[name], lambda net: (net, JetOnly(net)))
    assert len(calls) == 1


@pytest.mark.parametrize("name", PLAIN)
def test_derivatives_of_what_has_no_instruction_are_expanded_too(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # none by nested autograd
        check(*PLAIN[name], lambda net: (JetOnly(net),))


def test_equal_parts_are_written_once_and_the_laplacian_is_one_channel():
    flux = equation_of(lambda u: torch.exp(u).laplacian)
    laplacian, *gradient = flux.derivatives
    assert repr(laplacian) == "Laplacian(1, 2)"
    assert gradient == [(1,), (2,)]
    system = equation_of(lambda u, v: ((u * v).x, (v * u).x + u.x))
    assert system.derivatives == ((1,),)


def test_coefficients_are_constants_and_are_learned():
    k = torch.nn.Parameter(torch.tensor(0.7, dtype=torch.float64))
    p = torch.nn.Parameter(torch.tensor([2.5], dtype=torch.float64))
    for way in (lambda net: net, JetOnly):
        equation = Checked(lambda self, u, v, x: (self.k * u.x).x + (torch.exp(self.k) * v).y, k=k)
        net, x = network(), points()
        d = Autograd(net, x)
        expected = (k * d(d.u, 1, 1) + torch.exp(k) * d(d.v, 2)).square().mean()
        loss = equation.loss(way(net), x)
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(*(torch.autograd.grad(v, k)[0] for v in (loss, expected)))
    equation = Checked(lambda self, u, v, x: ((3 + u) ** self.p).xx, p=p)
    expected = d((3 + d.u) ** p, 1, 1).square().mean()
    loss = equation.loss(net, x)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(*(torch.autograd.grad(v, p)[0] for v in (loss, expected)))


def test_functions_of_coordinates_are_columns():
    net, x = network(), points()
    fused = WithColumns(net)
    k = MLP(1, [5], 1).double()
    own = torch.nn.Sequential(
        torch.nn.Linear(1, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)
    ).double()
    d = Autograd(net, x)
    cases = [
        (lambda self, u, v, x: (torch.erf(x) * u.x).x, lambda: torch.erf(d.x1)),
        (lambda self, u, v, x: (torch.lgamma(x) * u.x).x, lambda: torch.lgamma(d.x1)),
        (lambda self, u, v, x: (self.k(x[:, None])[:, 0] * u.x).x, lambda: k(d.x[:, 1:2])[:, 0]),
        (lambda self, u, v, x: (self.own(torch.stack([x], 1))[:, 0] * u.x).x,
         lambda: own(d.x[:, 1:2])[:, 0]),
        (lambda self, u, v, x: (torch.where(x > 0.8, x**2, 2.0) * u.x).x,
         lambda: torch.where(d.x1 > 0.8, d.x1**2, 2.0)),
    ]  # fmt: skip
    for function, field in cases:
        equation = Checked(function, k=k, own=own)
        expected = d(field() * d(d.u, 1), 1).square().mean()
        wanted = [*net.parameters(), *equation.parameters()]
        options = {"materialize_grads": True, "retain_graph": True}
        gradients = torch.autograd.grad(expected, wanted, **options)
        with warnings.catch_warnings(record=True):
            losses = [equation.loss(fused, x), equation.loss(JetOnly(net), x)]
        for loss in losses:
            torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-12)
            mine = torch.autograd.grad(loss, wanted, **options)
            torch.testing.assert_close(mine, gradients, rtol=1e-7, atol=1e-9)
    assert len(fused.calls) == len(cases)
    assert all("column" in repr(program) for program in fused.calls)


def test_a_function_of_coordinates_that_is_written_twice_is_one_column():
    def k(x, y):
        return 1 + torch.erf(x) / 2 + torch.special.erfc(y)

    def once(u, x, y):
        factor = k(x, y)
        return (factor * u.x).x + (factor * u.y).y

    def twice(u, x, y):
        return (k(x, y) * u.x).x + (k(x, y) * u.y).y

    x = torch.rand(50, 2, dtype=torch.float64)
    net = MLP(2, [8], 1).double()
    fused = WithColumns(net)
    for residual in (once, twice):
        loss = Operator(residual, x, inputs="xy").loss(fused)
        points = x.clone().requires_grad_()
        u, nested = net(points), []
        (du,) = torch.autograd.grad(u.sum(), points, create_graph=True)
        for axis in (0, 1):
            flux = k(*points.T) * du[:, axis]
            nested.append(torch.autograd.grad(flux.sum(), points, create_graph=True)[0][:, axis])
        torch.testing.assert_close(loss, sum(nested).square().mean())
    first, second = fused.calls
    assert repr(first) == repr(second)


def test_random_numbers_are_drawn_each_time():
    def residual(u, x):
        return u + torch.rand_like(x) - torch.rand_like(x)

    x = torch.rand(50, 1, dtype=torch.float64)
    loss = Operator(residual, x, inputs="x").loss(lambda x: 0 * x)
    assert 0.05 < loss < 0.5  # 1/6 in the mean


def test_tables_are_columns_without_a_derivative():
    net, x = network(), points()
    table = torch.rand(11, dtype=torch.float64)
    fused = WithColumns(net)
    for way in (fused, JetOnly(net)):
        value = equation_of(lambda u: u.x - table * u.t).loss(way, x)
        _, u_x, u_t = net.jet(x, [(1,), (0,)])
        expected = (u_x[:, 0] - table * u_t[:, 0]).square().mean()
        torch.testing.assert_close(value, expected)
        with pytest.raises(ValueError, match=r"derivative: expected .*tensor \[11\] whose depen"):
            equation_of(lambda u: (table * u).x).loss(way, x)
    assert len(fused.calls) == 1


def test_products_under_an_operator_with_coefficients():
    from pyneural.ops import LinearOperator
    from pyneural.pde.language.residual import derivative

    operator = LinearOperator({(0, 1): 2.0, (1, 1): -0.5, (0,): 3.0})
    equation = equation_of(lambda u, v: derivative(u * v / (2 + u**2), operator))
    net, x = network(), points()
    d = Autograd(net, x)
    f = d.u * d.v / (2 + d.u**2)
    expected = 2 * d(f, 0, 1) - 0.5 * d(f, 1, 1) + 3 * d(f, 0)
    torch.testing.assert_close(equation.residuals(net, x)[0], expected)
    torch.testing.assert_close(equation.loss(net, x), expected.square().mean())


def test_helpers_and_intermediate_variables():
    def stress(u, v):
        return 2 * u.x, u.y + v.x

    def momentum(u, v):
        xx, xy = stress(u, v)
        flux = [u * u - xx, u * v - xy]
        return flux[0].x + flux[1].y

    check(
        momentum,
        lambda d: d(d.u**2 - 2 * d(d.u, 1), 1) + d(d.u * d.v - d(d.u, 2) - d(d.v, 1), 2),
        lambda net: (net, JetOnly(net)),
    )


def test_an_exact_solution_of_an_equation_in_conservation_form():
    class Exact(torch.nn.Module):
        """u = sqrt(x / t) solves t u_t + (u^3 / 3)_x ... = 0 by hand."""

        def jet(self, z, derivatives):
            t, x = z.T
            u = (x / t).sqrt()
            table = {(): u, (0,): -u / (2 * t), (1,): u / (2 * x)}
            return tuple(table[tuple(i)][:, None] for i in ((), *derivatives))

    equation = equation_of(lambda u: u.t + (u**3 / 3).x, "tx", "u")
    assert equation.loss(Exact(), points(inputs=2)) < 1e-28


def test_math_of_constants_is_exact_in_float64():
    equation = equation_of(lambda u, x: torch.where(x > 0.8, 0.1 * x, x).x * u, "x", "u")
    net, x = network(1, 1), points(inputs=1)
    u = net(x)[:, 0]
    (found,) = equation.residuals(net, x)
    torch.testing.assert_close(found, torch.where(x[:, 0] > 0.8, 0.1 * u, u), rtol=1e-15, atol=0)


@pytest.mark.parametrize("exponent", [0, 0.0, 1, 2, 3])
def test_powers_where_the_base_is_zero(exponent):
    net, x = network(), points()
    x[:4, 1] = 0
    d = Autograd(net, x)
    equation = equation_of(lambda u, x: u.t + (x**exponent * u).xx)
    expected = d(d.u, 0) + d(d.x1**exponent * d.u, 1, 1)
    torch.testing.assert_close(equation.residuals(net, x)[0], expected)
    torch.testing.assert_close(equation.loss(net, x), expected.square().mean())
