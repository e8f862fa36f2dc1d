"""A differential equation of the gallery, solved by a physics-informed network.

    pyneural demo pde --list    the equations
    pyneural demo pde heat      trains on the heat equation

Network and training are those that the problem's recipe names. Prints the
relative L2 error against the reference beside the one that the recipe states,
and writes pde-NAME.png: solution, reference and error. Ctrl-C stops the
training and writes the picture.
"""

from __future__ import annotations

import argparse

import torch

from pyneural import plots
from pyneural.demos import _options
from pyneural.demos._options import counted, option, print_row
from pyneural.models import PINN, Solved, TimeWindows, solve
from pyneural.models.physics.reference import relative_l2
from pyneural.pde.gallery import GALLERY, Problem

SYSTEMS = ("S22",)
SUMMARY = "Equations of a gallery, see --list."
NEXT = "pyneural demo inverse: constants of an equation from data"
QUICK = ("heat",)
SHARE = 0.05  # of the steps, with --quick
_MOST_MARKED = 500  # points, beyond which they would hide the field
OPTIONS: _options.Options = {
    "name": {"nargs": "?", "choices": GALLERY, "metavar": "NAME", "help": "a name of --list"},
    "--list": option("show the equations", action="store_true"),
    "--quick": option("a twentieth of the steps", action="store_true"),
    "--device": _options.TRAINING["--device"],
    "--dtype": _options.TRAINING["--dtype"],
}


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure, none for the list."""
    if args.list:
        for name, make in GALLERY.items():
            print(f"{name:<22}{make().formula}")
        return None
    if args.name is None:
        raise ValueError("NAME: expected an equation, got none; see pyneural demo pde --list")
    args.picture = f"pde-{args.name}"
    problem = GALLERY[args.name]()
    _describe(problem, args)
    solved = solve(
        problem,
        share=SHARE if args.quick else 1.0,
        dtype=_options.DTYPES[args.dtype],
        device=_options.checked_device(args.device),
        generator=torch.Generator().manual_seed(args.seed),
    )
    _print_trainings(solved)
    points, values = problem.test_grid()
    if isinstance(solved.model, TimeWindows) and solved.interrupted:
        reached = points[:, 0] <= solved.model.times[len(solved.model.windows)]
        points, values = points[reached], values[reached]
    predicted = solved.model.predict(points)
    error = relative_l2(predicted, values)
    print()
    print_row("relative L2", f"{error:.1e}, stated {problem.recipe.error:.0e}")
    if len(problem.outputs) > 1:
        parts = zip(problem.outputs, predicted.unbind(1), values.unbind(1), strict=True)
        known = [(name, u, right) for name, u, right in parts if not bool(right.isnan().all())]
        shown = [f"{name} {relative_l2(u, right):.1e}" for name, u, right in known]
        print_row("of each", ", ".join(shown))
    for name, right in problem.truth.items():
        found = float(dict(problem.named_parameters())[name].detach())
        print_row(name, f"{found:.6g}, right is {right:g}")
    print_row("against", f"{problem.reference}, {len(points):,} points")
    print_row("training", f"{solved.seconds:.1f} s, {solved.steps:,} steps")
    args.interrupted = solved.interrupted
    title = f"{args.name}: relative $L_2$ error {plots.scientific(error)}"
    return draw(problem, solved.model, title)


def draw(problem: Problem, model: PINN | TimeWindows, title: str) -> object:
    """The figure: curves of one coordinate, or fields of two."""
    names, values = problem.domain.names, problem.test_grid()[1]
    scattered = bool(values.isnan().any())  # the reference is known at some points only
    if scattered:
        points = problem.domain.grid(*problem.counts, dtype=torch.float64)
    else:
        points, values = problem.section_grid()
    free = [index for index, name in enumerate(names) if name not in problem.section]
    axes = [(names[index], points[:, index].unique()) for index in free]
    predicted = model.predict(points).to(points)
    if problem.section:
        title += ", at " + ", ".join(f"{name} = {at:g}" for name, at in problem.section.items())
    if len(free) == 1:
        return plots.solution_curves(axes[0], predicted, values, problem.outputs, title=title)
    shape = *(len(along) for _, along in axes), len(problem.outputs)
    reference = None if scattered else values.reshape(shape)
    known = problem.test_grid()[0]
    marked = known if scattered and len(known) <= _MOST_MARKED else None
    return plots.solution_fields(
        axes, predicted.reshape(shape), reference, problem.outputs, marked=marked, title=title
    )


def _describe(problem: Problem, args: argparse.Namespace) -> None:
    """Prints equation, network and points."""
    recipe = problem.recipe
    place = args.device
    if place == "cpu":
        place += f" with {counted(torch.get_num_threads(), 'thread')}"
    print(f"{problem.formula}\n")
    layers = " x ".join(map(str, recipe.hidden))
    built_in = ", conditions built in" if recipe.hard else ""
    print_row("network", f"{layers} {recipe.activation}{built_in}")
    given = "" if recipe.hard else f", {recipe.condition_points:,} of conditions"
    print_row("points", f"{recipe.points:,} inside{given}, up to {recipe.most:,} in training")
    if recipe.windows > 1:
        print_row("time", f"{recipe.windows} windows, one network each")
    print_row("computing", f"{args.dtype} on {place}, seed {args.seed}\n")


def _print_trainings(solved: Solved) -> None:
    """Prints a line for each phase of each training."""
    several = len(solved.reports) > 1
    for number, report in enumerate(solved.reports, 1):
        for phase in report.phases:
            name = f"{phase.name} {number}" if several else phase.name
            loss, reason = f"loss {phase.loss:.2e}", phase.reason
            print_row(name, f"{phase.steps:>6,} steps {phase.seconds:>7.1f} s   {loss}   {reason}")
    count = sum(parameter.numel() for parameter in solved.pinns[0].network.parameters())
    print_row("parameters", f"{count:,}" + (" of each network" if len(solved.pinns) > 1 else ""))
