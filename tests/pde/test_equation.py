from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pyneural import ops
from pyneural.nn import MLP
from pyneural.pde import Equation
from tests.pde.expressions import JetOnly


class NavierStokes(Equation):
    inputs, outputs = "txy", "uvp"

    def __init__(self, viscosity):
        super().__init__()
        self.viscosity = viscosity

    def residual(self, u, v, p):
        return (
            u.t + u * u.x + v * u.y + p.x - self.viscosity * u.laplacian,
            v.t + u * v.x + v * v.y + p.y - self.viscosity * (v.xx + v.yy),
            u.x + v.y,
        )


def equation_of(function, inputs="tx", outputs="u"):
    """An equation whose residual is a function of its arguments, without self."""

    class Given(Equation):
        residual = staticmethod(function)

    Given.inputs, Given.outputs = inputs, outputs
    return Given()


@pytest.mark.parametrize(
    ("inputs", "outputs", "residual", "derivatives"),
    [
        ("tx", "u", lambda u: u.t + u * u.x - u.xx, ((0,), (1,), (1, 1))),
        ("tx", "u", lambda u: u.xt - u.tx + u.xxxx, ((0, 1), (1, 1, 1, 1))),
        ("xt", "u", lambda u: u.t, ((1,),)),
        ("txy", "u", lambda u: u.laplacian, (ops.Laplacian(1, 2),)),
        ("tx", "u", lambda u: u.laplacian - u.xx, ((1, 1),)),
        ("x", "uv", lambda v, u: (u.x + v, v.x - u), ((0,),)),
        (("t", "radius"), ("phi",), lambda phi: phi.radius_radius + phi.t_radius, ((1, 1), (0, 1))),
        ("tx", "u", lambda u: torch.where(u > 0, u.t, u.xx), ((0,), (1, 1))),
        ("tx", "u", lambda u: u, ()),
    ],
)
def test_derivatives_are_discovered(inputs, outputs, residual, derivatives):
    assert equation_of(residual, inputs, outputs).derivatives == derivatives


def test_a_system_fused_by_jets_and_by_nested_autograd(nested):
    viscosity = torch.nn.Parameter(torch.tensor(0.3, dtype=torch.float64))
    equation = NavierStokes(viscosity)
    network = MLP(3, [7, 6], 3, input_range=([0.0, -1, -2], [2.0, 1, 2])).double()
    x = torch.rand(11, 3, dtype=torch.float64)

    def d(*indices):
        return nested(network, x, indices).unbind(1)

    u, v, _p = d()
    t, dx, dy, xx, yy = d(0), d(1), d(2), d(1, 1), d(2, 2)
    expected = [
        t[0] + u * dx[0] + v * dy[0] + dx[2] - viscosity * (xx[0] + yy[0]),
        t[1] + u * dx[1] + v * dy[1] + dy[2] - viscosity * (xx[1] + yy[1]),
        dx[0] + dy[1],
    ]
    wanted = [*network.parameters(), viscosity]
    loss = sum(residual.square().mean() for residual in expected)
    gradients = torch.autograd.grad(loss, wanted)
    residuals = equation.residuals(network, x)
    torch.testing.assert_close(residuals, expected, rtol=1e-9, atol=1e-10)
    for way in (network, JetOnly(network)):
        value = equation.loss(way, x)
        torch.testing.assert_close(value, loss, rtol=1e-10, atol=0)
        torch.testing.assert_close(torch.autograd.grad(value, wanted), gradients)


def spy(network):
    """Counts calls of the fused loss."""
    calls, fused = [], network.jet_loss
    network.jet_loss = lambda *arguments: calls.append(arguments) or fused(*arguments)
    return calls


LOWERED = {
    "powers": lambda u: u**3 + u.x**-2 - u.t**2 + (1 + u * u) ** 0.5 + u**5,
    "functions": lambda u: (
        torch.sin(u) * torch.cos(u.x) + torch.exp(-u.t.square()) + torch.tanh(u) + abs(u.t)
    ),
    "methods": lambda u: u.sin() + u.x.abs().sqrt() - u.t.exp().log().neg(),
    "constants": lambda u: 2 - u / 4 + 3 / (2 + u * u) - np.float64(0.5) * u + (-u) - True * u.t,
    "inputs": lambda u, x, t: u.t - torch.sin(math.pi * x) * t + x,
    "numpy": lambda u: np.float64(2) * u.x + u.t * np.pi - np.float32(0.5),
    "torch names": lambda u: torch.mul(u, u.x).add(1).sub(u.t).div(torch.square(u) + 1),
    "reciprocal": lambda u: torch.reciprocal(u.x.square() + 1) + torch.pow(u, 2),
    "table": lambda u: u.t - torch.linspace(0, 1, 13, dtype=torch.float64),
    "scalars": lambda u: torch.tensor(0.25) * u + u.x / torch.tensor([2.0]),
}


@pytest.mark.parametrize("name", LOWERED)
def test_lowered_residuals_equal_the_evaluated_ones(name):
    equation = equation_of(LOWERED[name])
    network = MLP(2, [8, 8], 1).double()
    x = torch.rand(13, 2, dtype=torch.float64)
    calls = spy(network)
    fused, plain = equation.loss(network, x), equation.loss(JetOnly(network), x)
    assert len(calls) == 1
    torch.testing.assert_close(fused, plain, rtol=1e-10, atol=0)
    for value in (fused, plain):
        value.backward()
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients[:5]])
        network.zero_grad()
        if value is fused:
            expected = flat
    torch.testing.assert_close(flat, expected, rtol=1e-8, atol=1e-9)


NOT_LOWERED = {
    "where": lambda u: torch.where(u > 0, u.x, u.t),
    "clamp": lambda u: u.clamp(min=0) * u.x + u.t,
    "maximum": lambda u: torch.maximum(u.x, u.t),
    "mean": lambda u: u.t - u.x.mean(),
    "modulo": lambda u: u.t % 2 + u.x.abs() ** 1.5,
    "root": lambda u: u.t - torch.sinh(u.x),
    "in place": lambda u: u.x.clone().add_(u.t),
    "rounding": lambda u: torch.div(u.t, u.x, rounding_mode="floor"),
    "constant": lambda u: torch.zeros(()) * u.sum() + 0 * u.t.norm(),
}


@pytest.mark.parametrize("name", NOT_LOWERED)
def test_any_torch_code_is_allowed(name, nested):
    equation = equation_of(NOT_LOWERED[name])
    network = MLP(2, [8, 8], 1).double()
    x = torch.rand(13, 2, dtype=torch.float64)
    calls = spy(network)
    loss = equation.loss(network, x)
    assert not calls
    assert set(equation.derivatives) <= {(0,), (1,)}

    class Tensors:
        """u as plain tensors."""

    u, tensors = network(x)[:, 0], Tensors()
    tensors.t, tensors.x = nested(network, x, (0,))[:, 0], nested(network, x, (1,))[:, 0]
    for method in ("clamp", "sum"):
        setattr(tensors, method, getattr(u, method))
    if name == "where":
        expected = torch.where(u > 0, tensors.x, tensors.t)
    else:
        expected = NOT_LOWERED[name](tensors)
    torch.testing.assert_close(loss, expected.square().mean())


def test_a_changed_constant_is_noticed():
    class Decay(Equation):
        inputs, outputs = "t", "u"

        def __init__(self):
            super().__init__()
            self.rate, self.second = 1.0, False

        def residual(self, u):
            return (u.tt if self.second else u.t) + self.rate * u

    equation, network, x = Decay(), MLP(1, [8], 1).double(), torch.rand(5, 1, dtype=torch.float64)
    for rate, second in ((1.0, False), (2.0, False), (2.0, True)):
        equation.rate, equation.second = rate, second
        (residual,) = equation.residuals(network, x)
        assert equation.derivatives == (((0, 0),) if second else ((0,),))
        torch.testing.assert_close(equation.loss(network, x), residual.square().mean())
    assert equation.loss(network, x) != equation.loss(MLP(1, [8], 1).double(), x)


def test_coefficients_may_be_expressions_of_parameters():
    class Heat(Equation):
        inputs, outputs = "tx", "u"

        def __init__(self):
            super().__init__()
            self.log_nu = torch.nn.Parameter(torch.tensor(-1.0))
            self.register_buffer("source", torch.tensor([0.5]))

        def residual(self, u):
            return u.t - torch.exp(self.log_nu) * u.xx - self.source * self.log_nu

    equation, network, x = Heat(), MLP(2, [8], 1), torch.rand(20, 2)
    calls = spy(network)
    (fused,) = torch.autograd.grad(equation.loss(network, x), equation.log_nu)
    (plain,) = torch.autograd.grad(equation.loss(JetOnly(network), x), equation.log_nu)
    assert len(calls) == 1
    assert fused.shape == ()
    torch.testing.assert_close(fused, plain)
    assert list(equation.state_dict()) == ["log_nu", "source"]


def test_the_closure_of_an_equation_may_be_a_network():
    class Closure(Equation):
        inputs, outputs = "tx", "u"

        def __init__(self):
            super().__init__()
            self.flux = torch.nn.Sequential(torch.nn.Linear(1, 4), torch.nn.Tanh())

        def residual(self, u):
            return u.t + self.flux(torch.stack([u.x, u.x], 1)[:, :1]).sum(1)

    equation = Closure()
    loss = equation.loss(MLP(2, [8], 1), torch.rand(6, 2))
    loss.backward()
    assert equation.derivatives == ((0,), (1,))
    assert equation.flux[0].weight.grad.abs().max() > 0


def test_derivatives_that_depend_on_values_are_refused():
    equation = equation_of(lambda u: u.t if u.sum() < 1e9 and len(u) == 1 else u.x)
    with pytest.raises(ValueError, match=r"u: expected the derivatives.*torch.where"):
        equation.loss(MLP(2, [4], 1), torch.rand(3, 2))


@pytest.mark.parametrize(
    ("residual", "text"),
    [
        (lambda u: u.t + u.zz, r"u\.zz: expected a derivative in t, x .*got 'zz'"),
        (lambda u: torch.where(u > 0, u.t, u) + u.y, r"u\.y: expected a derivative in t, x"),
        (lambda u: u.x.zz, r"expected a derivative in t, x .*got 'zz'"),
        (lambda u, x: x.nonsense, "got 'nonsense'"),
        (lambda u: None, r"result: expected \[N\] = \[3\].*got NoneType"),
        (lambda u: torch.stack([u.x, u.t]), r"result: expected \[N\] = \[3\].*got \[2, 3\]"),
    ],
)
def test_residuals_that_make_no_sense_are_refused(residual, text):
    equation = equation_of(residual)
    with pytest.raises(ValueError, match=text):
        equation.loss(MLP(2, [4], 1), torch.rand(3, 2))


def test_the_laplacian_needs_space():
    with pytest.raises(ValueError, match=r"u\.laplacian: expected a derivative in t"):
        _ = equation_of(lambda u: u.laplacian, "t").derivatives


@pytest.mark.parametrize(
    ("inputs", "outputs", "residual", "text"),
    [
        ("tx", "u", lambda w: w, r"argument 'w': expected one of the outputs u or inputs t, x"),
        ("", "u", lambda u: u, "set both in the class"),
        ("tx", "", lambda x: x, "set both in the class"),
        ("tu", "u", lambda u: u, "names that all differ"),
        ("t, x", "u", lambda u: u, r"got \('t', ',', ' ', 'x', 'u'\).*outputs = \"tx\", \"u\""),
        (2, "u", lambda u: u, r"names that all differ, got \(2, 'u'\)"),
        ("tx", None, lambda u: u, r"names that all differ, got \('t', 'x', None\)"),
    ],
)
def test_bad_names_are_refused_at_construction(inputs, outputs, residual, text):
    with pytest.raises(ValueError, match=text):
        equation_of(residual, inputs, outputs)


@pytest.mark.parametrize(
    ("network", "x", "text"),
    [
        (MLP(2, [4], 1), torch.rand(3, 3), r"x: expected \[N, 2\] \(t, x\).*got \[3, 3\]"),
        (MLP(2, [4], 1), torch.rand(0, 2), "N >= 1"),
        (MLP(2, [4], 2), torch.rand(3, 2), r"expected 1 outputs \(u\), got 2"),
        (JetOnly(MLP(2, [4], 2)), torch.rand(3, 2), r"expected 1 outputs \(u\), got 2"),
    ],
)
def test_networks_and_points_that_do_not_fit(network, x, text):
    with pytest.raises(ValueError, match=text):
        equation_of(lambda u: u.t).loss(network, x)


def test_names_of_inputs_with_underscores_and_of_several_letters():
    long = equation_of(lambda u: u.x_low + u.t_x_low_x_low, inputs=("t", "x_low"))
    assert long.derivatives == ((1,), (0, 1, 1))
    network, x = MLP(2, [6], 1).double(), torch.rand(5, 2, dtype=torch.float64)
    _, first, third = network.jet(x, long.derivatives)
    torch.testing.assert_close(long.residuals(network, x)[0], (first + third)[:, 0])
    for inputs, residual in ((("x", "y", "xy"), lambda u: u.xy), (("x", "laplacian"), laplacian)):
        with pytest.raises(ValueError, match="expected a derivative that can be read in one way"):
            equation_of(residual, inputs=inputs).derivatives  # noqa: B018


def laplacian(u):
    return u.laplacian


def test_weights_of_zero_have_gradients_and_negative_ones_are_refused():
    equation, x = equation_of(lambda u: u.t - u.xx), torch.rand(5, 2, dtype=torch.float64)
    network = MLP(2, [6], 1).double()
    weights = torch.tensor([0.0, 0.0, 1.0, 2.0, 0.5], dtype=torch.float64, requires_grad=True)
    equation.loss(network, x, [weights]).backward()
    expected = equation.residuals(network, x)[0].square() / 5
    torch.testing.assert_close(weights.grad, expected)
    with pytest.raises(ValueError, match=r"weights: expected numbers >= 0, got -1.0; to maximise"):
        equation.loss(network, x, [-1.0])
