"""Derivatives that no rule gives: by nested autograd with a warning, or refused."""

from __future__ import annotations

import warnings

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
