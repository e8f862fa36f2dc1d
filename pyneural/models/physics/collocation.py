"""The collocation points of a PINN: drawn anew, weighted, and loaded however many they are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor

from pyneural.models.physics.checks import RESIDUAL
from pyneural.models.physics.point_source import PointSource
from pyneural.models.physics.weights import Weights
from pyneural.pde import Causal, Domain, Equation, Network
from pyneural.pde.coordinates import TIME
from pyneural.training import Batch, Trainable
from pyneural.training.checks import check, check_count
from pyneural.training.distributed import ProcessGroup

_CHUNK = 1 << 16  # points at which the residual is known at once
_POINTS = ("collocation", "collocation_weights")


class Collocated(Trainable):
    """Points inside a domain at which an equation is to hold.

    Buffers, both in the ``state_dict``: ``collocation`` [N, D], and ``collocation_weights`` [N],
    with the mean 1, by which the mean square over points that are dense where the residual is large
    still estimates that over the domain; None where all count the same. There are none without an
    equation.
    """

    network: torch.nn.Module
    equation: Equation | None
    source: PointSource
    generator: torch.Generator
    adaptive: bool
    first_count: int  # of the points that it began with
    in_batches = False  # whether it is trained in mini-batches of the points
    collocation: Tensor
    collocation_weights: Tensor | None
    domain: Domain
    causal: Causal | None
    _weights: Weights

    def collocated(self, batch: Batch | None) -> Tensor:
        """The collocation points of a batch, whose x are their numbers; None takes all."""
        return self.collocation if batch is None else self.collocation[batch.x]

    def part_of_data(self, rank: int, size: int) -> Batch | None:
        """Every so many collocation points for each of several processes."""
        count = 0 if self.equation is None else len(self.collocation)
        if size == 1 or count < size:
            return None
        numbers = torch.arange(rank, count, size, device=self.collocation.device)
        return Batch(numbers, None, None, len(numbers), len(numbers) * size / count)

    def residual_weights(self, batch: Batch | None) -> dict[str, Any]:
        """The argument ``weights`` of the residual's loss for a batch; empty for weights of 1.

        Those of equations and of points, times ``collocation_weights`` and those of ``causal``.
        """
        rows = None if batch is None else batch.x
        return self._weights.inside(RESIDUAL, rows, self._further_weights(batch))

    def residuals(self, network: Any, batch: Batch | None) -> list[Tensor]:
        """Those of a network, [N] for each equation, times roots of importance and causal weights.

        Weights of equations and points that the user has given are left out.
        """
        residuals = cast(Equation, self.equation).residuals(network, self.collocated(batch))
        weights = self._further_weights(batch)
        return residuals if weights is None else [r * weights.sqrt() for r in residuals]

    def update_causal(self) -> None:
        """Takes the causal weights from the residual as it is at the collocation points."""
        causal, points = cast(Causal, self.causal), self.collocation
        causal.update(self._time(points), self._squares(points), self.collocation_weights)

    def begin_phase(self, index: int) -> None:
        """Draws new collocation points where the residual is large, if that is wanted."""
        if self.equation is not None and self.adaptive and index > 0:
            self.resample(adaptive=True)
            self.share_points(ProcessGroup.join(self))

    def share_points(self, group: ProcessGroup) -> None:
        """Takes points and weights of the first process, in all processes.

        Machines may differ in the last bits of a residual, and so in the points that are drawn.
        """
        if group.size == 1 or self.equation is None:
            return
        device, weights = self.collocation.device, self.collocation_weights
        count = group.from_first(len(self.collocation), device)
        weighted = group.from_first(int(weights is not None), device)
        if count != len(self.collocation):
            self.collocation = self.collocation.new_empty(count, *self.collocation.shape[1:])
        self.collocation = group.tensor_from_first(self.collocation)
        if weighted:
            if weights is None or len(weights) != count:
                weights = self.collocation.new_empty(count)
            weights = group.tensor_from_first(weights)
        self.collocation_weights = weights if weighted else None

    def resample(self, adaptive: bool, count: int | None = None) -> None:
        """Draws new collocation points from the candidates or the domain.

        Where the residual is large they are drawn by systematic selection along Hilbert's curve
        with the density |r| / mean |r| + 1, |r|^2 being the sum of the squares of the equations'
        residuals, times the causal weight, and have importance weights, ``collocation_weights``,
        for which the loss is still the mean over the domain; see ``pde.residual_adaptive``.

        Args:
            adaptive: whether where the residual is large, else by the sampling of the PINN.
            count: how many; None for as many as there are.

        Raises:
            ValueError: there is no equation, the points were given without candidates, or another
                number in a training with a ``batch_size``.

        >>> from pyneural import nn, pde
        >>> from pyneural.models import PINN
        >>> burgers = pde.Burgers()
        >>> pinn = PINN(nn.MLP(2, [8], 1), burgers.conditions(20), equation=burgers, points=50)
        >>> pinn.resample(adaptive=True, count=70)
        >>> pinn.collocation.shape, round(pinn.collocation_weights.mean().item(), 5)
        (torch.Size([70, 2]), 1.0)
        """
        if self.equation is None:
            raise ValueError(
                "PINN.resample: equation: expected one, got None; without it there are no "
                "collocation points"
            )
        self._check_redraws("PINN.resample")
        count = len(self.collocation) if count is None else count
        check_count("PINN.resample: count", count, before := len(self.collocation))
        remedy = "leave out count, or batch_size"
        good, expected = count == before or not self.in_batches, f"{before:,} in mini-batches"
        check(good, "PINN.resample: count", expected, f"{count:,}", remedy)
        draw, like = self.source, self.collocation
        if adaptive:
            points, weights = draw.draw_adaptive(count, like, self._sizes)
            self.collocation, self.collocation_weights = points, weights
        else:
            self.collocation, self.collocation_weights = draw.draw(count, like), None

    @torch.no_grad()
    def residual_loss(self) -> float:
        """The term "residual" of the loss at the collocation points."""
        equation, weights = cast(Equation, self.equation), self.residual_weights(None)
        return float(equation.loss(cast(Network, self.network), self.collocation, **weights))

    def get_extra_state(self) -> Tensor:
        """State of the generator, for ``state_dict``."""
        return self.generator.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        """Takes over the state of the generator, for ``load_state_dict``."""
        self.generator.set_state(state)

    @contextlib.contextmanager
    def matching(self, tensors: Mapping[str, Any], prefix: str = "") -> Iterator[None]:
        """Has as many points as those to be loaded, unless they are refused in the context."""
        before = {name: self._buffers[name] for name in _POINTS if name in self._buffers}
        self._match(tensors, prefix)
        try:
            yield
        except Exception:
            self._buffers.update(before)
            raise

    def _further_weights(self, batch: Batch | None) -> Tensor | None:
        """Importance times causal weights of the points of a batch, [N]; None for weights of 1."""
        importance = self.collocation_weights
        if importance is not None and batch is not None:
            importance = importance[batch.x]
        if self.causal is None:
            return importance
        weights = self.causal(self._time(self.collocated(batch)))
        return weights if importance is None else importance * weights

    def _time(self, x: Tensor) -> Tensor:
        """From 0, the first time of the domain, to 1, the last, at points [M, D], [M]."""
        column = self.domain.index(TIME, "PINN: causal")
        first, last = (float(bound[column]) for bound in self.domain.range)
        return (x[:, column] - first) / (last - first)

    @torch.no_grad()
    def _squares(self, x: Tensor) -> Tensor:
        """Sum of the squares of the residuals at points [M, D], [M]."""
        equation, network = cast(Equation, self.equation), cast(Network, self.network)
        parts = [equation.residuals(network, chunk) for chunk in x.split(_CHUNK)]
        return torch.cat([torch.stack(part).square().sum(0) for part in parts])

    def _sizes(self, x: Tensor) -> Tensor:
        """Root of the integrand of the loss at points [M, D], [M]."""
        squares = self._squares(x)
        return (squares if self.causal is None else squares * self.causal(self._time(x))).sqrt()

    def _check_redraws(self, where: str) -> None:
        self.source.check_redraws(where)
        check(
            not self._weights.of_points(RESIDUAL), where, "points that may be drawn anew",
            "weights that belong to single ones", f"set weights[{RESIDUAL!r}] to a number first",
        )  # fmt: skip

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        self._match(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _match(self, tensors: Mapping[str, Any], prefix: str) -> None:
        """Makes room for the points to be loaded, where these may be drawn anew, and weights."""
        own, theirs = self._buffers.get("collocation"), tensors.get(f"{prefix}collocation")
        if own is None or theirs is None:
            return
        if self.source.redraws and own.shape[1:] == theirs.shape[1:]:
            self.collocation = own.new_empty(theirs.shape)
        weights = tensors.get(f"{prefix}collocation_weights")
        self.collocation_weights = None if weights is None else own.new_empty(weights.shape)
