"""Image data sets for the demos, and the options to choose them."""

from __future__ import annotations

import argparse

from torch import Tensor

from pyneural import data
from pyneural.demos import _options

SETS = {"digits": (data.digits, 600), "mnist": (data.mnist, 20)}  # loader, default number of epochs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options for the data set, the epochs, the seed and the output folder."""
    parser.add_argument(
        "--data",
        choices=SETS,
        default="digits",
        metavar="DATA",
        help="digits (from scikit-learn) or mnist (downloaded once) (default: digits)",
    )
    epochs = ", ".join(f"{count} for {name}" for name, (_, count) in SETS.items())
    parser.add_argument(
        "--epochs",
        type=_options.whole(1, 10**6),
        metavar="N",
        help=f"passes through the images (default: {epochs})",
    )
    _options.add_picture(parser)


def load(args: argparse.Namespace) -> tuple[Tensor, Tensor, int]:
    """Training and validation images, each [N, 784], and the number of epochs."""
    loader, epochs = SETS[args.data]
    (x, _), (held_out, _) = loader()
    return x.flatten(1), held_out.flatten(1), args.epochs or epochs
