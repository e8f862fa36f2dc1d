"""The error of a PINN against a known solution, beside its losses."""

from __future__ import annotations

from torch import Tensor

from pyneural.training.callbacks import Callback


class Reference(Callback):
    """Adds the relative L2 error against a known solution to the history of a PINN.

    Args:
        x: points, [N, D].
        exact: solution there, [N, O].
    """

    in_checkpoint = False

    def __init__(self, x: Tensor, exact: Tensor) -> None:
        self.x, self.exact = x, exact

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Measures it."""
        logs["error"] = self.run.model.relative_l2(self.x, self.exact)
