"""Burgers' equation with a physics-informed network, to eight digits in a minute.

    u_t + u u_x - (0.01 / pi) u_xx = 0    on (0, 1] x (-1, 1)
    u(0, x) = -sin(pi x),  u(t, -1) = u(t, 1) = 0

The start and the period are built into the network,

    u = -sin(pi x) + t N(t, cos pi x, sin pi x)

so that the equation at collocation points is all there is to learn. It is
learned by Levenberg and Marquardt's method along paths of fourth order, with
new points where the residual is large every ten steps; beside it, the same
network with Adam and L-BFGS.

Prints the relative L2 error against the exact Cole-Hopf solution; writes
burgers.png and the checkpoint burgers.safetensors. Ctrl-C stops the training
and writes both.
"""

from __future__ import annotations

import argparse
import copy

from pyneural.demos import _burgers
from pyneural.demos._options import TRAINING, counted, option, print_row, whole
from pyneural.models import PINN
from pyneural.pde.gallery import Burgers
from pyneural.plots import scientific
from pyneural.training import LBFGS, Adam, LevenbergMarquardt
from pyneural.training.callbacks import AdaptivePoints

SYSTEMS = ("S22",)
SUMMARY = "Burgers' equation with a PINN."
NEXT = "pyneural demo pde --list: a gallery of equations"
QUICK = ("--steps", "60", "--time-limit", "3600", "--beside", "1500")
OPTIONS = TRAINING | {
    "--time-limit": TRAINING["--time-limit"] | option("seconds of each training", 60.0),
    "--steps": whole("steps of Levenberg-Marquardt at most", 100_000),
    "--order": whole("order of their paths", 4, low=1, high=4),
    "--width": whole("units of each of the 4 layers", 20, low=1),
    "--points": whole("collocation points at the start", 2000, low=1),
    "--most-points": whole("to which they grow", 10_000, low=1),
    "--beside": whole("steps of Adam and L-BFGS for comparison", 6000),
}
FIRST, ROUND = 1000, 500  # steps of Adam, then of L-BFGS from one choice of points to the next


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    pinn = _burgers.exact_start(args, [args.width] * _burgers.LAYERS, args.points)
    beside = copy.deepcopy(pinn)
    print("Burgers' equation  u_t + u u_x = (0.01 / pi) u_xx\n")
    errors = _burgers.Errors(*Burgers().test_grid())
    report = _burgers.train(
        pinn,
        [LevenbergMarquardt(args.steps, order=args.order)],
        args,
        "burgers",
        callbacks=[AdaptivePoints(most=args.most_points), errors],
        steps_per_epoch=5,
    )
    error = _burgers.relative_l2(pinn)
    title = (
        r"Burgers' equation, $u_t + u\,u_x = (0.01/\pi)\,u_{xx}$: physics-informed network, "
        f"relative $L_2$ error {scientific(error)}"
    )
    print_row("relative L2", f"{error:.2e} against Cole-Hopf on 256 x 100 points")
    print_row("training", f"{report.seconds:.1f} s, {counted(report.steps, 'step')}")
    args.interrupted = report.interrupted
    curves = {f"Levenberg-Marquardt, order {args.order}": errors.curve}
    if args.beside > 0 and not report.interrupted:
        curves["Adam and L-BFGS"] = _train_beside(beside, args)
    return _burgers.draw(pinn, title, curves)


def _train_beside(pinn: PINN, args: argparse.Namespace) -> tuple[list[float], list[float]]:
    """Seconds and errors of the usual training."""
    errors = _burgers.Errors(*Burgers().test_grid())
    rounds = range(FIRST, args.beside, ROUND)
    report = pinn.fit(
        [
            Adam(min(FIRST, args.beside)),
            *(LBFGS(min(ROUND, args.beside - done)) for done in rounds),
        ],
        callbacks=[errors],
        steps_per_epoch=100,
        time_limit=args.time_limit,
    )
    found = f"{_burgers.relative_l2(pinn):.2e} after {report.seconds:.1f} s"
    print_row("beside it", f"Adam and L-BFGS: {found}")
    args.interrupted = report.interrupted
    return errors.curve
