"""What happened at each step of a training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from pyneural.training.callback import Callback
from pyneural.training.curves.meter import StepLosses


class StepHistory(Callback):
    """Loss terms, phase, time and number of evaluations after each step.

    >>> history = StepHistory()
    >>> history.names, history.rows = ["residual", "initial"], [[0.5, 0.25], [0.4, 0.125]]
    >>> history.terms("initial"), len(history)
    ([0.25, 0.125], 2)
    """

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
        run = self.run
        self.names = list(run.names)
        for values, seconds, evaluations in steps:
            self.rows.append(values)
            self.phase.append(run.phase)
            self.seconds.append(seconds)
            self.evaluations.append(run.earlier_evaluations + evaluations)

    def state_dict(self) -> dict[str, Any]:
        """Everything: terms [steps, K], seconds, phase and evaluations [steps]."""
        return {
            "names": self.names,
            "terms": torch.tensor(self.rows, dtype=torch.float64),
            "seconds": torch.tensor(self.seconds, dtype=torch.float64),
            "phase": torch.tensor(self.phase, dtype=torch.int64),
            "evaluations": torch.tensor(self.evaluations, dtype=torch.int64),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what ``state_dict`` gave."""
        self.names, self.rows = list(state["names"]), state["terms"].tolist()
        self.seconds = state["seconds"].tolist()
        self.phase = state["phase"].tolist()
        self.evaluations = state["evaluations"].tolist()
