"""The interface that equations and conditions require of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from pyneural.nn.jets.modules import mean_square_of, outputs_of, with_jets
from pyneural.nn.joined import Joined
from pyneural.ops import Derivative
from pyneural.pde.coordinates import check_names

__all__ = ["Network", "check_inputs", "mean_square_of", "outputs_of", "with_jets"]


class Network(Protocol):
    """Any callable with jets, such as ``nn.MLP`` or ``Hard``.

    Equations and conditions take every other ``torch.nn.Module`` and function too: ``with_jets``
    gives it the jets of ``nn.jet``. A network that also has ``jet_loss(x, derivatives, program,
    coefficients=None, columns=None)``, as all of these have, lets ``Equation.loss`` compute loss
    and gradient in one pass; with ``jet_mean_square`` beside it second-order methods are fused too.
    """

    def __call__(self, x: Tensor) -> Tensor:
        """Value: x [N, D] to [N, O]."""
        ...

    def jet(self, x: Tensor, derivatives: Sequence[Derivative]) -> tuple[Tensor, ...]:
        """Value and derivatives: (u, *derivatives), each [N, O]."""
        ...


def check_inputs(where: str, network: Any, names: Sequence[str], owner: str) -> None:
    """ValueError where a network names its inputs, as ``Hard`` does, and has other ones.

    The part of a composition that gets the coordinates names them: the first module of a
    ``torch.nn.Sequential``, the ``network`` or ``embedding`` of one that has such an attribute.

    >>> from pyneural import nn
    >>> network = torch.nn.Sequential(nn.PeriodicEmbedding("tx", {"x": 2.0}), nn.MLP(3, [8], 1))
    >>> check_inputs("Heat", network, ("x", "t"), "the equation")
    Traceback (most recent call last):
    ValueError: Heat: network: expected the inputs x, t, as the equation has, got t, x; \
give both the same names in the same order
    """
    inputs = getattr(network, "inputs", None)
    if isinstance(inputs, tuple) and all(isinstance(name, str) for name in inputs):
        check_names(f"{where}: network", names, inputs, owner)
    elif isinstance(network, torch.nn.Sequential):
        if len(network):
            check_inputs(where, network[0], names, owner)
    elif isinstance(network, Joined):
        for part, columns in zip(network.networks, network.columns, strict=True):
            own = names if columns is None else [names[c] for c in columns if c < len(names)]
            check_inputs(where, part, own, owner)
    else:
        for first in ("network", "embedding"):
            if hasattr(network, first):
                check_inputs(where, getattr(network, first), names, owner)
