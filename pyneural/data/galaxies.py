"""Redshifts and magnitudes of simulated galaxies, read out of the package pzflow."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pyneural.data.packages import package_file

GALAXY_COLUMNS = ("redshift", "u", "g", "r", "i", "z", "y")
_COUNT = 100_000
_FILE = "pzflow/example_files/galaxy-data.pkl"


class Galaxies(NamedTuple):
    """Rows for training, validation and test, float32 [80000, 7], [10000, 7], [10000, 7]."""

    train: Tensor
    validation: Tensor
    test: Tensor


def galaxies(path: str | os.PathLike[str] | None = None) -> Galaxies:
    """100,000 galaxies: redshift and magnitudes in the bands u, g, r, i, z, y of LSST.

    The galaxies are from the Buzzard simulation, with redshifts up to 2.3 (no unit) and AB
    magnitudes; ``GALAXY_COLUMNS`` are the names of the columns. They are shuffled under seed 0 and
    split 80/10/10, always in the same way.

    Args:
        path: the wheel of pzflow or its file galaxy-data.pkl; None for the installed package,
            which is not imported. The file is a pickle of pandas; it is read without pandas, and
            nothing that it names is executed.

    Returns:
        train, validation, test.

    Raises:
        ImportError: pzflow is not installed and no path is given.
        FileNotFoundError: no file at the path.
        ValueError: the file is not the table.

    Source: Crenshaw et al., Astron. J. 168, 80 (2024); the simulation: DeRose et al. (2019),
    arXiv:1901.02401.

    >>> train, validation, test = galaxies()  # doctest: +SKIP
    >>> train.shape, test.shape  # doctest: +SKIP
    (torch.Size([80000, 7]), torch.Size([10000, 7]))
    """
    content = package_file("data.galaxies", "pzflow", _FILE, path)
    table = torch.from_numpy(_read_table(content)).float()
    order = torch.randperm(_COUNT, generator=torch.Generator().manual_seed(0))
    return Galaxies(*table[order].split([80_000, 10_000, 10_000]))


class _Record:
    """Stands for a class of pandas: holds what the pickle gives it."""

    state: Any

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Array(_Record):
    """Stands for numpy.ndarray; its state is (version, shape, dtype, column-major, content)."""

    def array(self) -> np.ndarray:
        _, shape, dtype, column_major, content = self.state
        order = dtype.state[1]
        if isinstance(content, list):  # of Python objects
            return np.array(content, object).reshape(shape)
        if (dtype.arguments[0], order) != ("f8", "<"):
            raise ValueError(f"values of type {order}{dtype.arguments[0]}")
        values = np.frombuffer(content, "<f8")
        return values.reshape(shape, order="F" if column_major else "C")


# What the names in the pickle stand for; all others are refused.
_ADMITTED: dict[tuple[str, str], Callable[..., Any]] = {
    ("pandas.core.frame", "DataFrame"): _Record,
    ("pandas.core.internals.managers", "BlockManager"): _Record,
    ("pandas.core.indexes.base", "_new_Index"): _Record,
    ("pandas.core.indexes.base", "Index"): _Record,
    ("pandas.core.indexes.range", "RangeIndex"): _Record,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Record,
    ("builtins", "slice"): _Record,
}


class _Unpickler(pickle.Unpickler):
    """Builds nothing but the stand-ins above, whatever the pickle names."""

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"the name {module}.{name}") from None

    def persistent_load(self, pid: object) -> Any:
        raise pickle.UnpicklingError("a persistent id")


def _read_table(content: bytes) -> np.ndarray:
    """The table, float64 [100000, 7], of the pickle of a pandas.DataFrame with one block."""
    try:
        manager = _Unpickler(io.BytesIO(content)).load().state["_mgr"]
        # The state is (axes, values of the blocks, ...): the columns are the first axis.
        axes, blocks = manager.state[:2]
        columns = tuple(axes[0].arguments[1]["data"].array().tolist())
        if columns != GALAXY_COLUMNS:
            raise ValueError(f"the columns {columns}")
        values = blocks[0].array()  # [7, 100000]
        if values.shape != (len(columns), _COUNT) or not np.isfinite(values).all():
            raise ValueError(f"values of shape {list(values.shape)}, or infinite ones")
    # What a damaged pickle raises is not limited to UnpicklingError (see the docs of pickle).
    except Exception as error:
        raise ValueError(
            f"data.galaxies: path: expected the table of {_COUNT:,} galaxies, got {error}; "
            "give the wheel of pzflow 4.0.0 or galaxy-data.pkl out of it"
        ) from error
    return np.ascontiguousarray(values.T)
