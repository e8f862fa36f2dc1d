"""Your own equation: how fast does a gene, or a flame, spread?

Fisher's equation, u_t = u_xx + u (1 - u), has a front of known shape and speed 5 / sqrt(6)
(Ablowitz and Zeppetella, 1979). A network solves it from the start and the ends alone.
Run it with: python examples/own_pde.py
"""

import torch

from pyneural import nn
from pyneural.models import PINN
from pyneural.pde import Box, Dirichlet, Equation, Initial
from pyneural.training import LevenbergMarquardt

SPEED = 5 / 6**0.5


class Fisher(Equation):
    """Growth and diffusion, in their own units of time and length."""

    inputs, outputs = "tx", "u"

    def residual(self, u):
        """What is 0 for a solution, as on paper."""
        return u.t - u.xx - u * (1 - u)


def front(t, x):
    """The exact solution."""
    return (1 + torch.exp((x - SPEED * t) / 6**0.5)) ** -2


def main(steps=60, points=1000):
    """Solves it; gives the relative L2 error and the speed."""
    torch.manual_seed(0)
    domain = Box(t=(0, 4), x=(-10, 20))
    start = Initial(domain, lambda x: front(0 * x, x), 100)
    conditions = {"start": start, "ends": Dirichlet(domain, front, 100)}
    net = nn.MLP(2, [20] * 3, 1, input_range=domain.range)
    pinn = PINN(net, conditions, equation=Fisher(), domain=domain, points=points)
    pinn.fit(LevenbergMarquardt(steps))

    grid = domain.grid(41, 301)
    error = pinn.relative_l2(grid, front(*grid.T[..., None]))
    print(f"relative L2 error  {error:.1e}")
    x = torch.linspace(-10, 20, 3001)
    halves = []
    for t in (1.0, 3.0):  # where is u = 1/2?
        u = pinn.predict(torch.stack([torch.full_like(x, t), x], 1))[:, 0]
        halves.append(float(x[(u - 0.5).abs().argmin()]))
    speed = (halves[1] - halves[0]) / (3 - 1)
    print(f"speed of the front {speed:.3f}, exact {SPEED:.3f}")
    return error, speed


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    main()
