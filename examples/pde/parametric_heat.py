"""One network for all conductivities: u_t = nu u_xx; exact is exp(-nu pi^2 t) sin(pi x)."""

import math

import torch

from pyneural.models import PINN
from pyneural.nn import MLP
from pyneural.pde import Box, Dirichlet, Initial, Operator
from pyneural.training import LevenbergMarquardt


def main(steps=20, seed=0):
    torch.manual_seed(seed)
    domain = Box(t=(0, 1), x=(0, 1)).with_parameters(nu=(0.05, 0.2))
    points = domain.sample(1000, sampling="sobol")
    conditions = {
        "equation": Operator(lambda u, nu: u.t - nu * u.xx, points, domain=domain),
        "start": Initial(domain, lambda x: torch.sin(math.pi * x), 150),
        "ends": Dirichlet(domain, 0.0, 150),
    }
    pinn = PINN(MLP(3, [20] * 3, 1, input_range=domain.range), conditions, domain=domain)
    report, x = pinn.fit(LevenbergMarquardt(steps), progress=False), domain.sample(2000)
    exact = torch.exp(-x[:, 2] * math.pi**2 * x[:, 0]) * torch.sin(math.pi * x[:, 1])
    return pinn.relative_l2(x, exact[:, None]), report.seconds
