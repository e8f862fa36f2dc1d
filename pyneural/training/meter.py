"""Means over samples that stay on the device until someone reads them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pyneural.training.distributed import ProcessGroup
from pyneural.training.metrics import Metric


class Meter:
    """Mean of the loss and the metrics over the samples of an epoch, in float64.

    Args:
        metrics: beside the loss.
        device: of the model.

    >>> meter = Meter([], torch.device("cpu"))
    >>> meter.add(torch.tensor(1.0), torch.ones(3, 1), torch.ones(3, 1), 3)
    >>> meter.add(torch.tensor(5.0), torch.ones(1, 1), torch.ones(1, 1), 1)
    >>> meter.means()
    {'loss': 2.0}
    """

    def __init__(self, metrics: Sequence[Metric], device: torch.device) -> None:
        self.metrics = list(metrics)
        dtype = torch.float32 if device.type == "mps" else torch.float64
        self.sums = [torch.zeros((), dtype=dtype, device=device) for _ in range(1 + len(metrics))]
        self.samples = 0

    def add(self, loss: Tensor, prediction: Tensor, y: Tensor, samples: int) -> None:
        """Adds a batch: its mean loss, [], and what the metrics are taken of."""
        self.sums[0].add_(loss, alpha=samples)
        for metric, total in zip(self.metrics, self.sums[1:], strict=True):
            total.add_(metric(prediction, y), alpha=samples)
        self.samples += samples

    def means(self, process_group: ProcessGroup | None = None) -> dict[str, float]:
        """The means by name, over all processes of a group; waits for the device."""
        sums = torch.stack([*self.sums, self.sums[0].new_tensor(self.samples)])
        *totals, samples = (sums if process_group is None else process_group.sum(sums)).tolist()
        names = ["loss", *(metric.name for metric in self.metrics)]
        return {name: total / max(samples, 1) for name, total in zip(names, totals, strict=True)}

    def state(self) -> dict[str, object]:
        """Everything, to go on inside an epoch."""
        return {"sums": torch.stack(self.sums), "samples": self.samples}

    def load_state(self, state: dict) -> None:
        """Takes over what ``state`` gave."""
        for total, saved in zip(self.sums, state["sums"], strict=True):
            total.copy_(saved)
        self.samples = state["samples"]
