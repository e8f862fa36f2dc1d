"""What the solvers have in common for which the parameters are one vector."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from pyneural.training.checks import check
from pyneural.training.solvers.base import Phase, Solver, Task
from pyneural.training.solvers.objective import Objective
from pyneural.training.solvers.repeatable import check_repeatable


class VectorSolver(Solver):
    """A solver of the trained parameters as one vector theta [T], one after the other.

    All vectors are float64, also where parameters are not.

    Args:
        task: what to work on.
        phase: that begins it, for errors.

    Raises:
        ValueError: parameters that are no real numbers, or on several devices, or on one without
            float64.
    """

    compares_losses: ClassVar[bool] = True  # at several points of a step

    def __init__(self, task: Task, phase: Phase) -> None:
        self.task, self.kind = task, type(phase).__name__
        self.parameters = Objective(task.model).parameters
        self._check_kinds()

    def check_parameters(self) -> None:
        """Raises where layers were frozen, unfrozen or replaced since it began, or vary."""
        if self.compares_losses:
            check_repeatable(self.kind, self.task.model)
        now = {id(parameter) for parameter in Objective(self.task.model).parameters}
        if now != {id(parameter) for parameter in self.parameters}:
            raise RuntimeError(
                f"{self.kind}: parameters: expected those that required a gradient when it "
                "began, got others; end the phase before layers are frozen, unfrozen or replaced"
            )

    def point(self) -> Tensor:
        """The parameters, [T]."""
        return self.flat(self.parameters).detach()

    @torch.no_grad()
    def move(self, point: Tensor) -> None:
        """Sets the parameters."""
        for parameter, part in zip(self.parameters, self.parts(point), strict=True):
            parameter.copy_(part)

    @staticmethod
    def flat(tensors: list[Tensor]) -> Tensor:
        """Tensors of the parameters' shapes as a vector, [T]."""
        return torch.cat([tensor.double().reshape(-1) for tensor in tensors])

    def parts(self, vector: Tensor) -> list[Tensor]:
        """A vector [T] as tensors of the parameters' shapes."""
        parts = vector.split([parameter.numel() for parameter in self.parameters])
        return [part.view_as(p) for part, p in zip(parts, self.parameters, strict=True)]

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
