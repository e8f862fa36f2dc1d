"""What happened at each step of a training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from pyneural.training.callbacks.base import Callback
from pyneural.training.listener import StepLosses


class StepHistory(Callback):
    """Loss terms, phase, time and number of evaluations after each step.

    >>> history = StepHistory()
    >>> history.add(["residual", "initial"], [0.5, 0.25], phase=0, seconds=0.1, evaluations=1)
    >>> history.terms("initial"), len(history)
    ([0.25], 1)
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.rows: list[list[float]] = []  # one a step: the terms
        self.phase: list[int] = []
        self.seconds: list[float] = []
        self.evaluations: list[int] = []

    def __len__(self) -> int:
        return len(self.rows)

    def add(
        self,
        names: Sequence[str],
        terms: list[float],
        *,
        phase: int,
        seconds: float,
        evaluations: int,
    ) -> None:
        """Appends a step: unweighted terms, index of the phase, and totals since the start."""
        self.names = list(names)
        self.rows.append(terms)
        self.phase.append(phase)
        self.seconds.append(seconds)
        self.evaluations.append(evaluations)

    def terms(self, name: str) -> list[float]:
        """A loss term after each step."""
        column = self.names.index(name)
        return [row[column] for row in self.rows]

    def on_losses(self, steps: Sequence[StepLosses]) -> None:
        """Keeps the terms."""
        run = self.run
        before = run.earlier_evaluations
        for values, seconds, evaluations in steps:
            self.add(
                run.names,
                values,
                phase=run.phase,
                seconds=seconds,
                evaluations=before + evaluations,
            )

    def state_dict(self) -> dict[str, Any]:
        """Everything: terms [steps, K], seconds, phase and evaluations [steps]."""
        return {
            "names": self.names,
            "terms": torch.tensor(self.rows, dtype=torch.float64).reshape(
                len(self), len(self.names)
            ),
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
