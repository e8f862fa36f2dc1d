"""The gallery of pyneural.pde, solved as its recipes say: error and seconds over some seeds.

Seconds are those of training, and in the next column those that the processors worked in it, which
other work on the machine changes less.

Beside them is the error of DeepXDE after as many seconds, where it is installed and has the problem
in ``peers/gallery_deepxde.py``, and the smallest relative L2 error published for a physics-informed
network that was found, with its source: on a graphics processor, in minutes to days.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch

from bench.machine import describe, remark, use_threads
from bench.peers import gallery_deepxde
from pyneural.models import solve
from pyneural.pde.gallery import GALLERY

# Relative L2 errors for the same equation, constants and domain.
PUBLISHED = {
    "allen-cahn": (2.24e-5, "PirateNet, arXiv:2402.00326"),
    "burgers": (1.6e-8, "SSBroyden, arXiv:2501.16371"),
    "cavity-3200": (4.21e-2, "PirateNet, arXiv:2402.00326"),
    "kdv": (4.27e-4, "PirateNet, arXiv:2402.00326"),
    "ks-chaotic": (1.61e-1, "jaxpi, arXiv:2308.08468"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--case", nargs="+", choices=GALLERY, default=GALLERY, metavar="NAME")
    parser.add_argument("--rounds", type=int, default=3, help="seeds, from 0 on (%(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="of torch (%(default)s)")
    parser.add_argument(
        "--share", type=float, default=1.0, help="of the steps of the recipes (%(default)s)"
    )
    parser.add_argument("--json", type=Path, help="file for the figures")


def run(options: argparse.Namespace) -> int:
    use_threads(options.threads)
    machine = describe("cpu", options.threads)
    versions = machine["versions"]
    print(f"pde: {machine['cpu']}, {options.threads} threads, torch {versions['torch']}, float64")
    if said := remark(machine):
        print(said)
    print(
        f"{'':<22}{'parameters':>11}{'seconds':>9}{'worked':>9}{'median':>10}{'worst':>10}{'stated':>10}"
        f"{'DeepXDE':>10}   published"
    )
    peers = gallery_deepxde.PROBLEMS if importlib.util.find_spec("deepxde") else {}
    kept: dict[str, Any] = {}
    for name in options.case:
        runs = [training(name, seed, options.share) for seed in range(options.rounds)]
        kept[name] = entry = figures(runs)
        peer = ""
        if name in peers:
            errors = [peers[name](one["seconds"], seed) for seed, one in enumerate(runs)]
            entry["deepxde"] = statistics.median(errors)
            peer = f"{entry['deepxde']:.1e}"
        stated = GALLERY[name]().recipe.error
        error, source = PUBLISHED.get(name, (None, ""))
        published = "" if error is None else f"   {error:.1e} {source}"
        print(
            f"{name:<22}{entry['parameters']:>11,}{entry['seconds']:>9.1f}"
            f"{entry['worked']:>9.1f}{entry['median']:>10.1e}"
            f"{entry['worst']:>10.1e}{stated:>10.0e}{peer:>10}{published}",
            flush=True,
        )
        if options.json:
            options.json.write_text(json.dumps({**machine, "pde": kept}, indent=1) + "\n")
    return 0


def training(name: str, seed: int, share: float) -> dict[str, float]:
    """A training of a problem: error, seconds, parameters of one network."""
    torch.manual_seed(seed)
    problem = GALLERY[name]()
    generator = torch.Generator().manual_seed(seed)
    began = time.process_time()
    solved = solve(problem, share=share, generator=generator, progress=False)
    worked = time.process_time() - began
    return {
        "error": solved.model.relative_l2(*problem.test_grid()),
        "seconds": solved.seconds,
        "worked": worked,
        "parameters": sum(p.numel() for p in solved.pinns[0].parameters() if p.requires_grad),
    }


def figures(runs: list[dict[str, float]]) -> dict[str, Any]:
    """Median and worst error, and the medians of the seconds.

    >>> run = {"seconds": 2.0, "worked": 3.5, "parameters": 9}
    >>> figures([{"error": error, **run} for error in (0.3, 0.1, 0.2)])["errors"]
    [0.3, 0.1, 0.2]
    """
    errors = [one["error"] for one in runs]
    return {
        "parameters": runs[0]["parameters"],
        "seconds": statistics.median(one["seconds"] for one in runs),
        "worked": statistics.median(one["worked"] for one in runs),
        "median": statistics.median(errors),
        "worst": max(errors),
        "errors": errors,
    }
