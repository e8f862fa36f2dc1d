"""Temperature u and flux q, a network for each: q = -u_x, q_x = pi^2 sin(pi x)."""

import math

import torch

from pyneural.models import PINN
from pyneural.nn import MLP, Joined
from pyneural.pde import Box, Dirichlet, Operator
from pyneural.training import LevenbergMarquardt


def main(steps=20, seed=0):
    """Solves it; gives the error and the seconds."""
    torch.manual_seed(seed)
    rod, pi = Box(x=(0, 1)), math.pi
    laws = lambda u, q, x: (q + u.x, q.x - pi**2 * torch.sin(pi * x))  # noqa: E731
    conditions = {
        "equations": Operator(laws, rod.grid(50), inputs="x", outputs="uq"),
        "ends": Dirichlet(rod, 0.0, 2, output=0),
    }
    pinn = PINN(Joined([MLP(1, [20], 1), MLP(1, [20, 20], 1)]), conditions, domain=rod)
    report, x = pinn.fit(LevenbergMarquardt(steps), progress=False), rod.grid(101)
    exact = torch.cat([torch.sin(pi * x), -pi * torch.cos(pi * x)], 1)
    return pinn.relative_l2(x, exact), report.seconds
