"""Unknown source q and end value b from ten readings: u_xx = -q, u(0) = 0, u(1) = b."""

import torch

from pyneural.models import PINN
from pyneural.nn import MLP
from pyneural.pde import Box, Data, Dirichlet, Operator
from pyneural.training import LevenbergMarquardt


def main(steps=20, seed=0):
    """Finds q = 3 and b = 1/2; gives the larger error and the seconds."""
    torch.manual_seed(seed)
    q, b = (torch.nn.Parameter(torch.tensor(1.0)) for _ in range(2))
    rod, x = Box(x=(0, 1)), torch.linspace(0.1, 0.9, 10)[:, None]
    conditions = {
        "equation": Operator(lambda u: u.xx + q, rod.grid(50), inputs="x"),
        "left": Dirichlet(rod, 0.0, 1, side="low"),
        "right": Dirichlet(rod, b, 1, side="high"),
        "readings": Data(x, 0.5 * x + 1.5 * x * (1 - x), domain=rod),
    }
    pinn = PINN(MLP(1, [20, 20], 1), conditions, domain=rod)
    report = pinn.fit(LevenbergMarquardt(steps), progress=False)
    return max(abs(q.item() - 3), abs(b.item() - 0.5)), report.seconds
