"""The terms of a PINN as squares, for solvers of second order."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from torch import Tensor

from pyneural.models.physics.balanced import Balanced
from pyneural.models.physics.checks import RESIDUAL
from pyneural.ops import GroupedSquare, MeanSquare
from pyneural.training import Batch


class Squares(Balanced):
    """A PINN's terms, not summed up yet."""

    def least_squares(
        self, batch: Batch | None = None
    ) -> dict[str, MeanSquare | GroupedSquare | Callable[[], Tensor]]:
        """The terms of ``losses`` before they are summed, for ``training.least_squares``.

        Learned weights of equations and points are taken as they are now.

        >>> from pyneural import models, nn, pde
        >>> burgers = pde.Burgers()
        >>> network = nn.MLP(2, [8], 1, input_range=burgers.domain.range)
        >>> pinn = models.PINN(network, burgers.conditions(20), equation=burgers, points=50)
        >>> {name: type(term).__name__ for name, term in pinn.least_squares().items()}
        {'initial': 'MeanSquare', 'boundary': 'MeanSquare', 'residual': 'MeanSquare'}
        """
        asked: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any]]] = {}
        u = cast(Any, self.network)
        for name, condition in self.named_conditions():
            asked[name] = condition, (u,), self._weights.inside(name)
        if self.equation is not None:
            points = u, self.collocated(batch)
            asked[RESIDUAL] = self.equation, points, self.residual_weights(batch)
        found: dict[str, MeanSquare | GroupedSquare | Callable[[], Tensor]] = {}
        for name, (owner, given, inside) in asked.items():
            fixed = {key: _detached(weights) for key, weights in inside.items()}
            square = owner.mean_square(*given, **fixed)
            found[name] = square or partial(owner.scaled_residuals, *given, **fixed)
        return found


def _detached(weights: Any) -> Any:
    if isinstance(weights, Tensor):
        return weights.detach()
    return [_detached(w) for w in weights] if isinstance(weights, list) else weights
