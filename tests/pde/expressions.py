"""Equations of functions, networks that hide their fused loss, and nested autograd."""

from __future__ import annotations

import torch

from pyneural import pde
from pyneural.nn import MLP
from pyneural.ops.jet.residual import evaluate_residual


class JetOnly(torch.nn.Module):
    """Hides the fused loss of a network."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x)

    def jet(self, x, derivatives):
        return self.network.jet(x, derivatives)


class WithColumns(JetOnly):
    """Runs programs in plain torch, with columns."""

    def __init__(self, network):
        super().__init__(network)
        self.calls = []

    def jet_loss(self, x, derivatives, program, coefficients=None, columns=None):
        self.calls.append(program)
        channels = self.network.jet(x, derivatives)
        coefficients = x.new_empty(0) if coefficients is None else coefficients
        found = evaluate_residual(*program, channels, x, coefficients, columns)
        return sum(residual.square().mean() for residual in found)


def equation_of(function, inputs="txy", outputs="uv"):
    """An equation whose residual is a function of its arguments, without self."""

    class Given(pde.Equation):
        residual = staticmethod(function)

    Given.inputs, Given.outputs = inputs, outputs
    return Given()


def network(inputs=3, outputs=2):
    return MLP(inputs, [7, 6], outputs).double()


def points(count=11, inputs=3):
    return torch.rand(count, inputs, dtype=torch.float64) + 0.3


class Autograd:
    """Nested autograd of functions of points, u and v those of a network."""

    def __init__(self, network, x):
        self.x = x.detach().requires_grad_()
        columns = network(self.x).unbind(1)
        self.u, self.v = columns if len(columns) > 1 else (*columns, None)
        self.t, self.x1, self.y = (*self.x.unbind(1), None, None)[:3]

    def __call__(self, value, *indices):
        for index in indices:
            if not value.requires_grad:
                return torch.zeros(len(self.x), dtype=self.x.dtype)
            options = {"create_graph": True, "materialize_grads": True}
            value = torch.autograd.grad(value.sum(), self.x, **options)[0][:, index]
        return value

    def laplacian(self, value):
        return self(value, 1, 1) + self(value, 2, 2)


class Checked(pde.Equation):
    """A residual that is given at construction, with parameters and modules as attributes."""

    inputs, outputs = "txy", "uv"

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def residual(self, u, v, t, x, y):
        return self.function(self, u, v, x)


def check(function, by_hand, ways, more=()):
    net, x = network(), points()
    equation = equation_of(function)
    expected = by_hand(Autograd(net, x))
    (found,) = equation.residuals(net, x)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)
    wanted = [*net.parameters(), *more]
    options = {"materialize_grads": True}
    gradients = torch.autograd.grad(expected.square().mean(), wanted, **options)
    for way in ways(net):
        loss = equation.loss(way, x)
        torch.testing.assert_close(loss, expected.square().mean(), rtol=1e-9, atol=1e-12)
        mine = torch.autograd.grad(loss, wanted, **options)
        torch.testing.assert_close(mine, gradients, rtol=1e-7, atol=1e-9)
