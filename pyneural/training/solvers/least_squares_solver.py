"""What the solvers of least squares have in common."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pyneural.training.checks import check
from pyneural.training.data.batches import Batch
from pyneural.training.least_squares import least_squares
from pyneural.training.solvers.base import Phase, Solver, Task
from pyneural.training.solvers.linear_model import Residuals
from pyneural.training.solvers.objective import Objective
from pyneural.training.weights import number


class LeastSquaresSolver(Solver):
    """Knows from one step to the next the last one, and nothing of the residuals.

    So the objective may change at any time, and a training that is resumed has all it needs. All
    vectors are float64, also where parameters are not.
    """

    state_attributes = (*Solver.state_attributes, "last_step")

    def __init__(self, task: Task, phase: Phase) -> None:
        self.task, self.kind = task, type(phase).__name__
        self.last_step: Tensor | None = None  # [T]
        self.parameters = Objective(task.model).parameters
        self._check_kinds()

    def check_parameters(self) -> None:
        """Raises where layers were frozen, unfrozen or replaced since it began."""
        now = {id(parameter) for parameter in Objective(self.task.model).parameters}
        if now != {id(parameter) for parameter in self.parameters}:
            raise RuntimeError(
                f"{self.kind}: parameters: expected those that required a gradient when it "
                "began, got others; end the phase before layers are frozen, unfrozen or replaced"
            )

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

    def point(self) -> Tensor:
        """The parameters, [T]."""
        return torch.cat([parameter.double().reshape(-1) for parameter in self.parameters])

    @torch.no_grad()
    def move(self, point: Tensor) -> None:
        """Sets the parameters."""
        sizes = [parameter.numel() for parameter in self.parameters]
        for parameter, part in zip(self.parameters, point.split(sizes), strict=True):
            parameter.copy_(part.view_as(parameter))

    def _check_kinds(self) -> None:
        where, parameters = f"{self.kind}: parameters", self.parameters
        kinds = sorted({str(parameter.dtype) for parameter in parameters})
        good = all(parameter.is_floating_point() for parameter in parameters)
        remedy = "write real and imaginary parts as two"
        check(good, where, "real numbers", ", ".join(kinds), remedy)
        devices = sorted({str(parameter.device) for parameter in parameters})
        one = len(devices) == 1
        check(one, where, "all on one device", ", ".join(devices), "move them to one")
        remedy = "move the model to the processor"
        check(not devices[0].startswith("mps"), where, "a device with float64", devices[0], remedy)
