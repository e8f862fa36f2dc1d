"""What callbacks that balance weights ask of a PINN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import Tensor, nn

from pyneural.models.physics.checks import RESIDUAL
from pyneural.models.physics.tangent_kernel import kernel_means
from pyneural.models.physics.weights import Weights
from pyneural.pde import Condition, Equation
from pyneural.training import Batch, Trainable


class Balanced(Trainable):
    """A PINN's terms in the parts that have weights of their own: conditions, single equations."""

    network: nn.Module
    equation: Equation | None
    conditions: nn.ModuleDict
    _weights: Weights

    def named_conditions(self) -> list[tuple[str, Condition]]:
        """The conditions and their names."""
        return cast("list[tuple[str, Condition]]", list(self.conditions.items()))

    def collocated(self, batch: Batch | None) -> Tensor:
        """The collocation points of a batch, whose x are their numbers; None takes all."""
        points = cast(Tensor, self.collocation)
        return points if batch is None else points[batch.x]

    def residual_weights(self, batch: Batch | None) -> dict[str, Any]:
        """The argument ``weights`` of the residual's loss for a batch; empty for weights of 1."""
        return self._weights.inside(RESIDUAL, None if batch is None else batch.x)

    def parts(self, batch: Batch | None) -> dict[str, list[Tensor]]:
        """Unweighted loss of each condition and of each equation, [] each."""
        u = cast(Any, self.network)
        terms = {name: [condition.loss(u)] for name, condition in self.named_conditions()}
        if self.equation is not None:
            residuals = self.equation.residuals(u, self.collocated(batch))
            terms[RESIDUAL] = [residual.square().mean() for residual in residuals]
        return terms

    def part_weights(self) -> dict[str, list[float | str]]:
        """Their weights."""
        return {
            name: ["pointwise" if str(one).startswith("points") else one for one in weights]
            for name, weights in self._weights.described().items()
        }

    def weigh_parts(self, weights: Mapping[str, Sequence[float]]) -> None:
        """Gives them other weights."""
        self._weights.update({n: w if len(w) > 1 else w[0] for n, w in weights.items()})

    def shared_parameters(self) -> list[nn.Parameter]:
        """Those of the network that are trained."""
        return [parameter for parameter in self.network.parameters() if parameter.requires_grad]

    def kernel_means(self, batch: Batch | None) -> dict[str, list[float]]:
        """Mean of the tangent kernel's diagonal for each part, see ``NTKWeights``."""
        means = {
            name: [sum(kernel_means(self.network, condition.residuals))]
            for name, condition in self.named_conditions()
        }
        if self.equation is not None:
            equation, points = self.equation, self.collocated(batch)
            means[RESIDUAL] = kernel_means(self.network, lambda u: equation.residuals(u, points))
        return means
