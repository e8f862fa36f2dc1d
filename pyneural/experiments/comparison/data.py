"""The data that generative models are compared on: tables and images, in units for the models."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pyneural import data
from pyneural.errors import ArgumentError, check_argument
from pyneural.experiments.comparison.user_table import FEWEST, clean_table, read_file
from pyneural.models.flows.whitening import Whitening

BUILT_IN = ("galaxies", "digits", "mnist")
MOST = 100_000  # rows, of which a random choice is taken
HELD_OUT = 0.2  # share
_HEAVY = 20.0  # interquartile ranges from the median, beyond which a column is compressed
_REPEATED = 0.01  # share of the rows with one value, from which a column has no density
_WIDEST = 100  # columns of a table; the classifier of C2ST grows with their square
_SMALLEST = 4  # pixels of an edge


@dataclass(frozen=True)
class DataSet:
    """Rows of a table, or pixels of images."""

    name: str
    x: Tensor  # float64 [N, D]
    columns: tuple[str, ...] = ()  # of a table
    shape: tuple[int, int, int] | None = None  # of an image, (C, H, W)
    levels: int | None = None  # of the pixels of images, 0 to levels - 1; None for real numbers
    labels: Tensor | None = None  # of images, [N]
    notes: tuple[str, ...] = field(default=())

    @property
    def is_images(self) -> bool:
        """Whether it is images; else a table."""
        return self.shape is not None

    @property
    def digest(self) -> str:
        """A checksum of the numbers."""
        return hashlib.sha256(self.x.numpy().tobytes()).hexdigest()[:16]

    def split(self, seed: int) -> tuple[Tensor, Tensor]:
        """Training rows and held-out ones, at random."""
        order = torch.randperm(len(self.x), generator=torch.Generator().manual_seed(seed))
        count = round(HELD_OUT * len(self.x))
        return self.x[order[count:]], self.x[order[:count]]


def load_data(
    source: str | os.PathLike[str] | Tensor | np.ndarray,
    drop: Sequence[str] = (),
    wheel: str | os.PathLike[str] | None = None,
    rows: int = MOST,
) -> DataSet:
    """A data set by its name, of a file or of an array.

    Args:
        source: "galaxies", "digits" (8 x 8) or "mnist"; a file .csv, .parquet or .npy; rows [N, D],
            or images [N, H, W] or [N, C, H, W], of which whole numbers 0 to 255 are grey levels.
        drop: columns of a table to leave out.
        wheel: of pzflow, for the galaxies; None for the installed package.
        rows: at most, of which a choice is taken at random.

    Raises:
        ArgumentError: data that do not fit; see ``clean_table``.
        FileNotFoundError: no file.
        ImportError: a package that is missing.
    """
    check_argument(rows >= FEWEST, "compare: rows", f"{FEWEST} or more", rows, f"write {MOST}")
    name = source if isinstance(source, (str, os.PathLike)) else "array"
    if isinstance(source, (str, os.PathLike)) and str(source) in BUILT_IN:
        check_argument(not drop, "compare: drop", "a table of your own", source, "leave it out")
        found = _built_in(str(source), wheel)
    else:
        content = read_file(source) if isinstance(source, (str, os.PathLike)) else source
        content = _as_array(content) if isinstance(content, Tensor) else content
        title = os.path.basename(name)
        if isinstance(content, np.ndarray) and content.ndim in (3, 4):
            found = _images(title, content)
        else:
            table = clean_table(content, drop)
            good, got = len(table.names) <= _WIDEST, len(table.names)
            remedy = "leave some out with --drop, or take principal components"
            check_argument(good, "compare: data", f"{_WIDEST} columns or fewer", got, remedy)
            x = torch.from_numpy(table.x)
            found = DataSet(title, x, tuple(table.names), notes=tuple(table.notes))
    if len(found.x) > rows:
        chosen = torch.randperm(len(found.x), generator=torch.Generator().manual_seed(0))[:rows]
        note = f"{rows:,} of {len(found.x):,} rows taken, at random"
        labels = None if found.labels is None else found.labels[chosen]
        found = DataSet(found.name, found.x[chosen], found.columns, found.shape, found.levels,
                        labels, (*found.notes, note))  # fmt: skip
    return found


def _as_array(x: Tensor) -> np.ndarray:
    x = x.detach().cpu()  # NumPy has no bfloat16
    return (x.double() if x.is_floating_point() else x).numpy()


def _built_in(name: str, wheel: str | os.PathLike[str] | None) -> DataSet:
    if name == "galaxies":
        x = torch.cat(data.galaxies(wheel)).double()
        return DataSet(name, x, data.GALAXY_COLUMNS)
    if name == "digits":
        parts, shape, levels = data.digits_8x8(), (1, 8, 8), 17
    else:
        parts, shape, levels = data.mnist(), (1, 28, 28), 256
    x, labels = (torch.cat(both) for both in zip(*parts, strict=True))
    x = x.flatten(1).double()
    x = x if name == "digits" else (255 * x).round()
    return DataSet(name, x, shape=shape, levels=levels, labels=labels)


def _images(name: str, array: np.ndarray) -> DataSet:
    where, got = "compare: data", f"{array.dtype} {list(array.shape)}"
    remedy = "save numbers as [N, H, W] or [N, C, H, W]"
    check_argument(array.dtype.kind in "biuf", where, "images of numbers", got, remedy)
    check_argument(len(array) >= FEWEST, where, f"{FEWEST} images or more", got, "give more")
    x = torch.from_numpy(array.astype(np.float64))
    x = x[:, None] if x.ndim == 3 else x
    channels, height, width = x.shape[1:]
    good = min(height, width) >= _SMALLEST and channels <= 4
    check_argument(good, where, "channels first, and 4 pixels or more an edge", got, remedy)
    finite = x.isfinite().flatten(1).all(1)
    notes = [] if bool(finite.all()) else [
        f"{int((~finite).sum()):,} of {len(x):,} images left out: values missing or infinite"
    ]  # fmt: skip
    x = x[finite].flatten(1)
    check_argument(len(x) >= FEWEST, where, f"{FEWEST} finite images", f"{len(x)}", "give more")
    low, high = x.aminmax()
    check_argument(bool(low < high), where, "images that differ", f"{low:g} everywhere", remedy)
    whole = bool((x == x.floor()).all()) and low >= 0 and high <= 255
    levels = int(high) + 1 if whole else None
    return DataSet(name, x, shape=(channels, height, width), levels=levels, notes=tuple(notes))


class Rows(NamedTuple):
    """Rows as a model is trained on them, and what that did to a density."""

    rows: Tensor  # float32 [N, D]
    log_det: Tensor  # log |d row / d x|, float64 [N]


class Preparation:
    """The units that all models see: the same for each of them, measured on training rows.

    Of a table: uniform noise in [0, 1) is added to columns of whole numbers, and samples are
    rounded down; columns with a value more than 20 interquartile ranges from the median become
    asinh((x - median) / range); then all are whitened by the Cholesky factor of the covariance. Of
    images: pixels between 0 and 1, with uniform noise where they are whole numbers.

    Args:
        data: all rows, which say what columns are of whole numbers.
        train: training rows, [N, D].

    Raises:
        ArgumentError: a column that is a linear combination of others.
    """

    def __init__(self, data: DataSet, train: Tensor) -> None:
        self.data = data
        self.notes: list[str] = []
        self.has_density = True
        if data.is_images:
            self.low, self.high = float(data.x.min()), float(data.x.max())
            self._prepare_images()
            return
        self.whole = (data.x == data.x.floor()).all(0)
        names = list(data.columns)
        y = train + 0.5 * self.whole
        quartiles = torch.quantile(y[:100_000], torch.tensor([0.25, 0.5, 0.75]).double(), dim=0)
        self.middle, self.width = quartiles[1], quartiles[2] - quartiles[0]
        self.heavy = (y - self.middle).abs().amax(0) > _HEAVY * self.width
        self.heavy &= self.width > 0
        for title, chosen in (
            ("whole numbers: noise is added, samples are rounded down", self.whole),
            ("heavy tails: compressed by asinh", self.heavy),
        ):
            if bool(chosen.any()):
                some = ", ".join(names[i] for i in chosen.nonzero().flatten().tolist())
                self.notes.append(f"{title}: {some}")
        for place in (~self.whole).nonzero().flatten().tolist():
            values, counts = data.x[:, place].unique(return_counts=True)
            share = float(counts.max()) / len(data.x)
            if share > _REPEATED and int(counts.max()) > 10:
                self.has_density = False
                self.notes.append(
                    f"{names[place]} is {float(values[counts.argmax()]):g} in {share:.0%} of the "
                    "rows, and so has no density: likelihoods are left out. If that stands for "
                    "missing values, leave the fields empty"
                )
        self.whitening = Whitening(len(names)).double()
        try:
            self.whitening.set_from(self._compressed(y)[0], "compare: data", names)
        except ArgumentError as error:
            message = str(error).partition("; ")[0]
            raise ArgumentError(f"{message}; leave it out with --drop") from error

    def forward(self, x: Tensor, seed: int | None = 0) -> Rows:
        """Rows of x [N, D] in the models' units, with noise of that seed; None for its mean."""
        noise = torch.full_like(x, 0.5)
        if seed is not None:
            noise.uniform_(generator=torch.Generator().manual_seed(seed))
        if self.data.is_images:
            levels = self.data.levels
            if levels is None:
                rows, width = (x - self.low) / (self.high - self.low), self.high - self.low
            else:
                rows, width = (x + noise) / levels, float(levels)
            log_det = torch.full((len(x),), -x.shape[1] * float(np.log(width))).double()
            return Rows(rows.float().clamp(0, 1 - 2**-24), log_det)
        y, log_det = self._compressed(x + noise * self.whole)
        rows, of_whitening = self.whitening().call_and_ladj(y)
        return Rows(rows.float(), log_det + of_whitening)

    def inverse(self, rows: Tensor) -> Tensor:
        """The data x [N, D] of rows in the models' units."""
        rows = rows.detach().double()
        if self.data.is_images:
            levels = self.data.levels
            if levels is None:
                return self.low + (self.high - self.low) * rows.clamp(0, 1)
            return (rows * levels).floor().clamp(0, levels - 1)
        y = self.whitening().inv(rows)
        expanded = self.middle + self.width * y.sinh()
        y = torch.where(self.heavy, expanded, y)
        return torch.where(self.whole, y.floor(), y)

    def unit(self, x: Tensor) -> Tensor:
        """Pixels as float32 from 0 to 1, both included."""
        return ((x - self.low) / (self.high - self.low)).float()

    def of_unit(self, pixels: Tensor) -> Tensor:
        """The data x of such pixels, which are clipped, and rounded where they are levels."""
        x = self.low + (self.high - self.low) * pixels.detach().double().clamp(0, 1)
        return x if self.data.levels is None else x.round()

    def _compressed(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Columns with their tails compressed, and the log-determinant, [N]."""
        scale = torch.where(self.width > 0, self.width, 1.0)
        t = (y - self.middle) / scale
        slopes = torch.where(self.heavy, -0.5 * (1 + t.square()).log() - scale.log(), 0.0)
        return torch.where(self.heavy, t.asinh(), y), slopes.sum(1)

    def _prepare_images(self) -> None:
        if self.data.levels is None:
            counts = self.data.x.flatten().unique(return_counts=True)[1]
            self.has_density = float(counts.max()) / self.data.x.numel() <= _REPEATED
            if not self.has_density:
                self.notes.append("one value in many pixels: likelihoods are left out")
        else:
            self.notes.append(f"{self.data.levels} grey levels: noise is added for densities")
