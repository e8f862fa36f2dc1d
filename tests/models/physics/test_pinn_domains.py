"""A PINN on any domain: its points respect the shape, and it finds known solutions."""

from __future__ import annotations

import math

import pytest
import torch

from pyneural import models, nn, pde
from pyneural.training import LBFGS, Adam, callbacks

ANNULUS = pde.Disk(x=0, y=0, radius=2, name="rim") - pde.Disk(x=0, y=0, radius=0.5, name="hole")


class Laplace(pde.Equation):
    inputs, outputs = "xy", "u"
    domain = ANNULUS

    def residual(self, u):
        return u.laplacian


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def in_annulus(points):
    radius = points.double().norm(dim=1)
    return bool(((radius > 0.5 - 1e-6) & (radius < 2 + 1e-6)).all())


def test_an_annulus_is_solved_and_no_point_is_in_the_hole():
    torch.manual_seed(0)
    drawing = {"generator": seeded(0), "dtype": torch.float64}
    conditions = {
        "rim": pde.Dirichlet(ANNULUS, math.log(4), 60, part="rim", **drawing),
        "hole": pde.Neumann(ANNULUS, -2.0, 40, part="hole", **drawing),  # u_r = 1 / r, inwards
    }
    network = nn.MLP(2, [20, 20], 1, input_range=ANNULUS.range).double()
    pinn = models.PINN(
        network, conditions, equation=Laplace(), points=300, adaptive=True, generator=seeded(1),
        weights={"rim": 10, "hole": 10},
    )  # fmt: skip
    seen = [pinn.collocation]
    watch = callbacks.Every(20, lambda run: seen.append(run.model.collocation))
    pinn.fit([LBFGS(120), LBFGS(250)], callbacks=[watch], progress=False)
    assert len({float(part.sum()) for part in seen}) >= 2
    assert all(in_annulus(part) for part in seen)
    points = ANNULUS.sample(2000, **drawing)
    exact = torch.log(points.norm(dim=1) / 0.5)[:, None]
    assert pinn.relative_l2(points, exact) < 1e-2


@pytest.mark.parametrize("adaptive", [False, True])
def test_points_drawn_anew_are_in_the_domain(adaptive):
    class Heat(pde.Equation):
        inputs, outputs, parameter_inputs = ("t", "x", "y", "nu"), "u", ("nu",)

        def residual(self, u, nu):
            return u.t - nu * u.laplacian

    domain = ANNULUS.with_time(0, 1).with_parameters(nu=(0.1, 1))
    start = {"start": pde.Initial(domain, 0.0, 20), "rim": pde.Dirichlet(domain, 0.0, 20)}
    network = nn.MLP(4, [6], 1, input_range=domain.range)
    pinn = models.PINN(network, start, equation=Heat(), domain=domain, points=100)
    for _ in range(3):
        pinn.resample(adaptive)
        assert pinn.collocation.dtype == torch.float32
        assert len(pinn.collocation) == 100
        assert in_annulus(pinn.collocation[:, 1:3])
        assert domain.contains(pinn.collocation).all()


def test_a_cloud_gives_the_collocation_points():
    inner = ANNULUS.sample(50, generator=seeded(0))
    cloud = pde.PointCloud(inner, ANNULUS.sample_boundary(10), names="xy")
    conditions = {"rim": pde.Dirichlet(cloud, 0.0, 10)}
    pinn = models.PINN(
        nn.MLP(2, [4], 1), conditions, equation=Laplace(), domain=cloud, points=20, adaptive=True
    )
    rows = {tuple(row) for row in inner.tolist()}
    pinn.fit([Adam(1), Adam(1)], progress=False)
    assert {tuple(row) for row in pinn.collocation.tolist()} <= rows
    assert len(pinn.collocation.unique(dim=0)) == 20


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"points": torch.zeros(1, 2)}, r"PINN: points: expected points in \(Disk.* x=0, y=0"),
        ({"candidates": torch.zeros(1, 2), "points": 1}, "PINN: candidates: expected points in"),
        ({"domain": pde.Disk(r=0, z=0, radius=1)}, "PINN: equation: expected the inputs r, z"),
        (
            {"conditions": {"data": pde.Data(torch.zeros(1, 2), torch.zeros(1))}},
            r"PINN: conditions\['data'\]: expected points in",
        ),
    ],
)
def test_points_in_the_hole_are_refused(options, text):
    conditions = {"rim": pde.Dirichlet(ANNULUS, 0.0, 5)}
    given = {"conditions": conditions, "equation": Laplace(), "points": 10} | options
    with pytest.raises(ValueError, match=text):
        models.PINN(nn.MLP(2, [4], 1), **given)
