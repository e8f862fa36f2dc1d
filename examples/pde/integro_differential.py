"""u_x + u = integral_0^x exp(s - x) u(s) ds, u(0) = 1; exact is exp(-x) cosh(x)."""

import numpy as np
import torch

from pyneural.models import PINN
from pyneural.nn import MLP
from pyneural.pde import Box, Dirichlet, Operator
from pyneural.training import LevenbergMarquardt


def main(steps=20, seed=0):
    torch.manual_seed(seed)
    domain, x = Box(x=(0, 5)), torch.linspace(0, 5, 40)[:, None]
    nodes, weights = map(torch.from_numpy, np.polynomial.legendre.leggauss(20))
    inner = {"s": x[:, None] * (1 + nodes[:, None]) / 2}  # 20 nodes from 0 to each x

    def residual(u, x, s):
        return u.x + u - x / 2 * (weights * torch.exp(s.x - x[:, None]) * s.u).sum(1)

    equation = Operator(residual, x, inputs="x", outputs="u", pairs=inner)
    conditions = {"equation": equation, "start": Dirichlet(domain, 1.0, 1, side="low")}
    pinn = PINN(MLP(1, [20, 20], 1, input_range=domain.range), conditions, domain=domain)
    report = pinn.fit(LevenbergMarquardt(steps), progress=False)
    return pinn.relative_l2(x, torch.exp(-x) * torch.cosh(x)), report.seconds
