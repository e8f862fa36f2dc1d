"""Burgers' equation with a physics-informed neural network.

    u_t + u u_x - (0.01 / pi) u_xx = 0    on (0, 1] x (-1, 1)
    u(0, x) = -sin(pi x),  u(t, -1) = u(t, 1) = 0

The network learns from points on the initial and boundary lines (data loss)
and from the equation at collocation points (residual loss): first Adam, then
rounds of L-BFGS, each with new collocation points where the residual is large.
Prints the relative L2 error against the exact Cole-Hopf solution; writes
burgers.png and the checkpoint burgers.safetensors. Ctrl-C stops the training
and writes both.
"""

from __future__ import annotations

import argparse

from pyneural import plots
from pyneural.demos import _burgers
from pyneural.demos._options import nonnegative, option, print_row, whole
from pyneural.training import LBFGS, Adam, Phase

SYSTEMS = ("S22",)
SUMMARY = "Burgers' equation with a PINN."
OPTIONS = _burgers.OPTIONS | {
    "--lbfgs": whole("iterations of L-BFGS", 12_000),
    "--rounds": whole("rounds of L-BFGS, which share its iterations", 4, low=1),
    "--points": whole("collocation points", 5_000, low=1),
    "--data-weight": option("weight of the data loss", 10, type=nonnegative, metavar="W"),
}


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    pinn = _burgers.make_pinn(args, points=args.points, data_weight=args.data_weight)
    rounds = [(args.lbfgs + i) // args.rounds for i in range(args.rounds)]
    phases: list[Phase] = [Adam(args.epochs), *(LBFGS(steps) for steps in rounds)]
    print("Burgers' equation  u_t + u u_x = (0.01 / pi) u_xx\n")
    trainer, report = _burgers.train(pinn, phases, args, "burgers")
    error = _burgers.relative_l2(pinn)
    title = (
        r"Burgers' equation, $u_t + u\,u_x = (0.01/\pi)\,u_{xx}$: physics-informed network, "
        f"relative $L_2$ error {plots.scientific(error)}"
    )
    print_row("relative L2", f"{error:.2e} against Cole-Hopf on 256 x 100 points")
    print_row("training", f"{report.seconds:.1f} s, {report.steps:,} steps")
    args.interrupted = report.interrupted
    return _burgers.draw(pinn, title, trainer)
