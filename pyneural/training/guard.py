"""Losses that are not finite: noticed before the update, explained; the weights stay finite."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pyneural.training.data.batches import Batch
from pyneural.training.evaluation import StepLosses, Values, as_numbers, finished
from pyneural.training.solvers.objective import NonFiniteLossError


class FiniteGuard:
    """Raises NonFiniteLossError with the term, the step, and what gave it; the weights stay finite.

    On the CPU each step is looked at before its update, so that the weights are those whose loss is
    not finite. Elsewhere that would mean to wait for the device: the terms are looked at when they
    are read, and weights that have become nan are put back to the last finite ones that were kept.
    """

    def __init__(self, run: Any) -> None:
        self.run, self._kept, self._kept_at = run, dict[str, Tensor](), 0

    @torch.no_grad()
    def keep(self) -> None:
        """Copies the weights, if they are finite."""
        tensors = dict(_floating(self.run.model))
        if all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
            known = {n: t for n, t in self._kept.items() if n in tensors}
            same = all(n in known and known[n].shape == t.shape for n, t in tensors.items())
            if same and len(known) == len(self._kept):
                torch._foreach_copy_(list(self._kept.values()), list(tensors.values()))
            else:
                self._kept = {name: tensor.detach().clone() for name, tensor in tensors.items()}
            self._kept_at = self.run.steps

    def check_step(self, batch: Batch, names: Sequence[str], values: Values) -> None:
        """Before an update: raises unless the terms of the step are finite."""
        run = self.run
        if not self._kept:
            self.keep()
        if run.device.type != "cpu" or run.process_group.size > 1:
            return
        terms = [values] if isinstance(values, Tensor) else map(torch.as_tensor, values)
        if not math.isfinite(sum(float(term.sum()) for term in terms)):
            run.read()
            (numbers,) = as_numbers([values])
            self.check(names, finished(run.model, names, numbers), run.phase_step + 1, batch)

    def check_rows(self, rows: Sequence[StepLosses]) -> None:
        """After terms were read: raises unless those of each step are finite."""
        run = self.run
        for number, row in enumerate(rows, run.phase_step - len(rows) + 1):
            self.check(run.names, row.values, number)
        self.keep()

    def check(
        self, names: Sequence[str], values: Sequence[float], phase_step: int, batch: Any = None
    ) -> None:
        """Raises unless the terms of a step of this phase are finite."""
        if not self._kept:
            self.keep()
        for name, value in zip(names, values, strict=True):
            if not math.isfinite(value):
                where = f"step {phase_step} of {self.run.place()}"
                text = f"loss term {name!r}: expected a finite number, got {value} at {where}"
                kept = self._put_back()
                reason = self.run.model.explain_nonfinite(name, batch)
                raise NonFiniteLossError(text, reason, kept)

    @torch.no_grad()
    def _put_back(self) -> str:
        tensors = dict(_floating(self.run.model))
        if all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
            return "the weights are finite: those before that step"
        for name, kept in self._kept.items():
            if name in tensors and tensors[name].shape == kept.shape:
                tensors[name].copy_(kept)
        return (
            f"the weights are those after step {self._kept_at}, the last that are known as finite"
        )


def _floating(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Weights and all else in the state that could become nan."""
    for name, value in model.state_dict().items():
        if isinstance(value, Tensor) and value.is_floating_point() and 0 not in value.stride():
            yield name, value
