"""The interface that equations and conditions require of a network."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Protocol

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


def takes_columns(jet_loss: Callable[..., Any]) -> bool:
    """Whether a fused loss takes columns with a value for each point."""
    return "columns" in inspect.signature(jet_loss).parameters
