"""Two scales: u_xx = f with exact sin(2 pi x) + sin(50 pi x) / 10, by random Fourier features."""

import math

import torch

from pyneural.models import PINN
from pyneural.nn import MLP, FourierFeatures
from pyneural.pde import Box, Dirichlet, Operator
from pyneural.training import LevenbergMarquardt


def main(steps=20, seed=0):
    """Solves it; gives the error and the seconds."""
    torch.manual_seed(seed)
    rod, a, b = Box(x=(0, 1)), 2 * math.pi, 50 * math.pi

    def residual(u, x):
        return (u.xx + a**2 * torch.sin(a * x) + b**2 / 10 * torch.sin(b * x)) / 100

    equation = Operator(residual, rod.grid(300), inputs="x", outputs="u")
    network = torch.nn.Sequential(FourierFeatures("x", 50, scale=10.0, seed=0), MLP(100, [30], 1))
    pinn = PINN(network, {"equation": equation, "ends": Dirichlet(rod, 0.0, 2)}, domain=rod)
    report, x = pinn.fit(LevenbergMarquardt(steps), progress=False), rod.grid(1000)
    return pinn.relative_l2(x, torch.sin(a * x) + torch.sin(b * x) / 10), report.seconds
