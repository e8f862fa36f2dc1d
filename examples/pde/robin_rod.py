"""A rod with a Robin end: u_xx = 2, u(-1) = 0, u_x(1) = u(1); exact is (x + 1)^2."""

import torch

from pyneural.models import PINN
from pyneural.nn import MLP
from pyneural.pde import Box, Dirichlet, Operator
from pyneural.training import LevenbergMarquardt


def main(steps=20, seed=0):
    """Solves it; gives the error and the seconds."""
    torch.manual_seed(seed)
    rod = Box(x=(-1, 1))
    conditions = {
        "equation": Operator(lambda u: u.xx - 2, rod.grid(50), inputs="x"),
        "left": Dirichlet(rod, 0.0, 1, side="low"),
        "right": Operator(lambda u: u.n - u, 1, domain=rod, part="x_high"),
    }
    pinn = PINN(MLP(1, [20, 20], 1), conditions, domain=rod)
    report = pinn.fit(LevenbergMarquardt(steps), progress=False)
    x = rod.grid(101)
    return pinn.relative_l2(x, (x + 1) ** 2), report.seconds
