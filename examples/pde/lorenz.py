"""Lorenz' constants 10, 15 and 8/3 from 25 states of the motion."""

import torch

from pyneural.models import PINN
from pyneural.nn import MLP, Scaled
from pyneural.pde import Data
from pyneural.pde.gallery import Lorenz
from pyneural.training import LBFGS, Adam


def main(steps=1000):
    torch.manual_seed(0)
    times, states = Lorenz(last=3).test_grid()
    right = torch.tensor([10, 15, 8 / 3])
    found = [torch.nn.Parameter(torch.tensor(1.0)) for _ in right]
    lorenz = Lorenz(*found, last=3)
    measured = {"states": Data(times[::8], states[::8], domain=lorenz.domain)}
    network = MLP(1, [40, 40, 40], 3, "sin", input_range=lorenz.domain.range)
    network, weights = Scaled(network, scale=20.0), {"residual": 0.01}
    pinn = PINN(network, measured, equation=lorenz, points=400, weights=weights)
    report = pinn.fit([Adam(steps), LBFGS(steps)], progress=False)
    errors = (torch.stack(found).detach() / right - 1).abs()
    return errors.max().item(), report.seconds
