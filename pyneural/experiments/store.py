"""The file of finished cells."""

from __future__ import annotations

import glob
import json
import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from pyneural.errors import ArgumentError, check_argument
from pyneural.training.paths import check_file
from pyneural.training.state.replacing import replaced


class CellStore:
    """Finished cells by their labels, in a JSON file.

    The first of several processes writes the file; each of the others keeps what it knows in a part
    of its own beside it, until all have ended. A part that an interruption has left behind is read
    by the next run.

    Args:
        file: its path; None to keep nothing.
        settings: what the values depend on; a file of others is refused.
        rank: number of the process.
    """

    def __init__(self, file: Path | None, settings: Mapping[str, Any], rank: int) -> None:
        self.settings = as_stored("run_cells: settings", settings)
        self.file, self.cells = file, dict[str, dict[str, Any]]()
        if file is not None:
            check_file(file, "run_cells: file")
            part = file.with_name(f"{file.stem}.part{rank}{file.suffix}")
            self._own = file if rank == 0 else part

    def read(self) -> dict[str, dict[str, Any]]:
        """Cells of the file and of all parts beside it, by ``key`` of their labels."""
        found: dict[str, dict[str, Any]] = {}
        for path in [] if self.file is None else [self.file, *_parts(self.file)]:
            if path.exists():
                found.update(self._read(path))
        return found

    def add(self, cell: dict[str, Any]) -> None:
        """Keeps a finished cell."""
        self.cells[key(cell["labels"])] = cell
        self.write()

    def write(self) -> None:
        """Writes all cells that this process knows."""
        if self.file is not None:
            lines = ",\n".join(json.dumps(cell) for cell in self.cells.values())
            settings = json.dumps(self.settings)
            _write(self._own, f'{{"settings": {settings}, "cells": [\n{lines}\n]}}')

    def remove_parts(self) -> None:
        """Removes the parts, once their cells are in the file."""
        for path in [] if self.file is None else _parts(self.file):
            path.unlink(missing_ok=True)

    def _read(self, path: Path) -> dict[str, dict[str, Any]]:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            settings = dict(content["settings"])
            cells = {key(cell["labels"]): cell for cell in content["cells"]}
            good = all({"values", "seconds"} <= set(cell) for cell in cells.values())
        except (ValueError, KeyError, TypeError):
            good = False
        remedy = "delete it, or keep these in another file (another --out of a demo or of compare)"
        check_argument(good, "run_cells: file", f"finished cells in {path}", "other data", remedy)
        names = sorted({*settings, *self.settings})
        differ = [name for name in names if settings.get(name) != self.settings.get(name)]
        if differ:
            kept = ", ".join(f"{name} {settings.get(name)}" for name in differ)
            now = ", ".join(f"{name} {self.settings.get(name)}" for name in differ)
            raise ArgumentError(
                f"run_cells: file: expected cells with {now} in {path}, got some with {kept}; "
                f"go on with the settings of the file, or {remedy}"
            )
        return cells


def key(labels: Mapping[str, Any]) -> str:
    """The labels of a cell as one text, whatever their order."""
    return json.dumps(labels, sort_keys=True)


def _parts(file: Path) -> list[Path]:
    return sorted(file.parent.glob(f"{glob.escape(file.stem)}.part*{glob.escape(file.suffix)}"))


def write_json(path: Path, value: Any) -> None:
    """Writes a value as JSON, in one step, so that a file is never half-written."""
    _write(path, json.dumps(as_stored("write_json", value), indent=1))


def _write(path: Path, text: str) -> None:
    with replaced(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def as_stored(where: str, value: Any) -> Any:
    """The value as JSON gives it back, with None for numbers that are not finite.

    ArgumentError for what JSON has no form for.

    >>> as_stored("run_cells", {"loss": float("nan"), "sizes": (1, 2)})
    {'loss': None, 'sizes': [1, 2]}
    """
    if isinstance(value, Mapping):
        return {str(name): as_stored(f"{where}: {name}", part) for name, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [as_stored(where, part) for part in value]
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, Integral):
        return int(value)
    remedy = "write float(value), or tensor.tolist()"
    kind = type(value).__name__
    check_argument(isinstance(value, Real), where, "numbers, texts or lists of them", kind, remedy)
    return float(value) if math.isfinite(value) else None
