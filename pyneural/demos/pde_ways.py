"""Burgers' equation in four ways: which is right when, and what does it cost?

    u_t + u u_x = (0.01 / pi) u_xx,   u(0, x) = -A sin(pi x),   -1 < x < 1

1. Linearisation: for a small amplitude A drop u u_x and solve the heat
   equation by hand. The error relative to u grows in proportion to A; the
   first correction, of second order in A, leaves one in proportion to A^2.
2. Exact reduction: Cole and Hopf's substitution turns it into the heat
   equation, whose solution is an integral; quadrature does the rest.
3. A numerical solver: Fourier pseudo-spectral in space, ETDRK4 in time.
4. A physics-informed network, by Levenberg and Marquardt's method.

Prints seconds and relative L2 error of each way for A = 1 on the usual test
grid of 100 times and 256 positions, where a shock forms at t = 0.32; writes
pde-ways.png.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pyneural import plots
from pyneural.demos import _burgers
from pyneural.demos._options import counted, whole
from pyneural.models import PINN
from pyneural.models.physics.reference import relative_l2
from pyneural.pde import Box, Burgers, cole_hopf, spectral
from pyneural.training import LevenbergMarquardt, Trainer
from pyneural.training.callbacks import AdaptivePoints

Cost = tuple[list[float], list[float], list[str]]  # seconds, errors, what each point is

SYSTEMS = ("S20",)
SUMMARY = "Burgers' equation in four ways, compared."
NEXT = "pyneural demo pde cavity --quick: a flow with its pressure"
QUICK = ("--steps", "30", "--looks", "3", "--width", "12", "--points", "500")
OPTIONS = {
    "--steps": whole("steps of Levenberg-Marquardt", 120, low=1),
    "--looks": whole("errors measured on the way", 6, low=1),
    "--width": whole("units of each of the 4 layers", 20, low=1),
    "--points": whole("collocation points at the start", 2000, low=1),
}
NU, TIME = 0.01 / math.pi, 0.75  # viscosity; time of the profiles
AMPLITUDES = tuple(10 ** (-3 + k / 3) for k in range(10))  # 0.001 to 1
NODES = (6, 12, 25, 50, 100, 150)  # nodes of the quadrature
GRIDS = ((64, 40), (128, 80), (256, 160), (512, 320), (1024, 640), (1536, 1600), (2048, 3200))


def first_order(t: Tensor, x: Tensor, amplitude: float = 1.0) -> Tensor:
    """The solution of the heat equation that starts as -A sin(pi x)."""
    return -amplitude * torch.exp(-NU * math.pi**2 * t) * torch.sin(math.pi * x)


def second_order(t: Tensor, x: Tensor, amplitude: float = 1.0) -> Tensor:
    """The correction of order A^2: v_t - nu v_xx = -u u_x of ``first_order``, v(0) = 0."""
    rate = NU * math.pi**2
    growth = (torch.exp(-2 * rate * t) - torch.exp(-4 * rate * t)) / (2 * rate)
    return -(amplitude**2) * math.pi / 2 * growth * torch.sin(2 * math.pi * x)


def third_order(t: Tensor, x: Tensor, amplitude: float = 1.0) -> Tensor:
    """The correction of order A^3: w_t - nu w_xx = -(u v)_x of the two before, w(0) = 0."""
    rate = NU * math.pi**2
    scale = math.pi**2 / (8 * rate**2)

    def grown(power: int) -> Tensor:  # integral of exp(power rate s) to t, times the rate
        return torch.expm1(power * rate * t) / power

    first = scale * torch.exp(-rate * t) * (grown(-2) - grown(-4))
    third = -3 * scale * torch.exp(-9 * rate * t) * (grown(6) - grown(4))
    return amplitude**3 * (first * torch.sin(math.pi * x) + third * torch.sin(3 * math.pi * x))


def solver(amplitude: float = 1.0) -> spectral.Fourier:
    """Burgers' equation on the periodic interval, whose odd solution is 0 at both ends."""
    return spectral.Fourier(
        lambda u: NU * u.xx - u * u.x,
        Box(t=(0, 1), x=(-1, 1)),
        lambda x: -amplitude * torch.sin(math.pi * x),
    )


def against_amplitude(points: Tensor) -> dict[str, tuple[list[float], list[float]]]:
    """Measured and predicted errors of the first and the second order for each amplitude."""
    t, x = points.T
    linear: tuple[list[float], list[float]] = ([], [])
    corrected: tuple[list[float], list[float]] = ([], [])
    for amplitude in AMPLITUDES:
        n = 128 if amplitude < 0.15 else 1536
        exact = solver(amplitude).solve(n, n, [1.0])(points)[:, 0]
        one, two, three = (
            order(t, x, amplitude) for order in (first_order, second_order, third_order)
        )
        linear[0].append(relative_l2(one, exact))
        linear[1].append(float(two.norm() / one.norm()))
        corrected[0].append(relative_l2(one + two, exact))
        corrected[1].append(float(three.norm() / one.norm()))
    return {"linearised": linear, "second order": corrected}


def timed(function: Callable[..., Tensor], *arguments: Any) -> tuple[float, Tensor]:
    """Seconds of a call and its result."""
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def train(args: argparse.Namespace, points: Tensor, exact: Tensor) -> tuple[PINN, Cost]:
    """Trains the network; seconds, errors and numbers of steps."""
    args.device, args.dtype = "cpu", "float64"
    pinn = _burgers.exact_start(args, [args.width] * _burgers.LAYERS, args.points)
    errors, every = _burgers.Errors(points, exact[:, None]), max(1, args.steps // args.looks)
    report = Trainer(
        pinn,
        [LevenbergMarquardt(args.steps)],
        callbacks=[AdaptivePoints(), errors],
        steps_per_epoch=every,
    ).fit()
    args.interrupted = report.interrupted
    steps = [min(report.steps, every * (k + 1)) for k in range(len(errors.values))]
    return pinn, (errors.seconds, errors.values, [counted(step, "step") for step in steps])


def classical(points: Tensor, exact: Tensor) -> dict[str, Cost]:
    """Seconds and errors of the ways that need no network, with growing effort."""
    t, x = points.T
    times = points[::256, 0]

    def reduced(order: int) -> Tensor:
        return cole_hopf(t, x, NU, order=order)

    def computed(n: int, steps: int) -> Tensor:
        return solver().solve(n, steps, times)(points)[:, 0]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the first grids are too coarse, as is to be seen
        for order in NODES:  # the nodes, which are kept, and tables of the libraries
            cole_hopf(0.5, 0.5, NU, order=order)
        computed(*GRIDS[0])
        calls = {
            "linearised": [("by hand", timed(first_order, t, x))],
            "Cole-Hopf": [(f"{order} nodes", timed(reduced, order)) for order in NODES],
            "pseudo-spectral": [(f"n = {grid[0]:,}", timed(computed, *grid)) for grid in GRIDS],
        }
    return {
        name: (
            [seconds for _, (seconds, _) in rows],
            [relative_l2(u, exact) for _, (_, u) in rows],
            [label for label, _ in rows],
        )
        for name, rows in calls.items()
    }


def print_tables(
    costs: dict[str, Cost], orders: dict[str, tuple[list[float], list[float]]]
) -> None:
    """Prints cost and error of each way, and error against amplitude."""
    print(f"\n  {'way':<17}{'effort':<24}{'seconds':>8}{'error':>10}")
    for name, (seconds, errors, labels) in costs.items():
        for row, (second, error, label) in enumerate(zip(seconds, errors, labels, strict=True)):
            print(f"  {'' if row else name:<17}{label:<24}{second:>8.2g}{error:>10.1e}")
    print(f"\n  {'amplitude':<13}" + "".join(f"{name:>14}{'predicted':>12}" for name in orders))
    for row, amplitude in enumerate(AMPLITUDES):
        pairs = [f"{found[row]:>14.1e}{theory[row]:>12.1e}" for found, theory in orders.values()]
        print(f"  {amplitude:<13.3g}{''.join(pairs)}")
    print()


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    print("Burgers' equation  u_t + u u_x = (0.01 / pi) u_xx  in four ways\n")
    points, _ = Burgers().test_grid()
    exact = cole_hopf(points[:, 0], points[:, 1], NU, order=800)
    costs = classical(points, exact)
    pinn, costs["PINN"] = train(args, points, exact)
    orders = against_amplitude(Box(t=(0, 1), x=(-1, 1)).grid(2, 256, dtype=torch.float64)[256:])
    print_tables(costs, orders)
    x = torch.linspace(-1, 1, 801, dtype=torch.float64)
    t = torch.full_like(x, TIME)
    profiles = {
        "exact": cole_hopf(t, x, NU),
        "linearised": first_order(t, x),
        "PINN": pinn.predict(torch.stack([t, x], 1))[:, 0],
    }
    shown = {  # the first and the last point are named
        name: (seconds, errors, [labels[0], *[""] * (len(labels) - 2), *labels[1:][-1:]])
        for name, (seconds, errors, labels) in costs.items()
    }
    title = (
        r"Four ways to the solution of Burgers' equation, $u_t + u\,u_x = (0.01/\pi)\,u_{xx}$, "
        r"$u(0, x) = -A\,\sin \pi x$"
    )
    return plots.ways_to_solution(x, profiles, AMPLITUDES, orders, shown, time=TIME, title=title)
