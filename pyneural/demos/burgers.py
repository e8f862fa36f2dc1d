"""Burgers' equation by a physics-informed neural network.

    u_t + u u_x - (0.01 / pi) u_xx = 0    on (0, 1] x (-1, 1)
    u(0, x) = -sin(pi x),  u(t, -1) = u(t, 1) = 0

The network learns from points on the initial and boundary lines (data loss) and from the equation
inside (residual loss): first Adam, then rounds of L-BFGS, each with new collocation points where
the residual is large. Prints the relative L2 error against the exact solution of Cole and Hopf and
writes burgers.png, with the checkpoint burgers.safetensors. Ctrl-C writes both as they are then.
"""

from __future__ import annotations

import argparse

from pyneural import plots
from pyneural.demos import _burgers, _options
from pyneural.training import LBFGS, Adam, Phase

SYSTEMS = ("S22",)
SUMMARY = "Burgers' equation by a physics-informed network, against Cole-Hopf."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the demo's options."""
    _options.add_common(parser)
    number = _options.whole
    add = parser.add_argument
    add("--epochs", type=number(0), default=1000, help="steps of Adam (default: 1000)")
    add("--lbfgs", type=number(0), default=12_000, help="iterations of L-BFGS (default: 12000)")
    add("--rounds", type=number(1), default=4, help="rounds they are split into (default: 4)")
    add("--points", type=number(1), default=5_000, help="collocation points (default: 5000)")
    add("--conditions", type=number(2), default=100, help="points with data (default: 100)")
    add("--data-weight", type=float, default=10.0, help="weight of the data loss (default: 10)")


def run(args: argparse.Namespace) -> int:
    """Runs the demo; 0, or 130 after Ctrl-C."""
    out = _options.checked_out(args.out)
    pinn = _burgers.make_pinn(args, points=args.points, data_weight=args.data_weight)
    rounds = [(args.lbfgs + i) // args.rounds for i in range(args.rounds)]
    phases: list[Phase] = [Adam(args.epochs), *(LBFGS(steps) for steps in rounds)]
    print("Burgers' equation  u_t + u u_x = (0.01 / pi) u_xx\n")
    trainer, report = _burgers.train(pinn, phases, args, out, "burgers")
    error = _burgers.relative_l2(pinn)
    title = (
        r"Burgers' equation, $u_t + u\,u_x = (0.01/\pi)\,u_{xx}$: physics-informed network, "
        f"relative $L_2$ error {plots.scientific(error)}"
    )
    picture = _burgers.draw(pinn, out / "burgers.png", title, training=trainer)
    _options.print_rows(
        [
            ("relative L2", f"{error:.2e} against Cole-Hopf on 256 x 100 points"),
            ("training", f"{report.seconds:.1f} s, {report.steps:,} steps"),
            ("picture", str(picture)),
        ]
    )
    return 130 if report.interrupted else 0
