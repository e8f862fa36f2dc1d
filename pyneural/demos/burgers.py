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
from pyneural.demos import _burgers, _options
from pyneural.training import LBFGS, Adam, Phase

SYSTEMS = ("S22",)
SUMMARY = "Burgers' equation with a PINN."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the demo's options."""
    _burgers.add_arguments(parser, lbfgs=12_000)
    _options.add_whole(parser, "--rounds", 4, "rounds of L-BFGS, which share its iterations", low=1)
    _options.add_whole(parser, "--points", 5_000, "collocation points", low=1)
    parser.add_argument(
        "--data-weight",
        type=_options.nonnegative,
        default=10.0,
        metavar="W",
        help="weight of the data loss (default: 10)",
    )


def run(args: argparse.Namespace) -> int:
    """Runs the demo; 0, or 130 after Ctrl-C."""
    pinn = _burgers.make_pinn(args, points=args.points, data_weight=args.data_weight)
    rounds = [(args.lbfgs + i) // args.rounds for i in range(args.rounds)]
    phases: list[Phase] = [Adam(args.epochs), *(LBFGS(steps) for steps in rounds)]
    print("Burgers' equation  u_t + u u_x = (0.01 / pi) u_xx\n")
    trainer, report = _burgers.train(pinn, phases, args, args.out, "burgers")
    error = _burgers.relative_l2(pinn)
    title = (
        r"Burgers' equation, $u_t + u\,u_x = (0.01/\pi)\,u_{xx}$: physics-informed network, "
        f"relative $L_2$ error {plots.scientific(error)}"
    )
    picture = _burgers.draw(pinn, args.out / "burgers.png", title, training=trainer)
    _options.print_rows(
        [
            ("relative L2", f"{error:.2e} against Cole-Hopf on 256 x 100 points"),
            ("training", f"{report.seconds:.1f} s, {report.steps:,} steps"),
            ("picture", str(picture)),
        ]
    )
    return 130 if report.interrupted else 0
