"""Each equation of the gallery as on paper, written here a second time."""

from __future__ import annotations

import functools
import math
from dataclasses import replace

import torch

from pyneural.ops import LinearOperator
from pyneural.pde.gallery import GALLERY

PI = math.pi
EXACT = [
    "burgers", "euler-beam", "heat", "heat-2d", "heat-5d", "heat-10d", "helmholtz", "kovasznay",
    "poisson", "poisson-1d", "poisson-5d", "poisson-10d", "reaction-diffusion", "schroedinger",
    "solitons", "taylor-green", "wave",
]  # fmt: skip
HARD = [
    "allen-cahn", "burgers", "cavity", "cavity-400", "cavity-1000", "cavity-3200", "heat",
    "heat-2d", "heat-5d", "heat-10d", "helmholtz", "kdv",
    "kdv-raissi", "kuramoto-sivashinsky", "ks-chaotic", "lorenz",
    "lotka-volterra", "poisson", "poisson-1d", "poisson-5d", "poisson-10d", "reaction-diffusion",
    "schroedinger", "solitons", "wave",
]  # fmt: skip


class ByAutograd(torch.nn.Module):
    """A function of points as a network whose jets are nested autograd's."""

    def __init__(self, function, nested):
        super().__init__()
        self.function, self.nested = function, nested

    def forward(self, x):
        return self.function(x)

    def jet(self, x, derivatives):
        jets = [self.function(x)]
        for asked in derivatives:
            if isinstance(asked, LinearOperator):
                parts = [c * self.nested(self.function, x, i) for i, c in asked.partials]
                jets.append(torch.stack(parts).sum(0))
            else:
                jets.append(self.nested(self.function, x, asked))
        return tuple(jets)


def poisson(d, x):
    r2 = ((x - 0.5) ** 2).sum(1)
    names = [f"x{i + 1}" for i in range(x.shape[1])]
    return sum(d("u", f"{n}_{n}") for n in names) + (2 * x.shape[1] - 4 * r2) * (-r2).exp()


def heat(alpha):
    return lambda d, x: (
        d("u", "t") - alpha * sum(d("u", f"x{i}_x{i}") for i in range(1, x.shape[1]))
    )


def burgers(nu):
    return lambda d, x: d("u", "t") + d("u") * d("u", "x") - nu * d("u", "xx")


def dispersive(delta):
    return lambda d, x: d("u", "t") + d("u") * d("u", "x") + delta * d("u", "xxx")


def flame(d, *factors):
    a, b, c = factors
    return d("u", "t") + a * d("u") * d("u", "x") + b * d("u", "xx") + c * d("u", "xxxx")


def fisher(rho):
    return lambda d, x: d("u", "t") - d("u", "xx") - rho * d("u") * (1 - d("u"))


def wave(c):
    return lambda d, x: d("u", "tt") - c * c * d("u", "xx")


def helmholtz(k):
    def residual(d, x):
        source = (k * k - PI**2 - (4 * PI) ** 2) * (PI * x[:, 0]).sin() * (4 * PI * x[:, 1]).sin()
        return d("u", "xx") + d("u", "yy") + k * k * d("u") - source

    return residual


def lorenz(sigma, rho, beta):
    return lambda d, x: (
        d("x", "t") - sigma * (d("y") - d("x")),
        d("y", "t") - (d("x") * (rho - d("z")) - d("y")),
        d("z", "t") - (d("x") * d("y") - beta * d("z")),
    )


def lotka_volterra(alpha, beta, gamma, delta):
    return lambda d, x: (
        d("u", "t") - (alpha * d("u") - beta * d("u") * d("v")),
        d("v", "t") - (delta * d("u") * d("v") - gamma * d("v")),
    )


def steady_flow(d, x, nu, u_t=0.0, v_t=0.0):
    u, v = d("u"), d("v")
    return (
        u_t + u * d("u", "x") + v * d("u", "y") + d("p", "x") - nu * (d("u", "xx") + d("u", "yy")),
        v_t + u * d("v", "x") + v * d("v", "y") + d("p", "y") - nu * (d("v", "xx") + d("v", "yy")),
        d("u", "x") + d("v", "y"),
    )


def in_cavity(nu):
    """Momentum divided by sqrt(1 + 0.01 / r^2) for the distance r from each corner of the lid.

    And times 16 x (1 - x) y (1 - y) + 0.05, mass times 0.3.
    """

    def residual(d, x):
        in_x, in_y, mass = steady_flow(d, x, nu)
        for corner in (0.0, 1.0):
            r = (x - x.new_tensor([corner, 1.0])).norm(dim=1)
            in_x, in_y = (part / (1 + 0.01 / r**2).sqrt() for part in (in_x, in_y))
        inside = 16 * (x * (1 - x)).prod(1) + 0.05
        return inside * in_x, inside * in_y, 0.3 * mass

    return residual


def wake(d, x, lambda_1=0.0, lambda_2=0.0):
    """By default with the constants at 0, where their learning begins."""
    u, v = d("u"), d("v")
    u_moved, v_moved = (u * d(w, "x") + v * d(w, "y") for w in "uv")
    u_spread, v_spread = (d(w, "xx") + d(w, "yy") for w in "uv")
    return (
        d("u", "t") + lambda_1 * u_moved + d("p", "x") - lambda_2 * u_spread,
        d("v", "t") + lambda_1 * v_moved + d("p", "y") - lambda_2 * v_spread,
        d("u", "x") + d("v", "y"),
    )


def cubic(d, sign):
    """Of i h_t + h_xx / 2 + |h|^2 h = 0, the real (1) or imaginary part (-1)."""
    u, v = d("u"), d("v")
    h = torch.complex(u, v)
    h_t, h_xx = torch.complex(d("u", "t"), d("v", "t")), torch.complex(d("u", "xx"), d("v", "xx"))
    left = 1j * h_t + 0.5 * h_xx + h.abs() ** 2 * h
    return left.real if sign > 0 else left.imag


# The equations: residuals by d(output, derivative) and the points.
PAPER = {
    "allen-cahn": lambda d, x: d("u", "t") - 0.0001 * d("u", "xx") - 5 * (d("u") - d("u") ** 3),
    "burgers": burgers(0.01 / PI),
    "cavity": in_cavity(0.01),
    "cavity-400": in_cavity(0.0025),
    "cavity-1000": in_cavity(0.001),
    "cavity-3200": in_cavity(0.0003125),
    "cylinder": wake,
    "euler-beam": lambda d, x: d("u", "tt") + d("u", "xxxx") / PI**4,
    "heat": lambda d, x: d("u", "t") - 0.1 * d("u", "xx"),
    "heat-2d": heat(0.1),
    "heat-5d": heat(0.02),
    "heat-10d": heat(0.01),
    "helmholtz": helmholtz(1),
    "kdv": dispersive(0.000484),
    "kdv-raissi": dispersive(0.0025),
    "solitons": lambda d, x: d("u", "t") + 6 * d("u") * d("u", "x") + d("u", "xxx"),
    "kovasznay": lambda d, x: steady_flow(d, x, 1 / 40),
    "kuramoto-sivashinsky": lambda d, x: flame(d, 5, 0.5, 0.005),
    "ks-chaotic": lambda d, x: flame(d, 6.25, 0.390625, 0.00152587890625),
    "lorenz": lorenz(10, 15, 8 / 3),
    "lotka-volterra": lotka_volterra(1, 1, 1, 1),
    "poisson": poisson,
    "poisson-1d": poisson,
    "poisson-5d": poisson,
    "poisson-10d": poisson,
    "reaction-diffusion": fisher(6),
    "schroedinger": lambda d, x: (cubic(d, 1), cubic(d, -1)),
    "taylor-green": lambda d, x: steady_flow(d, x, 0.1, d("u", "t"), d("v", "t")),
    "wave": wave(1),
}  # fmt: skip


def on_paper(law, problem, function, x, nested):
    """Residuals of an equation, by its name that in PAPER, of a function of points, [N] each."""
    law = PAPER[law] if isinstance(law, str) else law

    def d(output, derivative=""):  # one letter for each input, or names between _
        separate = derivative.split("_") if "_" in derivative else list(derivative)
        indices = tuple(problem.inputs.index(part) for part in separate)
        return nested(function, x, indices)[:, problem.outputs.index(output)]

    result = law(d, x)
    return result if isinstance(result, tuple) else (result,)


@functools.cache
def reference(name):
    return GALLERY[name]().test_grid()


def inside(problem, n=20):
    return problem.domain.sample(n, dtype=torch.float64)


def small_network(problem):
    problem.recipe = replace(problem.recipe, hidden=(7, 7))
    return problem.network().double()


def differences(u, axis, h, order):
    """First or second derivative on a grid by differences of fourth order, NaN at the ends."""
    weights = {1: [1, -8, 0, 8, -1], 2: [-1, 16, -30, 16, -1]}[order]
    found = sum(w * u.roll(2 - k, axis) for k, w in enumerate(weights)) / (12 * h**order)
    ends = [slice(None)] * u.dim()
    for ends[axis] in (slice(0, 2), slice(-2, None)):
        found[tuple(ends)] = math.nan
    return found
