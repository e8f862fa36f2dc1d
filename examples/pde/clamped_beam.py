"""A beam, clamped at 0, free at 1 and loaded: u_xxxx = -1; -x^4 / 24 + x^3 / 6 - x^2 / 4."""

import torch

from pyneural.models import PINN
from pyneural.nn import MLP
from pyneural.pde import Box, Operator
from pyneural.training import LevenbergMarquardt


def main(steps=40, seed=0):
    """Solves it; gives the error and the seconds."""
    torch.manual_seed(seed)
    beam = Box(x=(0, 1))
    conditions = {
        "load": Operator(lambda u: u.xxxx + 1, beam.grid(30), inputs="x"),
        "clamped": Operator(lambda u: (u, u.x), 1, domain=beam, part="x_low"),
        "free": Operator(lambda u: (u.xx, u.xxx), 1, domain=beam, part="x_high"),
    }
    pinn = PINN(MLP(1, [20, 20], 1), conditions, domain=beam)
    report = pinn.fit(LevenbergMarquardt(steps), progress=False)
    x = beam.grid(101)
    return pinn.relative_l2(x, -(x**4) / 24 + x**3 / 6 - x**2 / 4), report.seconds
