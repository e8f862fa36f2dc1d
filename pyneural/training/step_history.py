"""What happened at each step of a training without epochs, as that of equations is."""

from __future__ import annotations

import torch
from torch import Tensor


class StepHistory:
    """Loss terms, phase, time and number of evaluations after each step.

    Args:
        names: names of the loss terms.

    >>> history = StepHistory(["residual", "initial"])
    >>> history.add([0.5, 0.25], phase=0, seconds=0.1, evaluations=1)
    >>> history.terms("initial"), len(history)
    ([0.25], 1)
    """

    def __init__(self, names: list[str]) -> None:
        self.names = list(names)
        self.rows: list[list[float]] = []  # one a step: the terms
        self.phase: list[int] = []
        self.seconds: list[float] = []
        self.evaluations: list[int] = []

    def __len__(self) -> int:
        return len(self.rows)

    def add(self, terms: list[float], *, phase: int, seconds: float, evaluations: int) -> None:
        """Appends a step: unweighted terms, index of the phase, and totals since the start."""
        self.rows.append(terms)
        self.phase.append(phase)
        self.seconds.append(seconds)
        self.evaluations.append(evaluations)

    def terms(self, name: str) -> list[float]:
        """A loss term after each step."""
        column = self.names.index(name)
        return [row[column] for row in self.rows]

    def state(self) -> dict[str, Tensor]:
        """Everything as tensors: terms [steps, K], seconds, phase and evaluations [steps]."""
        return {
            "terms": torch.tensor(self.rows, dtype=torch.float64).reshape(-1, len(self.names)),
            "seconds": torch.tensor(self.seconds, dtype=torch.float64),
            "phase": torch.tensor(self.phase, dtype=torch.int64),
            "evaluations": torch.tensor(self.evaluations, dtype=torch.int64),
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Takes over what ``state`` gave."""
        self.rows = state["terms"].tolist()
        self.seconds = state["seconds"].tolist()
        self.phase = state["phase"].tolist()
        self.evaluations = state["evaluations"].tolist()
