"""Collocation points that follow the residual, and become more where they are too few."""

from __future__ import annotations

import math
from typing import Any

from pyneural.errors import whole
from pyneural.training.callbacks.every import Resample
from pyneural.training.checks import check, check_count
from pyneural.training.data.batches import AllData
from pyneural.training.run import Run

_TIMES = 4  # as many points as the model began with, at most


class AdaptivePoints(Resample):
    """Draws new collocation points where the residual is large, and more where they are too few.

    After every so many steps ``PINN.resample`` draws them anew. Points that are too few are fitted
    better than what is between them: where the loss of the residual at the new points is more than
    ``jump`` times that at the old ones, ``growth`` times as many are drawn from the next time on.

    With mini-batches, whose steps cost the same however many points there are, the number stays.

    Args:
        every: steps, or epochs, from one draw to the next, >= 1.
        growth: factor on the number of points, > 1.
        jump: factor on the loss from which on they are too few, > 1.
        most: number up to which it grows; None for 4 times as many as the model began with.
        unit: "step" or "epoch".

    Raises:
        ValueError: numbers out of their range.

    >>> import torch
    >>> from pyneural import models, nn, pde
    >>> from pyneural.training import LBFGS
    >>> burgers, _ = pde.Burgers(), torch.manual_seed(0)
    >>> network = nn.MLP(2, [8], 1, input_range=burgers.domain.range)
    >>> pinn = models.PINN(burgers.hard(network), {}, equation=burgers, points=20)
    >>> _ = pinn.fit(LBFGS(60), callbacks=[AdaptivePoints(every=20)], progress=False)
    >>> len(pinn.collocation) > 20
    True
    """

    state_attributes = ("count",)

    def __init__(
        self,
        every: int = 10,
        growth: float = 1.4,
        jump: float = 1.7,
        most: int | None = None,
        unit: str = "step",
    ) -> None:
        kind = type(self).__name__
        check_count(f"{kind}: every", every, 10)
        super().__init__(every, adaptive=True, unit=unit)
        for argument, value in (("growth", growth), ("jump", jump)):
            check(1 < value < math.inf, f"{kind}: {argument}", "a number > 1", value)
        self.growth, self.jump = float(growth), float(jump)
        self.most = None if most is None else whole(f"{kind}: most", most)
        self.count: int | None = None  # to be drawn; None for as many as there are

    def on_train_begin(self) -> None:
        """Begins with the points that there are."""
        self.count = None

    def _resample(self, run: Run) -> None:
        model: Any = run.model
        most = _TIMES * model.first_count if self.most is None else self.most
        grows = len(model.collocation) < most and isinstance(run.batches, AllData)
        if not grows:
            self.draw(run, count=self.count)
        else:
            before = model.residual_loss()
            self.draw(run, count=self.count)
            if run.process_group.any(model.residual_loss() > self.jump * before, run.device):
                self.count = min(math.ceil(self.growth * len(model.collocation)), most)
        run.objective_changed()
