"""Options and lines of output that demos share."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch

from pyneural import plots
from pyneural.training import TrainingReport, check_writable

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def add_common(parser: argparse.ArgumentParser) -> None:
    """Adds where to compute, from which seed, and where to write."""
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: cpu)")
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        default="float64",
        metavar="DTYPE",
        help=f"{' or '.join(DTYPES)} (default: float64)",
    )
    add_picture(parser)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in DIR")
    parser.add_argument(
        "--time-limit", type=seconds, metavar="SECONDS", help="stop the training after this time"
    )


def add_picture(parser: argparse.ArgumentParser) -> None:
    """Adds from which seed to compute and where to write."""
    add_whole(parser, "--seed", 0, "seed of all randomness", high=2**63 - 1)
    parser.add_argument(
        "--out", default=".", metavar="DIR", help="folder of what is written (default: .)"
    )


def add_whole(
    parser: argparse.ArgumentParser,
    name: str,
    default: int,
    help: str,
    *,
    low: int = 0,
    high: int = 10**8,
) -> None:
    """Adds an option that is a whole number from ``low`` to ``high``."""
    text = f"{help} (default: {default})"
    parser.add_argument(name, type=whole(low, high), default=default, metavar="N", help=text)


def whole(low: int, high: int):
    """Type of an argument that is a whole number from ``low`` to ``high``.

    >>> whole(0, 100)("12")
    12
    """

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"expected a whole number from {low} to {high:,}, got {text!r}"
            )
        return value

    return parse


def nonnegative(text: str) -> float:
    """Type of an argument that is a finite number >= 0.

    >>> nonnegative("0.5")
    0.5
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not (value >= 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"expected a finite number >= 0, got {text!r}")
    return value


def seconds(text: str) -> float:
    """Type of an argument that is a number of seconds >= 0.

    >>> seconds("1.5")
    1.5
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"expected seconds >= 0, got {text!r}")
    return value


def checked_device(name: str) -> torch.device:
    """The device of that name, if this machine has it.

    >>> checked_device("cpu")
    device(type='cpu')
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ValueError(f"--device: expected cpu, cuda or cuda:N, got {name!r}; choose one")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = ", ".join(["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))])
        raise ValueError(
            f"--device: expected one that torch finds ({found}), got {name!r}; choose one"
        )
    return device


def checked_out(directory: str) -> Path:
    """The directory to write to; errors that would spoil the end come before the beginning."""
    plots.check_installed()
    return check_writable(directory, "--out")


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "thread"), counted(1000, "step")
    ('1 thread', '1,000 steps')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def print_rows(rows: list[tuple[str, str]]) -> None:
    """Prints names and values, aligned."""
    for name, value in rows:
        print(f"  {name:<14}{value}", flush=True)


def print_phases(report: TrainingReport) -> None:
    """Prints what each phase did and why it stopped."""
    for phase in report.phases:
        print(
            f"  {phase.name:<14}{phase.steps:>6,} steps {phase.seconds:>7.1f} s   "
            f"loss {phase.loss:.2e}   {phase.reason}",
            flush=True,
        )
