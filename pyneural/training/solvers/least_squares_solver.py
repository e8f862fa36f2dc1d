"""What the solvers of least squares have in common."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from pyneural.training.data.batches import Batch
from pyneural.training.least_squares import least_squares
from pyneural.training.solvers.base import Phase, Task
from pyneural.training.solvers.residuals import Residuals
from pyneural.training.solvers.vector_solver import VectorSolver
from pyneural.training.weights import number


class LeastSquaresSolver(VectorSolver):
    """Knows from one step to the next the last one, and nothing of the residuals.

    So the objective may change at any time, and a training that is resumed has all it needs.
    """

    state_attributes = (*VectorSolver.state_attributes, "last_step")

    def __init__(self, task: Task, phase: Phase) -> None:
        super().__init__(task, phase)
        self.last_step: Tensor | None = None  # [T]

    def objective_changed(self) -> None:
        """Goes on where it was to end: what it found holds for other losses than those of now."""
        self.reason = None

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what ``state_dict`` gave."""
        super().load_state_dict(state)
        if self.last_step is not None:
            self.last_step = self.last_step.to(self.parameters[0].device)

    def residuals(self, batch: Batch) -> Residuals:
        """Those at the present parameters, whatever these are by then."""
        group = self.task.process_group
        part = self.task.model.part_of_data(group.rank, group.size) if batch is None else batch
        terms = least_squares(self.task.model, self.parameters, part)
        return Residuals(terms, group, 1.0 if part is None else part.share)

    def unweighted(self, residuals: Residuals, losses: Tensor, batch: Batch) -> list[float]:
        """The terms without their weights, and those of weight 0; sets their names."""
        model, group = self.task.model, self.task.process_group
        weights = {name: number(weight) for name, weight in model.term_weights.items()}
        pairs = zip(residuals.terms, losses.tolist(), strict=True)
        found = {
            term.name: loss / (weights.get(term.name, 1.0) or math.nan) for term, loss in pairs
        }
        if 0 in weights.values():  # which is measured and not minimised
            measured, share = model.losses(batch), 1.0 if batch is None else batch.share
            means = group.mean([float(loss) for loss in measured.values()], share, losses.device)
            both = zip(measured, means, strict=True)
            found = {name: found[name] if weights.get(name, 1.0) else mean for name, mean in both}
        self.names = list(found)
        return list(found.values())
