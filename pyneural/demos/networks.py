"""Networks compared: what accuracy costs, after Canziani et al. (2016).

Twelve networks tell digits of 8 x 8 pixels, which those for sequences read
row by row. Measured are accuracy on new digits (several seeds), operations of
a forward pass, parameters, processor time for an image and peak memory, both
against the batch size. Of the networks whose accuracy can't be told from that
of the best (t-test with the spread of the two over the seeds, 95 % for all
comparisons together), the one with the fewest operations is recommended.
Statements on all networks are judged by rank correlations, with Holm's
correction for their number. Goes on after an interruption, and shares the
work under torchrun. Writes networks.png, .csv and .json.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from pyneural import plots
from pyneural.demos._experiments import is_first, measure, write_tables
from pyneural.demos._options import counted, option, print_row, whole
from pyneural.experiments import (
    Cell,
    RankCorrelation,
    as_good_as_the_best,
    corrected,
    rank_correlation,
)
from pyneural.experiments.networks import BATCHES, NETWORKS, cost, peak_memory, train

SYSTEMS = ("S11",)
SUMMARY = "Networks compared: accuracy and its costs."
NEXT = "pyneural demo cheatsheet: what their hyperparameters do"
QUICK = ("--seeds", "3", "--epochs", "4")
OPTIONS = {
    "--seeds": whole("trainings of each network", 3, low=2),
    "--epochs": whole("passes through the digits", 15, low=1),
    "--thorough": option("10 seeds, 40 epochs", action="store_true"),
}
MEMORY_BATCHES = (1, 16, 256, 1024)


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    count, epochs = (10, 40) if args.thorough else (args.seeds, args.epochs)
    found = measure(args, "networks", _cells(args.seed, count, epochs), {"epochs": epochs})
    if not is_first():
        return None
    networks, rows = _of_each(found)
    best, as_good = _recommended(networks)
    trained = f"{counted(count, 'seed')}, {counted(epochs, 'epoch')}"
    print(f"{len(networks)} networks tell digits; {trained}\n")
    print("               accuracy [%]                        us an image, of a batch  MiB")
    head = f"{BATCHES[0]:>9}{BATCHES[-1]:>8}{MEMORY_BATCHES[-1]:>8}"
    print(f"  network       mean   std  operations  parameters{head}")
    for name, network in networks.items():
        mean, std = (100 * f(network.accuracies) for f in (statistics.mean, statistics.stdev))
        mark = " *" if name in as_good else ""
        print(
            f"  {name:<13}{mean:5.1f}{std:6.2f}{network.operations:12,}{network.parameters:12,}"
            f"{1e6 * network.seconds[0]:9.1f}{1e6 * network.seconds[-1]:8.2f}"
            f"{network.bytes[-1] / 2**20:8.2f}{mark}"
        )
    print("\n  * as accurate as the best, within the spread\n")
    print_row("recommended", f"{best}, the fewest operations of those marked")
    conclusions = _correlations(networks)
    for statement, one in conclusions.items():
        found_here = f"rank correlation {one.correlation:.2f}, p = {one.p:.2g}: {one.conclusion}"
        print(f"  {statement}\n    {found_here}")
    print(f"  p: corrected for all {len(conclusions)} (Holm)\n")
    told = [
        {"statement": text, **one._asdict(), "conclusion": one.conclusion}
        for text, one in conclusions.items()
    ]
    write_tables(
        args, "networks", rows, recommended=best, as_good_as_the_best=as_good, conclusions=told,
        batches=BATCHES, memory_batches=MEMORY_BATCHES,
        networks={name: network._asdict() for name, network in networks.items()},
    )  # fmt: skip
    title = f"Which network recognises digits, and what does it cost?   ({counted(count, 'seed')})"
    return plots.network_costs(networks, BATCHES, MEMORY_BATCHES, best, title)


def _cells(seed: int, count: int, epochs: int) -> list[Cell]:
    cells = [
        Cell({"part": "accuracy", "network": name, "seed": s}, partial(train, name, epochs, s))
        for s in range(seed, seed + count)
        for name in NETWORKS
    ]
    costs = [Cell({"part": "cost", "network": name}, partial(cost, name)) for name in NETWORKS]
    memory = Cell({"part": "memory"}, lambda: {"bytes": peak_memory([*NETWORKS], MEMORY_BATCHES)})
    return [*cells, *costs, memory]


def _of_each(
    found: Sequence[Mapping[str, Any]],
) -> tuple[dict[str, plots.NetworkCost], list[dict[str, Any]]]:
    """All that was measured of each network, and the same as a table with a row a training."""
    parts: dict[str, list[Mapping[str, Any]]] = {}
    for row in found:
        parts.setdefault(row["part"], []).append(row)
    (memory,), networks = parts["memory"], {}
    for row in parts["cost"]:
        name = row["network"]
        accuracies = [r["accuracy"] for r in parts["accuracy"] if r["network"] == name]
        networks[name] = plots.NetworkCost(
            NETWORKS[name].family, accuracies, row["operations"], row["parameters"],
            row["image_seconds"], memory["bytes"][name],
        )  # fmt: skip
    rows = []
    for row in parts["accuracy"]:
        network = networks[row["network"]]
        costs = {"operations": network.operations, "parameters": network.parameters}
        for size, value in zip(BATCHES, network.seconds, strict=True):
            costs[f"image_seconds_batch_{size}"] = value
        for size, value in zip(MEMORY_BATCHES, network.bytes, strict=True):
            costs[f"bytes_batch_{size}"] = value
        kept = {name: row[name] for name in ("network", "seed", "accuracy")}
        rows.append(kept | {"training_seconds": row["seconds"]} | costs)
    return networks, rows


def _recommended(networks: Mapping[str, plots.NetworkCost]) -> tuple[str, list[str]]:
    """The cheapest of those that can't be told from the best, and all of these."""
    errors = {name: [1 - a for a in network.accuracies] for name, network in networks.items()}
    as_good = as_good_as_the_best(errors)
    return min(as_good, key=lambda name: networks[name].operations), as_good


def _correlations(networks: Mapping[str, plots.NetworkCost]) -> dict[str, RankCorrelation]:
    """Statements of the paper about all networks, each with what was measured."""
    accuracy = [statistics.mean(network.accuracies) for network in networks.values()]
    operations = [network.operations for network in networks.values()]
    parameters = [network.parameters for network in networks.values()]
    last = [network.seconds[-1] for network in networks.values()]
    found = {
        "More operations, more accuracy": rank_correlation(operations, accuracy),
        "More parameters, more accuracy": rank_correlation(parameters, accuracy),
        f"More operations, more time (batch of {BATCHES[-1]})": rank_correlation(operations, last),
    }
    return dict(zip(found, corrected([*found.values()]), strict=True))
