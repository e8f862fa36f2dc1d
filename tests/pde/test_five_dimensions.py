"""A Poisson equation in five dimensions, against its exact solution."""

import torch

from pyneural import models, nn, pde
from pyneural.training import LevenbergMarquardt

NAMES = "abcde"
BOX = pde.Box(**dict.fromkeys(NAMES, (0, 1)))


class Poisson(pde.Equation):
    inputs, outputs = NAMES, "u"

    def residual(self, u, a, b, c, d, e):
        return u.aa + u.bb + u.cc + u.dd + u.ee + exact(a, b, c, d, e)


def exact(*x):
    return sum(map(torch.sin, x))


def drawing():
    return {"dtype": torch.float64, "generator": torch.Generator().manual_seed(0)}


def test_points_and_normals_of_the_boundary():
    walls = pde.Dirichlet(BOX, 0.0, 203, **drawing())
    assert walls.points.shape == (203, 5)
    assert bool(((walls.points == 0) | (walls.points == 1)).any(1).all())
    normals = pde.Neumann(BOX, 0.0, 100, **drawing()).normals
    assert torch.equal(normals.abs().sum(1), torch.ones(100).double())
    assert torch.equal(normals.sum(0), torch.zeros(5).double())  # as many on each of ten faces


def test_solution():
    torch.manual_seed(0)
    network = nn.MLP(5, [8], 1, input_range=BOX.range).double()
    walls = {
        "walls": pde.Dirichlet(BOX, lambda a, b, c, d, e: exact(a, b, c, d, e), 100, **drawing())
    }
    generator = torch.Generator().manual_seed(0)
    pinn = models.PINN(
        network, walls, equation=Poisson(), domain=BOX, points=100, generator=generator
    )
    pinn.fit(LevenbergMarquardt(12), progress=False)
    x = BOX.sample(200, **drawing())
    assert pinn.relative_l2(x, exact(*x.T)[:, None]) < 0.02
