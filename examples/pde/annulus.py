"""Heat flows through an annulus, cold inside: Laplace's equation; exact is log(r)."""

import torch

from pyneural.models import PINN
from pyneural.nn import MLP
from pyneural.pde import Dirichlet, Disk, Neumann, Operator
from pyneural.training import LevenbergMarquardt


def main(steps=20, seed=0):
    """Solves it; gives the error and the seconds."""
    torch.manual_seed(seed)
    disk = Disk(x=0, y=0, radius=2, name="rim")
    ring = disk - Disk(x=0, y=0, radius=1, name="hole")
    conditions = {
        "equation": Operator(lambda u: u.laplacian, ring.sample(800), inputs="xy"),
        "hole": Dirichlet(ring, 0.0, 60, part="hole"),
        "rim": Neumann(ring, 0.5, 120, part="rim"),
    }
    pinn = PINN(MLP(2, [20, 20], 1), conditions, domain=ring)
    report = pinn.fit(LevenbergMarquardt(steps), progress=False)
    x = ring.sample(2000)
    return pinn.relative_l2(x, x.norm(dim=1, keepdim=True).log()), report.seconds
