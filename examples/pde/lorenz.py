"""Lorenz' constants 10, 15 and 8/3 from 25 states of the motion."""

import torch

from pyneural.models import PINN
from pyneural.nn import MLP, Scaled
from pyneural.pde import Data
from pyneural.pde.gallery import Lorenz
from pyneural.training import LevenbergMarquardt


def main(steps=20, seed=0):
    torch.manual_seed(seed)
    times, states = Lorenz(last=3).test_grid()
    right = torch.tensor([10, 15, 8 / 3])
    found = [torch.nn.Parameter(torch.tensor(1.0)) for _ in right]
    lorenz = Lorenz(*found, last=3)
    measured = {"states": Data(times[::8], states[::8], domain=lorenz.domain)}
    network = Scaled(MLP(1, [40, 40, 40], 3, input_range=lorenz.domain.range), scale=20.0)
    pinn = PINN(network, measured, equation=lorenz, points=200, weights={"residual": 1e-5})
    first = pinn.fit(LevenbergMarquardt(steps), progress=False)  # the states almost alone
    pinn.weights["residual"] = 3e-3
    second = pinn.fit(LevenbergMarquardt(steps), progress=False)
    errors = (torch.stack(found).detach() / right - 1).abs()
    return errors.max().item(), first.seconds + second.seconds
