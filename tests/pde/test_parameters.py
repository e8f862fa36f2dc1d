"""Parameters of the problem as inputs: drawn over their range, without boundary and Laplacian."""

from __future__ import annotations

import math

import pytest
import torch

from pyneural import models, nn, pde
from pyneural.training import Adam

HEAT = pde.Box(t=(0, 1), x=(0, 1)).with_parameters(nu=(0.05, 0.5))
DRAWING = {"dtype": torch.float64}


class Heat(pde.Equation):
    inputs, outputs, parameter_inputs, domain = ("t", "x", "nu"), "u", ("nu",), HEAT

    def residual(self, u, nu):
        return u.t - nu * u.laplacian


class HeatNotLowered(Heat):
    def residual(self, u, nu):
        return torch.where(nu > 0, u.t - nu * u.laplacian, u)


class Exact(torch.nn.Module):
    """u = exp(-nu pi^2 t) sin(pi x), which is no solution with a second derivative in nu."""

    def forward(self, z):
        return self.jet(z, ())[0]

    def jet(self, z, derivatives):
        t, x, nu = z.T
        u = torch.exp(-nu * math.pi**2 * t) * torch.sin(math.pi * x)
        table = {(): u, (0,): -nu * math.pi**2 * u, (1, 1): -(math.pi**2) * u}
        return tuple(table[tuple(i)][:, None] for i in ((), *derivatives))


def conditions():
    return {
        "start": pde.Initial(HEAT, lambda x: torch.sin(math.pi * x), 40, **DRAWING),
        "ends": pde.Dirichlet(HEAT, 0.0, 40, **DRAWING),
    }


@pytest.mark.parametrize("equation", [Heat, HeatNotLowered])
def test_the_exact_solution_for_every_parameter_meets_all_terms(equation):
    points = HEAT.sample(50, **DRAWING)
    assert equation().derivatives == ((0,), (1, 1))
    assert equation().loss(Exact(), points) < 1e-24
    for condition in conditions().values():
        assert condition.loss(Exact()) < 1e-24


def test_an_operator_leaves_the_parameters_of_its_domain_out_of_laplacians(nested):
    heat = lambda u, nu: u.t - nu * u.laplacian  # noqa: E731
    assert pde.Operator(heat, HEAT.sample(50, **DRAWING), domain=HEAT).loss(Exact()) < 1e-24
    # The flux of the Laplacian through a curve, in two dimensions and by nested autograd.
    disk = pde.Disk(x=0, y=0, radius=1).with_time(0, 1).with_parameters(nu=(1, 2))
    flux = pde.Operator(lambda u: u.laplacian.n, 20, domain=disk, **DRAWING)
    network, z = nn.MLP(4, [6], 1).double(), flux.points
    expected = sum(
        z[:, k] * (nested(network, z, (1, 1, k)) + nested(network, z, (2, 2, k)))[:, 0]
        for k in (1, 2)
    )
    torch.testing.assert_close(flux.residuals(network)[0][:, 0], expected)
    torch.testing.assert_close(flux.loss(network), expected.square().mean())


def test_an_operator_and_its_domain_declare_the_same_parameters():
    class Undeclared(Heat):
        parameter_inputs = ()

    points = HEAT.sample(5)
    assert pde.Operator(Heat(), points, domain=HEAT).form.parameters == ("nu",)
    message = r"Operator: residual: parameter_inputs: expected nu, as the domain has, got none;"
    with pytest.raises(ValueError, match=message):
        pde.Operator(Undeclared(), points, domain=HEAT)


def test_points_are_drawn_over_the_parameter_and_never_on_its_ends():
    given = conditions() | {
        "slope": pde.Neumann(HEAT, 0.0, 40, **DRAWING),
        "ring": pde.Periodic(HEAT, "x", 40, **DRAWING),
    }
    for condition in given.values():
        nu = condition.points[:, 2]
        assert ((nu > 0.05) & (nu < 0.5)).all()
        assert nu.max() - nu.min() > 0.3
    assert set(given["ends"].points[:, 1].tolist()) == {0.0, 1.0}
    assert given["slope"].axes == [1]
    assert HEAT.sample_boundary(10)[:, 1].unique().tolist() == [0.0, 1.0]
    for build in (
        lambda: pde.Dirichlet(HEAT, 0.0, 5, coordinate="nu"),
        lambda: pde.Neumann(HEAT, 0.0, 5, coordinate="nu", side="low"),
        lambda: pde.Periodic(HEAT, "nu", 5),
    ):
        with pytest.raises(ValueError, match=r"coordinate: .*got the parameter 'nu' of Box"):
            build()


@pytest.mark.parametrize("equation", [Heat, HeatNotLowered])
def test_the_laplacian_leaves_it_out_as_nested_autograd_says(equation, nested):
    network = nn.MLP(3, [6], 1, input_range=HEAT.range).double()
    model = models.PINN(network, conditions(), equation=equation(), points=30)
    x = model.collocation
    u_t, u_xx = nested(network, x, (0,))[:, 0], nested(network, x, (1, 1))[:, 0]
    expected = (u_t - x[:, 2] * u_xx).square().mean()
    torch.testing.assert_close(model.losses()["residual"], expected)
    model.fit([Adam(2), Adam(2)], progress=False)


def test_two_dimensions_and_two_parameters():
    class Helmholtz(pde.Equation):
        inputs, outputs, parameter_inputs = ("k", "x", "y", "q"), "u", "kq"

        def residual(self, u, k, q):
            return u.laplacian + k**2 * u - q

    (laplacian,) = Helmholtz().derivatives
    assert repr(laplacian) == "Laplacian(1, 2)"
    domain = pde.Box(x=(0, 1), y=(0, 1)).with_parameters(k=(1, 2)).with_parameters(q=(0, 1))
    assert (domain.names, domain.spatial) == (("x", "y", "k", "q"), ("x", "y"))
    assert domain.parameters == ("k", "q")


class Undeclared(pde.Equation):
    inputs, outputs = ("t", "x", "nu"), "u"

    def residual(self, u, nu):
        return u.t - nu * u.xx


def test_equation_and_domain_declare_the_same_parameters():
    network, box = nn.MLP(3, [4], 1).double(), pde.Box(t=(0, 1), x=(0, 1), nu=(0.05, 0.5))
    with pytest.raises(ValueError, match=r"parameter_inputs: expected \['nu'\], .* got \[\]; decl"):
        models.PINN(network, conditions(), equation=Undeclared(), domain=HEAT, points=5)
    with pytest.raises(ValueError, match=r"parameter_inputs: expected \[\], .* got \['nu'\]"):
        models.PINN(network, conditions(), equation=Heat(), domain=box, points=5)
    with pytest.warns(UserWarning, match=r"nu: the equation has no derivative in it; if it is a p"):
        models.PINN(network, conditions(), equation=Undeclared(), domain=box, points=5)


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: HEAT.with_parameters(), "expected names that are no coordinates, got none"),
        (lambda: HEAT.with_parameters(x=(0, 1)), "no coordinates, got x"),
        (lambda: HEAT.with_parameters(nu=(0, 1)), "no coordinates, got nu"),
        (lambda: pde.Box(x=(0, 1)).with_parameters(t=(0, 1)), "no coordinates, got t"),
        (lambda: HEAT.with_parameters(k=(1, 0)), "Box: k: expected finite bounds"),
        (
            lambda: type("E", (Heat,), {"parameter_inputs": "z"})(),
            "some of the inputs t, x, nu, go",
        ),
    ],
)
def test_bad_parameters_are_refused(build, text):
    with pytest.raises(ValueError, match=text):
        build()
