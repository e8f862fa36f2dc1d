"""Records of a training: terms of each step in memory, curves in CSV files and TensorBoard."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pyneural.training.callback import Callback
from pyneural.training.evaluation import StepLosses
from pyneural.training.paths import check_file
from pyneural.training.state.file import replaced


class StepHistory(Callback):
    """Loss terms, phase, time and number of evaluations after each step."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.rows: list[list[float]] = []  # one a step: the terms
        self.phase: list[int] = []  # its index
        self.seconds: list[float] = []  # since the start
        self.evaluations: list[int] = []  # since the start

    def __len__(self) -> int:
        return len(self.rows)

    def terms(self, name: str) -> list[float]:
        """A loss term after each step."""
        column = self.names.index(name)
        return [row[column] for row in self.rows]

    def on_losses(self, steps: Sequence[StepLosses]) -> None:
        """Keeps the terms."""
        self.names = list(self.run.names)
        for values, seconds, evaluations in steps:
            self.rows.append(values)
            self.phase.append(self.run.phase)
            self.seconds.append(seconds)
            self.evaluations.append(self.run.earlier_evaluations + evaluations)

    def state_dict(self) -> dict[str, Any]:
        """Everything: terms [steps, K], seconds, phase and evaluations [steps]."""
        floats = {"terms": self.rows, "seconds": self.seconds}
        counts = {"phase": self.phase, "evaluations": self.evaluations}
        state: dict[str, Any] = {"names": self.names}
        state |= {k: torch.tensor(v, dtype=torch.float64) for k, v in floats.items()}
        return state | {k: torch.tensor(v, dtype=torch.int64) for k, v in counts.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what ``state_dict`` gave."""
        self.names, self.rows = list(state["names"]), state["terms"].tolist()
        for name in ("seconds", "phase", "evaluations"):
            setattr(self, name, state[name].tolist())


class CSVLogger(Callback):
    """Writes a row an epoch to a CSV file, which is whole after each of them.

    Args:
        filename: of the file; one that was there is replaced, unless the training is resumed;
            OSError if it cannot be written, or is a folder.
        separator: between the columns.
    """

    state_attributes = ("rows",)

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",") -> None:
        self.filename, self.separator = Path(filename), separator
        check_file(self.filename, "CSVLogger: filename")

    def on_train_begin(self) -> None:
        """Starts without rows."""
        self.rows: list[dict[str, float]] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Writes all rows anew, so that a resumed training leaves none twice."""
        self.rows.append({"epoch": epoch, **logs})
        if not self.run.process_group.writes:
            return
        with (
            replaced(self.filename) as temporary,
            open(temporary, "w", newline="", encoding="utf-8") as file,
        ):
            columns = list(dict.fromkeys(name for row in self.rows for name in row))
            writer = csv.DictWriter(file, columns, restval="", delimiter=self.separator)
            writer.writeheader()
            writer.writerows(self.rows)


class TensorBoard(Callback):
    """Writes the curves of this run to a directory for TensorBoard, which must be installed."""

    def __init__(self, log_dir: str | os.PathLike[str] = "logs") -> None:
        self.log_dir = os.fspath(log_dir)

    def on_train_begin(self) -> None:
        """Opens the file."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "TensorBoard: expected tensorboard, got none installed; pip install 'pyneural[log]'"
            ) from error
        self.writer = SummaryWriter(self.log_dir) if self.run.process_group.writes else None

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Adds a point to each curve."""
        if self.writer is not None:
            for name, value in logs.items():
                self.writer.add_scalar(name, value, epoch)
            self.writer.flush()

    def on_train_end(self) -> None:
        """Closes the file."""
        if self.writer is not None:
            self.writer.close()
