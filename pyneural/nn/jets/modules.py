"""Modules that give their derivatives, and what makes them of any module."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.nn.jets.functional import jet, jet_loss, jet_mean_square
from pyneural.nn.jets.jet import Jet
from pyneural.nn.mlp import MLP
from pyneural.ops.jet.derivatives import Derivative
from pyneural.ops.jet.mean_square import MeanSquare
from pyneural.ops.jet.residual import ResidualProgram


class _Jets:
    """The methods that are functions of ``nn.jets``, of what is called by ``self(x)``."""

    __call__: Any

    def jet(self, x: Tensor, derivatives: Sequence[Derivative]) -> tuple[Tensor, ...]:
        """Value and derivatives with respect to the columns of x: (u, *derivatives), [N, O]."""
        return jet(self._function, x, derivatives)

    def jet_loss(
        self,
        x: Tensor,
        derivatives: Sequence[Derivative],
        residual: ResidualProgram,
        coefficients: Tensor | None = None,
        columns: Tensor | None = None,
    ) -> Tensor:
        """Mean square of a residual program over the points, []."""
        return jet_loss(self._function, x, derivatives, residual, coefficients, columns)

    def jet_mean_square(
        self,
        x: Tensor,
        derivatives: Sequence[Derivative],
        residual: ResidualProgram,
        coefficients: Tensor | None = None,
        columns: Tensor | None = None,
    ) -> MeanSquare | None:
        """What ``jet_loss`` is the value of, not computed yet; None where no kernel knows it."""
        return jet_mean_square(self._function, x, derivatives, residual, coefficients, columns)

    @property
    def _function(self) -> Any:
        return self


class JetModule(_Jets, torch.nn.Module):
    """A module whose ``jet`` and ``jet_loss`` are those of ``nn.jet`` and ``nn.jet_loss``.

    A subclass writes its ``forward`` with torch functions. Equations, conditions and PINN take any
    module; with this base it has the methods itself.

    >>> class Cubic(JetModule):
    ...     def forward(self, x):
    ...         return x**3
    >>> u, u_xx = Cubic().jet(torch.tensor([[2.0]]), [(0, 0)])
    >>> u.item(), u_xx.item()
    (8.0, 12.0)
    """


class _WithJets(_Jets):
    """A callable with the jets of ``nn.jet``."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def __call__(self, x: Tensor) -> Tensor:
        return self.module(x)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.module, name)

    @property
    def _function(self) -> Any:
        return self.module


def through(network: Any, x: Tensor) -> Any:
    """The network's value; of a jet of points, by a ``jet`` method of its own if it has one."""
    own = hasattr(network, "jet") and not isinstance(network, (JetModule, MLP, _WithJets))
    if not (own and isinstance(x, Jet) and x.is_points):
        return network(x)
    value, *rest = network.jet(x.parts()[0], x.space.channels)
    return Jet(x.space, value, dict(zip(x.space.channels, rest, strict=True)), 0)


_Sizes = tuple[torch.Size, ...]
_outputs: weakref.WeakKeyDictionary[torch.nn.Module, tuple[_Sizes, int]] = (
    weakref.WeakKeyDictionary()
)


def outputs_of(network: Any, x: Tensor) -> int | None:
    """Number of outputs of a network: what it says, or else what it gives for one of the points.

    None for a function, which says nothing, and for a module that fails.

    >>> outputs_of(torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh()), torch.rand(5, 2))
    3
    """
    module = network.module if isinstance(network, _WithJets) else network
    said = getattr(module, "out_features", None)
    if isinstance(said, int):
        return said
    if not isinstance(module, torch.nn.Module):
        return None
    sizes = tuple(parameter.shape for parameter in module.parameters())  # of replaced layers too
    known = _outputs.get(module)
    if known is None or known[0] != sizes:
        try:
            with torch.no_grad():
                known = _outputs[module] = sizes, module(x[:1]).shape[1]
        except (RuntimeError, ValueError, IndexError):  # which its jets explain
            return None
    return known[1]


def with_jets(module: Any) -> Any:
    """The module itself where it gives its derivatives, else one with the jets of ``nn.jet``.

    >>> network = torch.nn.Sequential(torch.nn.Linear(1, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    >>> u, u_x = with_jets(network).jet(torch.rand(3, 1), [(0,)])
    >>> u_x.shape
    torch.Size([3, 1])
    """
    has_own = hasattr(module, "jet") or hasattr(module, "jet_loss")
    return module if has_own else _WithJets(module)


def mean_square_of(network: Any, *asked: Any) -> MeanSquare | None:
    """The network's ``jet_mean_square``; None where that is not what its ``jet_loss`` computes.

    So it is where a class, or a module itself, has another ``jet_loss`` than the one beside it.

    >>> from pyneural.ops import record_residual
    >>> program = record_residual(lambda jet, x, c: jet[0, 0])
    >>> network = MLP(1, [4], 1)
    >>> mean_square_of(network, torch.rand(3, 1), (), program).activation
    'tanh'
    >>> network.jet_loss = lambda *asked: torch.zeros(())
    >>> mean_square_of(network, torch.rand(3, 1), (), program) is None
    True
    """
    own = getattr(network, "__dict__", {})
    places = [own, *map(vars, type(network).__mro__)]
    for place in places:
        if "jet_mean_square" in place:
            return network.jet_mean_square(*asked)
        if "jet_loss" in place:
            return None
    return None
