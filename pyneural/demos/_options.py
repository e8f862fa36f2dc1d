"""Command-line options and output shared by the demos."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from pyneural import plots
from pyneural.training import TrainingReport, check_writable

Number = TypeVar("Number", int, float)
DTYPES = {"float32": torch.float32, "float64": torch.float64}


def add_training(parser: argparse.ArgumentParser) -> None:
    """Adds the options for device, dtype, resumption and time limit."""
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: cpu)")
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        default="float64",
        metavar="DTYPE",
        help=f"{' or '.join(DTYPES)} (default: float64)",
    )
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint in DIR")
    parser.add_argument(
        "--time-limit", type=seconds, metavar="SECONDS", help="stop the training after this time"
    )


def add_common(parser: argparse.ArgumentParser) -> None:
    """Adds the options of all demos: the seed and the output folder."""
    add_whole(parser, "--seed", 0, "random seed", high=2**63 - 1)
    parser.add_argument("--out", default=".", metavar="DIR", help="output folder (default: .)")


def add_whole(
    parser: argparse.ArgumentParser,
    name: str,
    default: int,
    help: str,
    *,
    low: int = 0,
    high: int = 10**8,
) -> None:
    """Adds an integer option from ``low`` to ``high``."""
    text = f"{help} (default: {default})"
    parser.add_argument(name, type=whole(low, high), default=default, metavar="N", help=text)


def whole(low: int, high: int) -> Callable[[str], int]:
    """Argument type: an integer from ``low`` to ``high``.

    >>> whole(0, 100)("12")
    12
    """
    return _checked(int, lambda value: low <= value <= high, f"an integer from {low} to {high:,}")


def nonnegative(text: str) -> float:
    """Argument type: a finite number >= 0."""
    return _checked(float, lambda value: 0 <= value < math.inf, "a finite number >= 0")(text)


def seconds(text: str) -> float:
    """Argument type: a time in seconds >= 0."""
    return _checked(float, lambda value: value >= 0, "seconds >= 0")(text)


def _checked(
    convert: Callable[[str], Number], accepts: Callable[[Number], bool], expected: str
) -> Callable[[str], Number]:
    def parse(text: str) -> Number:
        try:
            value = convert(text)
            accepted = accepts(value)
        except ValueError:
            accepted = False
        if not accepted:
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
        return value

    return parse


def checked_device(name: str) -> torch.device:
    """The device of this name, if it is available.

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
            f"--device: expected an available device ({found}), got {name!r}; choose one"
        )
    return device


def checked_out(directory: str) -> Path:
    """The output folder; raises now what would otherwise fail only after the training."""
    plots.check_installed()
    return check_writable(directory, "--out")


def counted(count: int, noun: str) -> str:
    """A count with its noun in singular or plural.

    >>> counted(1, "thread"), counted(1000, "step")
    ('1 thread', '1,000 steps')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def save_picture(figure: Any, path: Path) -> None:
    """Writes a figure and prints its path."""
    print_rows([("picture", str(plots.save(figure, path)))])


def print_rows(rows: list[tuple[str, str]]) -> None:
    """Prints names and values in two columns."""
    for name, value in rows:
        print(f"  {name:<14}{value}", flush=True)


def print_phases(report: TrainingReport) -> None:
    """Prints steps, time, loss and stopping reason of each phase."""
    for phase in report.phases:
        print(
            f"  {phase.name:<14}{phase.steps:>6,} steps {phase.seconds:>7.1f} s   "
            f"loss {phase.loss:.2e}   {phase.reason}",
            flush=True,
        )
