"""The problems of examples/pde, solved here, by DeepXDE and by PINA: error and seconds.

All have the same network and number of points, in float64: pyneural is trained by
Levenberg-Marquardt, the others, which have no such solver, by L-BFGS. They solve a problem in turn;
medians over the seeds are shown. The seconds are processor time of all threads, from the first
point to the error, so that other work on the machine counts for little. The column of a peer that
is not installed is left out, and for problems that it has no version of here it is empty.
"""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module

import torch

from bench.machine import describe, remark, use_threads
from bench.peers import pde_deepxde, pde_pina

EXAMPLES = (
    "robin_rod", "clamped_beam", "annulus", "l_shape", "inverse_source", "parametric_heat",
    "fourier_features", "integro_differential", "lorenz", "network_per_output",
)  # fmt: skip

ITERATIONS = {  # of L-BFGS, of the peers
    "robin_rod": 300, "clamped_beam": 400, "annulus": 300, "l_shape": 400, "inverse_source": 300,
    "parametric_heat": 300, "fourier_features": 500, "integro_differential": 1000, "lorenz": 1500,
    "network_per_output": 900,
}  # fmt: skip

PEERS = {"DeepXDE": ("deepxde", pde_deepxde), "PINA": ("pina", pde_pina)}

Solver = Callable[[int], tuple[float, float]]  # a seed to the error and seconds of training


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--case", nargs="+", choices=EXAMPLES, default=EXAMPLES, metavar="NAME")
    parser.add_argument("--rounds", type=int, default=3, help="seeds, each once (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (%(default)s)")
    parser.add_argument("--steps", type=int, help="of pyneural; those of the example by default")


def run(options: argparse.Namespace) -> int:
    use_threads(options.threads)
    torch.set_default_dtype(torch.float64)
    machine = describe("cpu", options.threads)
    torch_version = machine["versions"]["torch"]
    print(f"examples/pde: {machine['cpu']}, {options.threads} threads, torch {torch_version}")
    if said := remark(machine):
        print(said)
    peers = {
        name: module
        for name, (package, module) in PEERS.items()
        if importlib.util.find_spec(package)
    }
    for module in peers.values():
        module.load()  # not part of the time of the first problem
    print(f"{'':<22}" + "".join(f"{name:>22}" for name in ("pyneural", *peers)))
    for name in options.case:
        main = import_module(f"examples.pde.{name}").main
        steps = options.steps or inspect.signature(main).parameters["steps"].default
        solvers: list[Solver | None] = [partial(main, steps)]
        for module in peers.values():
            solve = module.PROBLEMS.get(name)
            solvers.append(solve and partial(solve, ITERATIONS[name]))
        runs = [[_run(solve, seed) for solve in solvers] for seed in range(options.rounds)]
        print(f"{name:<22}{_row(runs)}", flush=True)
    return 0


def _run(solve: Solver | None, seed: int) -> tuple[float, float] | None:
    """The error, and seconds of processor time."""
    if solve is None:
        return None
    began = time.process_time()
    error, _ = solve(seed)
    return error, time.process_time() - began


def _row(runs: list[list[tuple[float, float] | None]]) -> str:
    """Medians of errors and seconds, a column for each solver."""
    shown = []
    for each in zip(*runs, strict=True):
        known = [run for run in each if run is not None]
        if not known:
            shown.append(" " * 22)
            continue
        error, seconds = map(statistics.median, zip(*known, strict=True))
        shown.append(f"{error:>12.1e}{seconds:>8.2f} s")
    return "".join(shown).rstrip()
