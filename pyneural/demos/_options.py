"""Command-line options and output shared by the demos."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from pyneural import plots
from pyneural.demos._screen import show_picture
from pyneural.training import check_writable

Options = dict[str, dict[str, Any]]  # keywords of ``add_argument`` by the name of the option
DTYPES = {"float32": torch.float32, "float64": torch.float64}


def option(help: str, default: Any = None, **keywords: Any) -> dict[str, Any]:
    """Keywords of ``add_argument``; the help ends with the default."""
    text = help if default is None else f"{help} (default: {default})"
    return {"help": text, "default": default, **keywords}


def whole(help: str, default: int | None, low: int = 0, high: int = 10**8) -> dict[str, Any]:
    """Keywords of an option that is an integer from ``low`` to ``high``.

    >>> whole("steps", 7)["type"]("12")
    12
    """
    expected = f"an integer from {low} to {high:,}"
    return option(help, default, type=_number(int, low, high, expected), metavar="N")


def _number(
    convert: Callable[[str], float], low: float, high: float, expected: str
) -> Callable[[str], float]:
    """Argument type: a number from ``low`` to ``high``."""

    def parse(text: str) -> float:
        try:
            value = convert(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
        return value

    return parse


nonnegative = _number(float, 0, sys.float_info.max, "a finite number >= 0")
COMMON: Options = {  # of all demos
    "--seed": whole("random seed", 0, high=2**63 - 1),
    "--out": option("output folder", ".", metavar="DIR"),
    "--show": option("open the picture, where there is a screen", action="store_true"),
}
TRAINING: Options = {  # of trainings with checkpoints
    "--device": option("cpu, cuda or cuda:N", "cpu"),
    "--dtype": option(" or ".join(DTYPES), "float64", choices=DTYPES, metavar="DTYPE"),
    "--resume": option("continue from the checkpoint in DIR", action="store_true"),
    "--time-limit": option(
        "stop the training after this time",
        type=_number(float, 0, math.inf, "seconds >= 0"),
        metavar="SECONDS",
    ),
}


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


def counted(count: int, noun: str) -> str:
    """A count with its noun in singular or plural.

    >>> counted(1, "thread"), counted(1000, "step")
    ('1 thread', '1,000 steps')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def show(demo: ModuleType, name: str, args: argparse.Namespace) -> Path | None:
    """Runs a demo from its seed and writes its figure; torch's generator is left as it was.

    Returns the path of the picture, or None if there is none.

    With ``--show`` the picture is opened; the last line says what to try next.

    A demo that Ctrl-C ended, but that has a figure all the same, sets ``args.interrupted``; one
    with several figures to choose from names the file in ``args.picture``.
    """
    plots.check_installed()  # now: otherwise it would fail only after the training
    args.out = check_writable(args.out, "--out")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(args.seed)
        figure = demo.run(args)
    picture = None
    if figure is not None:
        file = f"{getattr(args, 'picture', name)}.png"
        picture = plots.save(figure, args.out / file)
        print_row("picture", picture)
        if args.show and (why := show_picture(picture)) is not None:
            print_row("", f"not opened, as {why}")
    if getattr(args, "interrupted", False):
        raise KeyboardInterrupt
    if picture is not None:
        print_row("try next", demo.NEXT)
    return picture


def print_row(name: str, value: object) -> None:
    """Prints a name and a value in two columns."""
    print(f"  {name:<14}{value}", flush=True)
