"""Laplace's equation around a reentrant corner, where r^(2/3) sin(2 theta / 3) is singular."""

import math

import torch

from pyneural.models import PINN
from pyneural.nn import MLP
from pyneural.pde import Dirichlet, Operator, Polygon
from pyneural.training import LevenbergMarquardt


def exact(x, y):
    angle = torch.atan2(y, x) % (2 * math.pi)  # from 0 to 3 pi / 2 inside
    return torch.hypot(x, y) ** (2 / 3) * torch.sin(2 / 3 * angle)


def main(steps=20, seed=0):
    torch.manual_seed(seed)
    shape = Polygon([(0, 0), (1, 0), (1, 1), (-1, 1), (-1, -1), (0, -1)])
    inside = Operator(lambda u: u.laplacian, shape.sample(1000), inputs="xy")
    conditions = {"inside": inside, "boundary": Dirichlet(shape, exact, 300)}
    pinn = PINN(MLP(2, [20, 20, 20], 1), conditions, domain=shape, weights={"boundary": 100})
    report, x = pinn.fit(LevenbergMarquardt(steps), progress=False), shape.sample(2000)
    return pinn.relative_l2(x, exact(*x.T)[:, None]), report.seconds
