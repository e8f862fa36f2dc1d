"""The interface that equations and conditions require of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from pyneural.ops import Derivative


class Network(Protocol):
    """Any callable with jets, such as ``nn.MLP`` or ``Hard``.

    One that also has ``jet_loss``, as ``nn.MLP`` does, lets ``Equation.loss`` compute loss and
    gradient in one pass.
    """

    def __call__(self, x: Tensor) -> Tensor:
        """Value: x [N, D] to [N, O]."""
        ...

    def jet(self, x: Tensor, derivatives: Sequence[Derivative]) -> tuple[Tensor, ...]:
        """Value and derivatives: (u, *derivatives), each [N, O]."""
        ...
