"""Curves in files: CSV and TensorBoard."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from pyneural.training.callback import Callback
from pyneural.training.state.file import check_writable


class CSVLogger(Callback):
    """Writes a row an epoch to a CSV file, which is whole after each of them.

    Args:
        filename: of the file; one that was there is replaced, unless the training is resumed.
        separator: between the columns.

    Raises:
        OSError: its directory cannot be written.

    >>> import tempfile
    >>> CSVLogger(os.path.join(tempfile.mkdtemp(), "log.csv")).separator
    ','
    """

    state_attributes = ("rows",)

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",") -> None:
        self.filename, self.separator = Path(filename), separator
        check_writable(self.filename.parent, "CSVLogger: filename")

    def on_train_begin(self) -> None:
        """Starts without rows."""
        self.rows: list[dict[str, float]] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Writes all rows anew, so that a resumed training leaves none twice."""
        self.rows.append({"epoch": epoch, **logs})
        if not self.run.process_group.writes:
            return
        temporary = self.filename.with_name(f".{self.filename.name}.{os.getpid()}.tmp")
        try:
            with open(temporary, "w", newline="", encoding="utf-8") as file:
                columns = list(dict.fromkeys(name for row in self.rows for name in row))
                writer = csv.DictWriter(file, columns, restval="", delimiter=self.separator)
                writer.writeheader()
                writer.writerows(self.rows)
            os.replace(temporary, self.filename)
        finally:
            temporary.unlink(missing_ok=True)


class TensorBoard(Callback):
    """Writes the curves for TensorBoard.

    Args:
        log_dir: directory of this run.

    Raises:
        ImportError: tensorboard is missing.

    >>> TensorBoard("logs/first").log_dir
    'logs/first'
    """

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
