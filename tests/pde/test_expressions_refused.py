"""Derivatives that no rule gives: by nested autograd with a warning, or refused."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch

from pyneural import nn
from pyneural.nn import MLP
from tests.pde.expressions import (
    Autograd,
    Checked,
    JetOnly,
    WithColumns,
    equation_of,
    network,
    points,
)


def test_nested_autograd_is_the_fallback_and_says_so():
    net, x = network(), points()
    d = Autograd(net, x)
    equation = equation_of(lambda u, v: (torch.lgamma(2 + u) * v).xx)
    with pytest.warns(
        UserWarning, match=r"Given.residual: derivative: 'lgamma' has no rule, so th"
    ):
        (found,) = equation.residuals(net, x)
    expected = d(torch.lgamma(2 + d.u) * d.v, 1, 1)
    torch.testing.assert_close(found, expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # said once
        loss = equation.loss(net, x)
    gradients = (
        torch.autograd.grad(v.square().mean(), net.parameters(), retain_graph=True)
        for v in (found, expected)
    )
    torch.testing.assert_close(*gradients)
    torch.testing.assert_close(loss, expected.square().mean())
    with torch.no_grad():
        (again,) = equation.residuals(net, x)
    assert not again.requires_grad
    torch.testing.assert_close(again, expected)
    net.requires_grad_(False)
    torch.testing.assert_close(equation.residuals(net, x)[0], expected)
    closure = nn.MLP(2, [5], 1).double()
    joint = Checked(lambda self, u, v, x: (u * self.k(torch.stack([u, v], 1))[:, 0]).x, k=closure)
    with pytest.warns(UserWarning, match="'linear' has no rule"):
        (found,) = joint.residuals(net, x)
    torch.testing.assert_close(found, d(d.u * closure(torch.stack([d.u, d.v], 1))[:, 0], 1))


def test_a_single_point_is_no_special_case():
    net, x = network(), points(1)
    d, k = Autograd(net, x), MLP(1, [5], 1).double().requires_grad_(False)
    equation = Checked(lambda self, u, v, x: (self.k(x[:, None])[:, 0] * u.x).x, k=k)
    expected = d(k(d.x[:, 1:2])[:, 0] * d(d.u, 1), 1)
    with warnings.catch_warnings(record=True):
        torch.testing.assert_close(equation.residuals(net, x)[0], expected)
        for way in (WithColumns(net), JetOnly(net)):
            torch.testing.assert_close(equation.loss(way, x), expected.square().mean())
            cubic = equation_of(lambda u, x: (Cube.apply(x) * u.x).x)
            by_function = d(d.x1**3 * d(d.u, 1), 1).square().mean()
            torch.testing.assert_close(cubic.loss(way, x), by_function)


class Cube(torch.autograd.Function):
    """x^3."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * grad


class Tenfold(torch.autograd.Function):
    """x, with ten times its gradient."""

    @staticmethod
    def forward(ctx, x):
        return x * 1

    @staticmethod
    def backward(ctx, grad):
        return 10 * grad


def test_functions_with_a_backward_of_their_own():
    net, x = network(), points()
    d = Autograd(net, x)
    with warnings.catch_warnings(record=True):
        for function, expected in (
            (lambda u: Cube.apply(u) + torch.erf(u), d.u**3 + torch.erf(d.u)),
            (lambda u: (Cube.apply(u) * u).x, d(d.u**4, 1)),
            (lambda u, x: (Cube.apply(x) * u).x, d(d.x1**3 * d.u, 1)),
            (lambda u: Tenfold.apply(u) - 1, Tenfold.apply(d.u) - 1),
            (lambda u: fixed_weight(u) * u.x, torch.exp(-d.u).detach() * d(d.u, 1)),
        ):
            for way in (net, JetOnly(net)):
                loss = equation_of(function).loss(way, x)
                torch.testing.assert_close(loss, expected.square().mean())
                options = {"retain_graph": True, "materialize_grads": True}
                mine, theirs = (
                    torch.autograd.grad(v, net.parameters(), **options)
                    for v in (loss, expected.square().mean())
                )
                torch.testing.assert_close(mine, theirs)
    with pytest.raises(ValueError, match="whose dependence on them is not known"):
        equation_of(no_gradient).loss(net, x)


def fixed_weight(u):
    with torch.no_grad():
        return torch.exp(-u)


def no_gradient(u):
    with torch.no_grad():
        factor = torch.erf(u)
    return (factor * u).x


REFUSED = {
    "fifth order": (lambda u: (u.xxx * u).xx, "expected derivatives up to order 4 in all, got ord"),
    "mean": (lambda u: (u.mean() * u).x, r"of the values at each point, got 'mean' of \[\], wh"),
    "sum over points": (
        lambda u: torch.cumsum(u, 0).x,
        r"values at each point, got 'cumsum' of \[11\], which joins points; .* u.x.mean\(\)",
    ),
    "sorted": (lambda u: torch.sort(u)[0].x, "got 'element' of .* which joins points"),
    "comparison": (lambda u: (u > 0).x, "expected a derivative of numbers, got that of a compar"),
    "cut off": (lambda u: (u.detach() * u).x, r"tensor \[11\] whose dependence on them is not kn"),
    "numpy": (
        lambda u, x: (torch.from_numpy(x.detach().numpy() ** 2) * torch.erf(u)).x,
        r"tensor \[11\] whose dependence on them is not known; compute it from the inputs in torch",
    ),
    "in place": (lambda u: torch.erf(u) + u.add_(1).x, r"add_: expected outputs, .*write u = u \+"),
    "no name": (lambda u: torch.erf(u).z, "expression.z: expected a derivative in t, x, y"),
    "no name, fused": (lambda u: torch.exp(u).z, "expression.z: expected a derivative in t, x, y"),
    "no normals": (lambda u: u.n, r"\.n: expected points with normals, got some without"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_derivative_is_refused(name):
    function, message = REFUSED[name]
    with pytest.raises(ValueError, match=message), warnings.catch_warnings(record=True):
        equation_of(function).loss(network(), points())


def test_in_place_operations_on_new_expressions_are_seen():
    net, x = network(), points()
    d = Autograd(net, x)

    def residual(u, v):
        flux = torch.sinh(u)
        flux += v  # a new expression
        other = (u * v).clone()
        other.mul_(v)
        return flux.x + other.x

    with pytest.warns(UserWarning, match="'mul_' has no rule"):
        (found,) = equation_of(residual).residuals(net, x)
    torch.testing.assert_close(found, d(torch.sinh(d.u) + d.v, 1) + d(d.u * d.v**2, 1))


def doubled(x):
    y = 1.0 * x
    y.mul_(2)
    return y


def sine(u):
    w = 1.0 * u
    torch.sin_(w)
    return w


def first_left_out(u):
    w = u.clone()
    w[:5].mul_(0)
    return w


IN_PLACE = {
    "of a coordinate": (lambda u, x: u.x - doubled(x), lambda d: d(d.u, 1) - 2 * d.x1),
    "by a function": (lambda u: u.x - sine(u), lambda d: d(d.u, 1) - torch.sin(d.u)),
    "of a view": (
        lambda u: first_left_out(u).x,
        lambda d: d(d.u, 1) * (torch.arange(11) >= 5),
    ),
    "after a derivative": (
        lambda u: (w := u * u).x + w.mul_(2).x,
        lambda d: 6 * d.u * d(d.u, 1),
    ),
}


@pytest.mark.filterwarnings("ignore:.*has no rule")
@pytest.mark.parametrize("name", IN_PLACE)
def test_operations_in_place_are_seen(name):
    function, by_hand = IN_PLACE[name]
    net, x = network(), points()
    equation, expected = equation_of(function), by_hand(Autograd(net, x))
    torch.testing.assert_close(equation.residuals(net, x)[0], expected)
    torch.testing.assert_close(equation.loss(net, x), expected.square().mean())


def test_an_operand_that_was_changed_in_place_is_refused():
    def residual(u):
        w = 1.0 * u
        product = w * w
        w.mul_(3)
        return product.x

    equation, net, x = equation_of(residual), network(), points()
    for evaluate in (equation.residuals, equation.loss):
        with pytest.raises(ValueError, match=r"operands of 'mul' as they were, .*write a = a \+ b"):
            evaluate(net, x)


def test_complex_numbers_and_comparisons_are_no_residuals():
    net, x = network(), points()
    cases = {
        "result: expected real numbers, got torch.complex128; return the real": lambda u, v: (
            torch.complex(u.t, v.t)
        ),
        "result: expected real numbers, got torch.bool": lambda u: u.x > 0,
        r"derivative: expected one of real numbers, .*torch.complex\(u.t, v.t\)": lambda u, v: (
            torch.complex(u, v).xx.real
        ),
    }
    for text, residual in cases.items():
        equation = equation_of(residual)
        for evaluate in (equation.residuals, equation.loss):
            with pytest.raises(ValueError, match=text):
                evaluate(net, x)
    pair = equation_of(lambda u, v: torch.complex(u.t, v.t).abs())
    d = Autograd(net, x)
    torch.testing.assert_close(pair.loss(net, x), (d(d.u, 0) ** 2 + d(d.v, 0) ** 2).mean())


CONVERTED = {
    "number": (lambda u: u.x - math.exp(u), r"residual: float: .*write torch.sin\(u\) in place"),
    "whole number": (lambda u: u.x * int(u), "residual: int: expected operations on the values"),
    "item": (lambda u: u.x - u.item(), "residual: item: expected operations on the values at all"),
    "decision": (lambda u: u.x if u > 0 else u, r"residual: bool: .*write torch.where\(u > 0, a"),
    "coordinate": (lambda u, x: u.x - math.sin(x), "residual: float: expected operations"),
}


@pytest.mark.parametrize("count", [1, 11])
@pytest.mark.parametrize("name", CONVERTED)
def test_values_at_points_are_no_numbers(name, count):
    """At a single point python would take them, and the gradient would be lost."""
    function, message = CONVERTED[name]
    equation, x = equation_of(function), points(count)
    for way in (network(), JetOnly(network())):
        with pytest.raises(ValueError, match=message):
            equation.loss(way, x)


def test_numbers_of_all_points_and_of_numpy_are_let_through():
    net, x = network(), points()
    found = equation_of(lambda u, v: u / float(v.detach().abs().max()) + int((u > v).sum()))
    u, v = net(x).unbind(1)
    expected = u / float(v.detach().abs().max()) + int((u > v).sum())
    torch.testing.assert_close(found.residuals(net, x)[0], expected)
    scalars = equation_of(
        lambda u, v: torch.erf(np.float32(2) * u / np.int64(4)) + (np.float64(0.1) < v)
    )
    torch.testing.assert_close(scalars.residuals(net, x)[0], torch.erf(u / 2) + (v > 0.1))


def test_functions_of_numpy_are_refused():
    for function in (lambda u: u.x - np.sin(u), lambda u, x: u * np.sin(x)):
        with pytest.raises(TypeError, match=r"residual: numpy.sin: .*write torch.sin, and arrays"):
            equation_of(function).loss(network(), points())
    with pytest.raises(TypeError, match=r"numpy.multiply: expected functions of torch"):
        equation_of(lambda u: np.ones(11) * u).loss(network(), points())
