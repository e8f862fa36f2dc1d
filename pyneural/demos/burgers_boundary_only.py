"""A network trained on initial and boundary points alone, without the equation.

A network of 8 layers of 20 is trained on 100 points of the initial and
boundary lines of Burgers' equation. It fits those points and fails inside the
domain, where it has neither data nor the equation. Prints both errors; writes
burgers-boundary-only.png and the checkpoint burgers-boundary-only.safetensors.
"""

from __future__ import annotations

import argparse

import torch

from pyneural import plots
from pyneural.demos import _burgers
from pyneural.demos._options import TRAINING, print_row, whole
from pyneural.training import LBFGS, Adam, Phase

SYSTEMS = ("S21",)
SUMMARY = "Without the equation a network fails inside."
NEXT = "pyneural demo burgers: the same problem with its equation"
QUICK = ("--epochs", "200", "--lbfgs", "200")
OPTIONS = TRAINING | {
    "--epochs": whole("steps of Adam", 1000),
    "--lbfgs": whole("iterations of L-BFGS", 1000),
    "--conditions": whole("points with data", 100, low=2),
}


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    pinn = _burgers.boundary_only(args)
    phases: list[Phase] = [Adam(args.epochs), LBFGS(args.lbfgs)]
    print("Burgers' equation  u_t + u u_x = (0.01 / pi) u_xx, boundary points alone\n")
    report = _burgers.train(pinn, phases, args, "burgers-boundary-only")
    parts = [part for _, part in pinn.named_conditions()]
    points, target = torch.cat([p.points for p in parts]), torch.cat([p.target for p in parts])
    boundary, inside = pinn.relative_l2(points, target), _burgers.relative_l2(pinn)
    title = (
        "Burgers' equation from boundary points alone: relative $L_2$ error "
        f"{plots.scientific(boundary)} on the points, {plots.scientific(inside)} in the domain"
    )
    print_row("on the points", f"{boundary:.2e} relative L2")
    print_row("in the domain", f"{inside:.2e} relative L2 against Cole-Hopf on 256 x 100 points")
    print_row("training", f"{report.seconds:.1f} s, {report.steps:,} steps")
    args.interrupted = report.interrupted
    return _burgers.draw(pinn, title)
