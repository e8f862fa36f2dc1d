"""The cheatsheet of hyperparameters: each of its seven rules, measured.

How fast is an oscillator damped? A network is asked for the damping rate, or
whether it is above its median, from 20 noisy readings, and learns it from 100
oscillators. One hyperparameter at a time is changed; each seed draws data and
weights anew. A rule is turned into statements "q is larger with A than with
B". One holds if the mean of log q_A / q_B over the seeds is above 0 and p <
0.05 by Student's paired test, with Holm's correction for all statements
together; does not hold if it is below 0, and can't be told otherwise. The
intervals are of 95 % for each ratio alone. A training that never reached the
target has a lower bound of the time, and so has its ratio. Goes on after an
interruption, and shares the work under torchrun. Prints the answers beside the
claims; writes cheatsheet.png, .csv and .json.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from pyneural import plots
from pyneural.demos._experiments import is_first, measure, write_tables
from pyneural.demos._options import counted, option, whole
from pyneural.experiments import cheatsheet
from pyneural.experiments.contrasts import FAILS, HOLDS, group_values

SYSTEMS = ("S10",)
SUMMARY = "The cheatsheet of hyperparameters, measured."
NEXT = "pyneural demo loss-doctor: what a loss curve says of them"
QUICK = ("--seeds", "4")
OPTIONS = {
    "--seeds": whole("trainings of each setting", 5, low=2),
    "--thorough": option("20 seeds", action="store_true"),
}
THOROUGH = 20
BOTH = {"training": "training", "held_out": "held out"}
ERROR, TASKS = "error", ("regression (error)", "classes (share wrong)")
# Title, hyperparameter, what was measured, and its curves: sweep, column and name of each.
PANELS = (
    ("1  Wide networks tend to overfit", "units of each of 2 layers", ERROR,
     [("width", *names) for names in BOTH.items()]),
    ("1  Deep networks are hard to train", "layers of 32 units", ERROR,
     [("depth", *names) for names in BOTH.items()]),
    ("2  Stop when learning slows down", "epochs", ERROR,
     [("epochs", *names) for names in BOTH.items()]),
    ("3  The loss fits the task", "loss", "held-out error",
     [("loss, regression", "held_out", TASKS[0]), ("loss, classification", "held_out", TASKS[1])]),
    ("4  The last activation fits the loss", "activation of the last layer", "held-out error",
     [("last activation, mse", "held_out", "mse (error)"),
      ("last activation, bce", "held_out", "crossentropy (share wrong)")]),
    ("5  The optimizer fits the data", "optimizer, at its best rate", "training error",
     [("optimizer, one unit", "training", "readings in one unit"),
      ("optimizer, mixed units", "training", "in mixed units")]),
    ("6  The rate balances speed and accuracy", "learning rate of Adam", ERROR,
     [("learning rate", *names) for names in BOTH.items()]),
    ("7  A smaller batch leads to overtraining", "batch size", ERROR,
     [("batch size", *names) for names in BOTH.items()]),
    ("7  A smaller batch is faster", "batch size", "processor time [ms]",
     [("batch size", "epoch_seconds", "an epoch"),
      ("batch size", "target_seconds", "to a training error of 0.4")]),
)  # fmt: skip


TIMES = ("target", "epoch")  # the columns of times begin with these
TIMED = {sweep for _, _, ylabel, curves in PANELS if ylabel.startswith("processor")
         for sweep, *_ in curves}  # fmt: skip


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    count = THOROUGH if args.thorough else args.seeds
    rules, seeds = cheatsheet.RULES, range(args.seed, args.seed + count)
    cells = cheatsheet.sweep_cells(rules, seeds)
    setups = {
        sweep.name: {name: asdict(setup) for name, setup in sweep.setups.items()}
        for rule in rules
        for sweep in rule.sweeps
    }
    rows = cheatsheet.rows_of(rules, measure(args, "cheatsheet", cells, {"setups": setups}))
    if not is_first():
        return None
    judged = cheatsheet.judge(rules, rows)
    print(f"The cheatsheet of hyperparameters, measured; {counted(count, 'seed')}\n")
    for rule in rules:
        claim = f"{rule.number}  {rule.subject}: {rule.claim}"
        print(textwrap.fill(claim, 77, initial_indent="  ", subsequent_indent="     "))
        for one in judged:
            if one.rule is rule:
                print(f"  {one.contrast.statement}")
                p = f"p = {one.ratio.p:.1g}"
                print(f"    {f'x {one.ratio}':<30} {p:<11}{one.ratio.conclusion}")
    print()
    print(f"  intervals: 95 % for each ratio alone; p: corrected for all {len(judged)} (Holm)")
    if any(one.bounded for one in judged):
        print("  at least, at most, unknown: a training never reached the target, and counts")
        print("    with the time that it had")
    print()
    conclusions = [
        {"rule": one.rule.number, "claim": one.rule.claim, "statement": one.contrast.statement,
         **one.ratio._asdict(), "conclusion": one.ratio.conclusion}
        for one in judged
    ]  # fmt: skip
    write_tables(args, "cheatsheet", rows, conclusions=conclusions)
    title = "Seven rules for hyperparameters: how fast is an oscillator damped?"
    panels = [_panel(rows, judged, *panel) for panel in PANELS]
    return plots.sweeps(panels, f"{title}   ({counted(count, 'seed')})")


def _panel(
    rows: Sequence[dict[str, Any]],
    judged: Sequence[cheatsheet.Judged],
    title: str,
    xlabel: str,
    ylabel: str,
    curves: Sequence[tuple[str, str, str]],
) -> plots.SweepPanel:
    """The panel of some curves, with what was judged about these columns."""
    values: dict[str, Any] = {}
    settings: list[Any] = []
    for sweep, column, name in curves:
        settings, values[name] = _curve(rows, sweep, column)
    shown = {sweep for sweep, *_ in curves}
    timed = ylabel.startswith("processor")
    notes = [
        (f"{one.contrast.statement} x {str(one.ratio).partition(' (')[0]}: "
         f"{one.ratio.conclusion.partition(':')[0]}",
         {HOLDS: True, FAILS: False}.get(one.ratio.conclusion))
        for one in judged
        if one.sweep in shown
        and (one.sweep not in TIMED or timed == one.contrast.quantity.startswith(TIMES))
    ]  # fmt: skip
    bounds = {name: _never(rows, sweep) for sweep, column, name in curves
              if column in cheatsheet.TO_TARGET}  # fmt: skip
    return plots.SweepPanel(title, xlabel, ylabel, settings, values, notes, bounds)


def _never(rows: Sequence[dict[str, Any]], sweep: str) -> Tensor:
    """Where the target was never reached, bool [seeds, settings]."""
    never: dict[str, list[bool]] = {}
    for row in rows:
        if row["sweep"] == sweep:
            never.setdefault(row["setting"], []).append(not row["reached"])
    return torch.tensor([*never.values()]).T


def _curve(rows: Sequence[dict[str, Any]], sweep: str, column: str) -> tuple[list[str], Tensor]:
    """Settings, and a column [seeds, settings]; of an optimiser at its best rate."""
    scale = 1000 if column.endswith("seconds") else 1
    measured: dict[str, list[float]] = {}
    for row in rows:
        if row["sweep"] == sweep:
            measured.setdefault(row["setting"], []).append(scale * row[column])
    if sweep.startswith("optimizer"):
        groups = {name: cheatsheet.tuned(name) for name in cheatsheet.OPTIMIZER_RATES}
        measured = {name: group_values(group, measured) for name, group in groups.items()}
    return [*measured], torch.tensor([*measured.values()]).T
