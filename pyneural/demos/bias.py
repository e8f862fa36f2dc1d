"""Is the bias in the data? Two groups of images, unequal in a training.

    error of a group = sqrt(mean over its held-out images of (f(x) - y)^2)

An autoencoder reconstructs digits with a closed loop and without; a network
for super-resolution makes bright and faint sources of the Hubble deep field
four times sharper. Each is trained on 95 % of one group and 5 % of the other,
and the other way round, always with as many images and updates. One group may
be harder than the other, so that errors are compared with those of the same
group in balanced controls: with as many images in all, and with as few of both
groups. Then the loss is reweighted, or the minority drawn as often as the
majority. Prints ratios of errors with intervals of 95 % over the seeds, of
each ratio alone, and says something only where p < 0.05 with Holm's correction
for all that is said. An interrupted run goes on where it was. Writes bias.csv,
bias.json and bias.png.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyneural import plots
from pyneural.demos import _experiments
from pyneural.demos._options import counted, option, print_row, whole
from pyneural.experiments import Ratio, bias, difference, ratio
from pyneural.experiments.bias import GroupBias, TwoGroups

SYSTEMS = ("S30",)
SUMMARY = "Is the bias in the data? Errors of a minority."
NEXT = "pyneural demo interpret: what a network looks at"
QUICK = ("--data", "digits", "--seeds", "2")
PROBLEMS = {"digits": bias.digit_groups, "hubble": bias.hubble_groups}
THOROUGH_SEEDS, THOROUGH_STEPS = 20, 4  # times the updates
OPTIONS = {
    "--data": option("digits or hubble (default: both)", choices=PROBLEMS, metavar="DATA"),
    "--seeds": whole("trainings of each kind", 5, low=1, high=1000),
    "--thorough": option(
        f"{THOROUGH_SEEDS} seeds, {THOROUGH_STEPS} times the updates", action="store_true"
    ),
}


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    count, name = args.seeds, "bias"
    problems = [make() for key, make in PROBLEMS.items() if args.data in (None, key)]
    if args.thorough:
        count, name = THOROUGH_SEEDS, "bias-thorough"
        problems = [replace(one, steps=THOROUGH_STEPS * one.steps) for one in problems]
    args.picture = name
    seeds = range(args.seed, args.seed + count)
    rows = bias.run_bias(problems, seeds, args.out / f"{name}-cells.json")
    if not _experiments.is_first():
        return None
    print("Does a group have larger errors because few of its images were trained with?\n")
    print_row("trainings", f"{len(rows)}, {counted(count, 'seed')}; intervals of 95 % over them")
    all_errors = [_errors(problem, rows) for problem in problems]
    groups, harder = bias.judged_together(
        [
            bias.group_bias(name, of_group, number)
            for problem, errors in zip(problems, all_errors, strict=True)
            for number, (name, of_group) in enumerate(zip(problem.groups, errors, strict=True))
        ],
        [ratio(*(of_group["50:50"] for of_group in errors)) for errors in all_errors],
    )
    told = sum(len(part) for group in groups for part in group.told.values()) + len(harder)
    print_row("conclusions", f"{told}, with Holm's correction for all of them together")
    reports = [
        _report(problem, rows, errors, groups[2 * place : 2 * place + 2], harder[place])
        for place, (problem, errors) in enumerate(zip(problems, all_errors, strict=True))
    ]
    print()
    table = [{key: value for key, value in row.items() if key != "shown"} for row in rows]
    found = {problem.name: report.found for problem, report in zip(problems, reports, strict=True)}
    _experiments.write_tables(args, name, table, conclusions=found)
    return plots.unequal_groups([report.picture for report in reports])


class _Report(NamedTuple):
    found: dict[str, Any]  # ratios and sentences
    picture: plots.UnequalGroups


def _errors(problem: TwoGroups, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, list[float]]]:
    """Of both groups; seeds that are left out are told."""
    lost = bias.diverged_seeds(rows, problem.name)
    if lost:
        print_row("diverged", f"a training of {problem.name}: left out {lost}")
    return [bias.errors_of(rows, problem.name, number) for number in (0, 1)]


def _report(
    problem: TwoGroups,
    rows: Sequence[Mapping[str, Any]],
    errors: Sequence[Mapping[str, Sequence[float]]],
    found: Sequence[GroupBias],
    harder: Ratio,
) -> _Report:
    """Prints what was found for a problem."""
    ratios = [_ratios(group) for group in found]
    budget = f"{counted(problem.total, 'image')}, {counted(problem.steps, 'update')}"
    print(f"\n  {problem.name}: {budget}\n")
    control = [sum(one["50:50"]) / len(one["50:50"]) for one in errors]
    print(f"  {'':<31}{problem.groups[0]:<23}{problem.groups[1]}")
    print(f"  {'error in the control 50:50':<31}{control[0]:<23.4f}{control[1]:.4f}")
    for name in ratios[0]:
        print(f"  {name:<31}{ratios[0][name]!s:<23}{ratios[1][name]}")
    print()
    heading = f"{problem.groups[0]} / {problem.groups[1]}, in the control 50:50"
    sentences = {heading: [bias.harder(problem.groups, harder)]}
    sentences |= {group.name: bias.conclusions(group) for group in found}
    for heading, lines in sentences.items():
        print("\n    ".join([f"  {heading}", *lines]))
    groups = [
        plots.GroupErrors(
            name, _by_share(errors[number], number),
            {key: one[:3] for key, one in ratios[number].items()},
        )
        for number, name in enumerate(problem.groups)
    ]  # fmt: skip
    headings = [name + (f", {factor:g} x brighter" if factor != 1 else "")
                for name, factor in zip(problem.groups, problem.brighter, strict=True)]  # fmt: skip
    title = problem.name.capitalize()
    picture = plots.UnequalGroups(title, groups, _images(problem, rows), headings)
    tables = {group.name: {name: one._asdict() for name, one in of_group.items()}
              for group, of_group in zip(found, ratios, strict=True)}  # fmt: skip
    return _Report({"ratios": tables, "sentences": sentences}, picture)


def _ratios(group: GroupBias) -> dict[str, Ratio]:
    return {
        "95 % / control": group.majority,
        "5 % / control": group.minority,
        **{f"5 % {repair} / control": left for repair, left in group.remains.items()},
        "5 % / as few of both": group.crowding,
    }


def _by_share(errors: Mapping[str, Sequence[float]], group: int) -> dict[float, Any]:
    """Mean error of a group and its interval over the seeds, by the share of the group in %."""
    settings = ("5:95", "50:50", "95:5")[:: 1 if group == 0 else -1]
    return {
        share: difference(errors[setting], [0.0] * len(errors[setting]))[:3]
        for share, setting in zip((5.0, 50.0, 95.0), settings, strict=True)
    }


def _images(problem: TwoGroups, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Tensor]]:
    """Held-out images of each group: the truth, the input where it is another, and what is made."""
    made = {row["setting"]: torch.tensor(row["shown"]) / 255
            for row in rows if row["data"] == problem.name and "shown" in row}  # fmt: skip
    shown, found = torch.tensor(problem.shown), []
    for number, factor in enumerate(problem.brighter):
        of_group = problem.group_test[shown] == number
        minority, majority = ("5:95", "95:5")[:: 1 if number == 0 else -1]
        images = {"truth": problem.y_test[shown][of_group].flatten(1)}
        x = problem.x_test[shown][of_group]
        if x[0].numel() < images["truth"][0].numel():
            times = problem.shape[-1] // x.shape[-1]
            images["input"] = x.repeat_interleave(times, 2).repeat_interleave(times, 3).flatten(1)
        images |= {
            "95 %": made[majority][of_group],
            "50 %": made["50:50"][of_group],
            "5 %": made[minority][of_group],
            "5 % resampled": made[f"{minority} resampled"][of_group],
        }
        found.append(
            {name: factor * part.view(-1, *problem.shape) for name, part in images.items()}
        )
    return found
