"""What do networks look at? Methods that explain them, and a test of the methods.

    rho = rank correlation of the attributions with those of random weights

A network for digits, a transformer that adds two marked values of a series and
a perceptron that knows the period of a pendulum are explained by saliency,
SmoothGrad, gradient times input, integrated gradients, occlusion and attention
rollout. A picture that does not change when the weights become random shows
the input, not the network. The rule: a method is trusted if the correlation
that is left, its mean and one standard deviation over the seeds, is at most
0.2; of those, the one with the smallest area below the deletion curve is best,
unless it can't be told from others (t-test with the spread pooled over them,
95 % for all comparisons together). Goes on after an interruption; writes
interpret.png, interpret.csv and interpret.json.
"""

from __future__ import annotations

import argparse
import os
import statistics
import textwrap
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pyneural import plots
from pyneural.demos import _explained
from pyneural.demos._options import counted, print_row, whole
from pyneural.experiments import Cell, as_good_as_the_best, run_cells, write_csv

SYSTEMS = ("S18",)
SUMMARY = "What networks look at, and can it be trusted?"
NEXT = "pyneural demo bias: is what it looks at in the data?"
BAR = 0.2  # correlation with random weights
EPOCHS = {"images": 12, "series": 12, "table": 30, "latent": 30}
MAKE = {"images": _explained.digits, "series": _explained.series, "table": _explained.table}
QUALITY = {"images": "of digits right", "series": "of the variance", "table": "of the variance"}
COLUMNS = ("signed", "magnitude", "remaining", "deletion area", "on the cause")
QUICK = ("--seeds", "2")
OPTIONS = {"--seeds": whole("networks of each kind", 3, low=2, high=100)}
Row = dict[str, Any]


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    seeds = range(args.seed, args.seed + args.seeds)
    cells = [
        Cell(
            {"data": kind, "seed": seed, "drawn": seed == args.seed},
            partial(_cell, kind, seed, seed == args.seed),
        )
        for seed in seeds
        for kind in EPOCHS
        if kind in MAKE or seed == args.seed
    ]
    done = run_cells(cells, args.out / "interpret.json", settings={"epochs": EPOCHS})
    if os.environ.get("RANK", "0") != "0":
        return None  # under torchrun the first process alone prints and draws
    rows = [row for cell in done if cell["data"] in MAKE for row in _by_method(cell)]
    write_csv(args.out / "interpret.csv", rows)
    print(f"What networks look at; {counted(args.seeds, 'seed')}\n")
    for kind, of_what in QUALITY.items():
        quality = [cell["quality"] for cell in done if cell["data"] == kind]
        print_row(kind, f"{_with_spread(quality)} {of_what}")
    trusted = {kind: _report(kind, rows) for kind in MAKE}
    print()
    for kind in MAKE:
        _print_wrapped(_conclusion(kind, trusted[kind], rows))
    everywhere = [name for name in trusted["images"] if all(name in t for t in trusted.values())]
    _print_wrapped(f"everywhere: {', '.join(everywhere) or 'none'}")
    print()
    print_row("table", args.out / "interpret.csv")
    first = {cell["data"]: cell for cell in done if cell["drawn"]}
    return plots.explanations(
        _maps(first["images"]),
        {name: _cascades(done, name) for name in first["images"]["method"]},
        _deletions(done),
        _images(first["images"]["excited"]),
        _images(first["latent"]["images"]).unflatten(0, (_explained.TRAVERSED, -1)),
        (_strips(first["series"]), first["series"]["marked"]),
        (_strips(first["table"]), _explained.COLUMNS),
        bar=BAR,
    )


def _cell(kind: str, seed: int, first: bool) -> dict[str, Any]:
    """The measured values of one network, and its pictures if it is the first one."""
    if kind == "latent":
        return {"images": _explained.traversal(seed, EPOCHS[kind])}
    case = MAKE[kind](seed, EPOCHS[kind])
    found = _explained.measure(case)
    if kind == "images":
        found |= _explained.deletions(case)
    if first:
        found |= _explained.pictures(case, seed) if kind == "images" else _explained.strips(case)
    return found


def _by_method(cell: Row) -> list[Row]:
    """A row for each method of a network."""
    return [
        {"data": cell["data"], "seed": cell["seed"], "quality": cell["quality"], "method": method}
        | {column: cell[column][number] for column in COLUMNS if column in cell}
        for number, method in enumerate(cell["method"])
    ]


def _values(rows: Sequence[Row], kind: str, method: str, column: str) -> list[float]:
    return [row[column] for row in rows if (row["data"], row["method"]) == (kind, method)]


def _report(kind: str, rows: Sequence[Row]) -> list[str]:
    """Prints the methods for a kind of data; those that are trusted."""
    last = "deletion area" if kind == "images" else "on the cause"
    print(f"\n  {kind:<23}{'signed':>13}{'magnitude':>16}{last:>19}")
    trusted = []
    for method in dict.fromkeys(row["method"] for row in rows if row["data"] == kind):
        shown = [
            _with_spread(_values(rows, kind, method, c)) for c in ("signed", "magnitude", last)
        ]
        left = _values(rows, kind, method, "remaining")
        if statistics.mean(left) + statistics.stdev(left) <= BAR:
            trusted.append(method)
        mark = "  trusted" if method in trusted else ""
        print(f"  {method:<21}{shown[0]:>15}{shown[1]:>16}{shown[2]:>16}{mark}")
    return trusted


def _conclusion(kind: str, trusted: Sequence[str], rows: Sequence[Row]) -> str:
    """Which method to trust, in words."""
    if not trusted:
        return f"{kind}: no method is below {BAR} with random weights"
    if kind != "images":
        return f"{kind}: {', '.join(trusted)} change with the weights"
    areas = {name: _values(rows, kind, name, "deletion area") for name in trusted}
    best = min(areas, key=lambda name: statistics.mean(areas[name]))
    near = [name for name in as_good_as_the_best(areas) if name != best]
    tie = f", which can't be told from {' and '.join(near)}" if near else ""
    return (
        f"{kind}: {', '.join(trusted)} change with the weights; of these, {best} finds what the "
        f"answer rests on with the smallest area below the deletion curve{tie}"
    )


def _maps(cell: Row) -> dict[str, Tensor]:
    names = ["digit", *cell["method"]]
    return {name: _images(one) for name, one in zip(names, cell["maps"], strict=True)}


def _cascades(done: Sequence[Row], method: str) -> Tensor:
    """Correlations of magnitudes down the network for digits, [seeds, layers]."""
    of_images = [cell for cell in done if cell["data"] == "images"]
    return torch.tensor([cell["cascade"][cell["method"].index(method)] for cell in of_images])


def _deletions(done: Sequence[Row]) -> tuple[Tensor, dict[str, Tensor]]:
    """Fractions, and the mean curve over the seeds of each method and of a random order."""
    of_images = [cell for cell in done if cell["data"] == "images"]
    curves = torch.tensor([cell["deletion"] for cell in of_images]).mean(0)
    names = [*of_images[0]["method"], "random order"]
    return torch.tensor(of_images[0]["deleted"]), dict(zip(names, curves, strict=True))


def _strips(cell: Row) -> dict[str, Tensor]:
    return dict(zip(cell["method"], torch.tensor(cell["strips"]), strict=True))


def _images(levels: Any) -> Tensor:
    """Images [N, 28, 28] between -1 and 1 from whole numbers."""
    return torch.tensor(levels).unflatten(1, (28, 28)) / _explained.LEVELS


def _with_spread(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.2f} +- {statistics.stdev(values):.2f}"


def _print_wrapped(text: str) -> None:
    print(textwrap.fill(text, 77, initial_indent="  ", subsequent_indent="      "))
