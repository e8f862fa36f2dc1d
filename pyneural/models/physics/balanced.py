"""What callbacks that balance weights ask of a PINN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import Tensor, nn

from pyneural.models.physics.checks import RESIDUAL
from pyneural.models.physics.collocation import Collocated
from pyneural.models.physics.tangent_kernel import kernel_means
from pyneural.pde import Condition
from pyneural.training import Batch


class Balanced(Collocated):
    """A PINN's terms in the parts that have weights of their own: conditions, single equations."""

    conditions: nn.ModuleDict

    def named_conditions(self) -> list[tuple[str, Condition]]:
        """The conditions and their names."""
        return cast("list[tuple[str, Condition]]", list(self.conditions.items()))

    def parts(self, batch: Batch | None) -> dict[str, list[Tensor]]:
        """Unweighted loss of each condition and of each equation, [] each."""
        u = cast(Any, self.network)
        terms = {name: [condition.loss(u)] for name, condition in self.named_conditions()}
        if self.equation is not None:
            terms[RESIDUAL] = [r.square().mean() for r in self.residuals(u, batch)]
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
            means[RESIDUAL] = kernel_means(self.network, lambda u: self.residuals(u, batch))
        return means
