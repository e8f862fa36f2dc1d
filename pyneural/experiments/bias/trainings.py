"""Is the bias in the data? Errors by group after a training on unequal shares of two groups.

Networks are trained on 95 % of one group and 5 % of the other, the other way round, and on equal
shares, with the same number of images and of updates. That one group has a larger error than the
other says nothing yet: it may be harder. What the data do is the error of a group in relation to
that of the same group in a balanced control, image numbers being equal.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from pyneural.errors import check_argument
from pyneural.experiments.bias.two_groups import TwoGroups, drawn_rows, train
from pyneural.experiments.cells import Cell, run_cells

SHARE = 0.05  # of the minority
BALANCED, FEW = "50:50", "5:5"


@dataclass(frozen=True)
class Setting:
    """What a network is trained on.

    Attributes:
        name: for tables.
        shares: of each group, of the number of images of a training.
        repair: as in ``train``.
    """

    name: str
    shares: tuple[float, float]
    repair: str = "none"

    def counts(self, total: int) -> tuple[int, int]:
        """Images of each group."""
        first, second = (round(share * total) for share in self.shares)
        return first, second


_REPAIRS = {"": "none", " reweighted": "weights", " resampled": "resampling"}
_UNEQUAL = {"95:5": (1 - SHARE, SHARE), "5:95": (SHARE, 1 - SHARE)}
SETTINGS = (
    Setting(BALANCED, (0.5, 0.5)),
    *(Setting(name + suffix, shares, repair) for name, shares in _UNEQUAL.items()
      for suffix, repair in _REPAIRS.items()),
    Setting(FEW, (SHARE, SHARE)),
)  # fmt: skip


def measure(problem: TwoGroups, setting: Setting, seed: int, shown: bool = False) -> dict[str, Any]:
    """Trains a network and measures it on the held-out images of both groups.

        error of a group = sqrt(mean over its images and pixels of (f(x) - y)^2)

    Args:
        problem: images, network and budget.
        setting: what it is trained on.
        seed: of the images that are drawn, the initial network and the order.
        shown: whether to give back the images ``problem.shown`` too, as numbers from 0 to 255.

    Returns:
        ``error_0`` and ``error_1``, nan of a training that diverged; ``shown``, a list for each
        image.
    """
    rows = drawn_rows(problem.group, setting.counts(problem.total), seed)
    model = train(problem, rows, setting.repair, seed)
    made = torch.as_tensor(model.predict(problem.x_test)).clamp(0, 1)
    square = (made - problem.y_test).square().flatten(1).mean(1)
    errors: dict[str, Any] = {
        f"error_{number}": math.sqrt(square[problem.group_test == number].double().mean())
        for number in (0, 1)
    }
    if shown:
        pixels = (255 * made[list(problem.shown)]).nan_to_num(0).round().int()
        errors["shown"] = pixels.flatten(1).tolist()
    return errors


def run_bias(
    problems: Sequence[TwoGroups],
    seeds: Sequence[int],
    file: str | os.PathLike[str] | None = None,
    *,
    verbose: bool = True,
) -> list[dict[str, Any]]:
    """Trains on all settings of all problems: a row for each training.

    The first seed keeps its images for a picture. See ``run_cells`` for resuming, and for several
    processes.

    Args:
        problems: with different names.
        seeds: of the trainings; they are paired over the settings.
        file: of finished cells.
        verbose: whether to show progress.

    Returns:
        rows with ``data``, ``setting``, ``seed``, ``error_0``, ``error_1`` and ``seconds``.

    Raises:
        ArgumentError: no seeds, or a problem with fewer images than its settings ask for.
    """
    check_argument(len(seeds) > 0, "run_bias: seeds", "at least one", "none", "write range(5)")
    for problem in problems:
        for setting in SETTINGS:
            drawn_rows(problem.group, setting.counts(problem.total), 0)
    cells = [
        Cell(
            {"data": problem.name, "setting": setting.name, "seed": seed},
            partial(measure, problem, setting, seed, shown=seed == seeds[0]),
        )
        for seed in seeds
        for problem in problems
        for setting in SETTINGS
    ]
    settings = {
        problem.name: [problem.total, problem.steps, problem.batch, problem.rate]
        for problem in problems
    } | {"shown": seeds[0]}  # fmt: skip
    return run_cells(cells, file, settings=settings, verbose=verbose)


def errors_of(rows: Sequence[Mapping[str, Any]], name: str, group: int) -> dict[str, list[float]]:
    """Errors of a group of the problem of that name, [seeds] by the setting.

    Seeds are paired: those of ``diverged_seeds`` are left out of all settings. ArgumentError where
    none is left.
    """
    lost, found = diverged_seeds(rows, name), dict[str, list[float]]()
    for row in rows:
        if row["data"] == name and row["seed"] not in lost:
            found.setdefault(row["setting"], []).append(row[f"error_{group}"])
    expected, remedy = "a seed of which no training diverged", "take others, or a lower rate"
    check_argument(bool(found), f"errors_of: rows of {name}", expected, "none", remedy)
    return found


def diverged_seeds(rows: Sequence[Mapping[str, Any]], name: str) -> list[int]:
    """Seeds of which at least one training of the problem of that name diverged.

    >>> rows = [{"data": "a", "seed": 3, "error_0": None, "error_1": None}]
    >>> diverged_seeds(rows, "a")
    [3]
    """
    bad = {row["seed"] for row in rows
           if row["data"] == name and None in (row["error_0"], row["error_1"])}  # fmt: skip
    return sorted(bad)
