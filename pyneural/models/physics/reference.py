"""The error of a PINN against a known solution, beside its losses."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from typing_extensions import Self

from pyneural.training.callbacks import Callback
from pyneural.training.checks import check


class Reference(Callback):
    """Adds the relative L2 error against a known solution to the history of a PINN.

    Args:
        x: points, [N, D].
        exact: solution there, [N, O].
    """

    in_checkpoint = False

    def __init__(self, x: Tensor, exact: Tensor) -> None:
        self.x, self.exact = x, exact

    @classmethod
    def checked(cls, model: Any, reference: Any) -> Self:
        """One of (x, exact); ValueError before the training for what cannot be compared."""
        good = isinstance(reference, (tuple, list)) and len(reference) == 2
        several = isinstance(reference, (tuple, list))
        got = f"{len(reference)} of them" if several else type(reference).__name__
        remedy = "write reference=(x, exact)"
        check(good, "PINN.fit: reference", "points and the solution there", got, remedy)
        model.relative_l2(*reference)
        return cls(*reference)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Measures it."""
        logs["error"] = self.run.model.relative_l2(self.x, self.exact)


def relative_l2(predicted: Tensor, exact: Tensor) -> float:
    """Relative error |predicted - exact|_2 / |exact|_2, the norms taken in float64.

    Where exact is NaN, it is not known, as an output that was not measured at a point.

    >>> import torch
    >>> relative_l2(torch.tensor([[1.5, 7.0]]), torch.tensor([[1.0, torch.nan]]))
    0.5
    """
    if predicted.shape != exact.shape:
        raise ValueError(
            f"PINN.relative_l2: exact: expected {list(predicted.shape)}, got "
            f"{list(exact.shape)}; give one row a point, one column an output"
        )
    predicted, exact = predicted.double(), exact.to(predicted.device).double()
    known = ~exact.isnan()
    predicted, exact = predicted[known], exact[known]
    if len(exact) == 0:
        raise ValueError(
            "PINN.relative_l2: exact: expected a solution that is known somewhere, got only nan; "
            "correct it"
        )
    norm = float(exact.norm())
    if norm == 0:
        raise ValueError(
            "PINN.relative_l2: exact: expected a solution that is not zero everywhere, got "
            "zeros; use the absolute error"
        )
    return float((predicted - exact).norm()) / norm
