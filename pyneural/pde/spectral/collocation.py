"""An equation on a tensor grid of Chebyshev points, its boundary conditions in place of rows."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyneural.pde.coordinates import TIME
from pyneural.pde.spectral.differentiation import chebyshev_points, differentiation_matrices
from pyneural.pde.spectral.system import Channel, Key, Rule, System


class Condition(NamedTuple):
    """A boundary condition and the rows of the system that it stands in."""

    rule: Rule
    keys: dict[Key, Channel]
    equations: tuple[int, ...]  # those for which the rule returns a value and not None
    at: Tensor  # indices of the points of the face
    rows: Tensor  # indices of the points whose equation gives way


class Collocation:
    """Residuals and Jacobian of an equation at all points of the grid.

    Args:
        system: the equation.
        boundary: by coordinate, the conditions at its low and its high end.
        n: number of points along each coordinate.
    """

    def __init__(
        self, system: System, boundary: Mapping[str, Sequence[Any]], n: tuple[int, ...]
    ) -> None:
        self.system, self.n, self.outputs = system, n, len(system.outputs)
        domain = system.domain
        ends = [
            (float(domain.low[domain.index(name)]), float(domain.high[domain.index(name)]))
            for name in system.spatial
        ]
        self.axes = [chebyshev_points(count, *pair) for count, pair in zip(n, ends, strict=True)]
        self.grid = list(torch.meshgrid(*self.axes, indexing="ij"))
        self._points = {
            name: axis.reshape(-1) for name, axis in zip(system.spatial, self.grid, strict=True)
        }
        self.size = len(self.grid[0].reshape(-1))
        self._numbers = torch.arange(self.size).view(n)
        found: list[tuple[int, int, int, Rule, dict[Key, Channel]]] = []
        for name, sides in boundary.items():
            for side, rules in enumerate(sides):
                for depth, rule in enumerate(listed(rules)):
                    where = system.spatial.index(name), side, depth
                    found.append((*where, rule, system.channels_of(rule)))
        channels = [*system.channels, *(c for *_, keys in found for c in keys.values())]
        self._matrices = [
            differentiation_matrices(
                count,
                max(indices.count(d) for c in channels for indices, _ in c.terms),
                high - low,
            )
            for d, (count, (low, high)) in enumerate(zip(n, ends, strict=True))
        ]
        self._operators: dict[tuple[tuple[tuple[int, ...], float], ...], Tensor] = {}
        self._conditions = [self._condition(*each) for each in found]
        self._masses: Tensor | None = None

    def _condition(
        self, dimension: int, side: int, depth: int, rule: Rule, keys: dict[Key, Channel]
    ) -> Condition:
        def face(index: int) -> Tensor:
            place = -1 - index if side else index
            return self._numbers.select(dimension, place).reshape(-1)

        at = face(0)
        values = [torch.ones(len(at), dtype=torch.float64)] * len(keys)
        one = dict(zip(keys, values, strict=True))
        coordinates = {name: column[at] for name, column in self._points.items()}
        if self.system.domain.has_time:
            coordinates[TIME] = self.system.domain.low[self.system.domain.index(TIME)]
        returned = self.system.conditions(rule, one, coordinates)
        if len(returned) != self.outputs:
            raise ValueError(
                f"{self.system.where}: boundary: expected one residual for each of the "
                f"{self.outputs} equations ({', '.join(self.system.outputs)}) or None for an "
                f"equation that needs none there, got {len(returned)}; return a tuple"
            )
        equations = tuple(e for e, value in enumerate(returned) if value is not None)
        return Condition(rule, keys, equations, at, face(depth))

    def operator(self, channel: Channel) -> Tensor:
        """Matrix [points, points] of a derivative in space."""
        if channel.terms not in self._operators:
            total = torch.zeros(self.size, self.size, dtype=torch.float64)
            for indices, coefficient in channel.terms:
                matrix = torch.ones(1, 1, dtype=torch.float64)
                for d in range(len(self.n)):
                    matrix = torch.kron(matrix, self._matrices[d][indices.count(d)])
                total += coefficient * matrix
            self._operators[channel.terms] = total
        return self._operators[channel.terms]

    def _derivative(self, channel: Channel, fields: Tensor) -> Tensor:
        """A derivative in space of fields [..., points]."""
        total = torch.zeros_like(fields)
        for indices, coefficient in channel.terms:
            part = fields.view(*fields.shape[:-1], *self.n)
            for d in set(indices):
                part = torch.tensordot(
                    part, self._matrices[d][indices.count(d)], ([d - len(self.n)], [1])
                )
                part = part.movedim(-1, d - len(self.n))
            total = total + coefficient * part.reshape(fields.shape)
        return total

    def residual(self, orders: Sequence[Tensor], time: Tensor | None) -> Tensor:
        """Residuals of the equations, and of the conditions in their rows.

        Args:
            orders: the outputs and their derivatives in time, [..., outputs, points] each.
            time: of each batch element, [..., 1]; None for a steady problem.

        Returns:
            [..., outputs, points].
        """
        system = self.system
        values = [self._derivative(c, orders[c.time][..., c.output, :]) for c in system.channels]
        shape = values[0].shape
        results = system.residuals(values, self._coordinates(slice(None), time))
        rows = values[0].new_empty(*shape[:-1], self.outputs, shape[-1])
        for equation, result in enumerate(results):
            rows[..., equation, :] = result
        for condition in self._conditions:
            fields = [
                self._derivative(c, orders[c.time][..., c.output, :])[..., condition.at]
                for c in condition.keys.values()
            ]
            found = self._evaluated(condition, time, fields)
            for equation, value in zip(condition.equations, found, strict=True):
                rows[..., equation, condition.rows] = value
        return rows

    def jacobians(self, orders: Sequence[Tensor], time: Tensor | None) -> list[Tensor]:
        """Derivatives of the residuals by the outputs and each of their derivatives in time.

        Args:
            orders: [outputs, points] each.
            time: [1], or None.

        Returns:
            [outputs * points, outputs * points] for each of ``orders``.
        """
        size, outputs = self.size, self.outputs
        result = [torch.zeros(outputs, size, outputs, size, dtype=torch.float64) for _ in orders]

        def add(
            channels: Sequence[Channel], at: Any, rows: Any,
            function: Callable[[list[Tensor]], list[Tensor]], equations: Sequence[int],
        ) -> None:  # fmt: skip
            values = [
                self._derivative(c, orders[c.time][c.output])[at].detach().requires_grad_()
                for c in channels
            ]
            with torch.enable_grad():
                found = function(values)
                sums = [
                    value.expand(values[0].shape).sum() if isinstance(value, Tensor) else None
                    for value in found
                ]
            for equation, total in zip(equations, sums, strict=True):
                for matrix in result:
                    matrix[equation, rows] = 0
                if total is None or not total.requires_grad:
                    continue
                slopes = torch.autograd.grad(total, values, allow_unused=True, retain_graph=True)
                for channel, slope in zip(channels, slopes, strict=True):
                    if slope is not None and bool(slope.any()):
                        block = slope[:, None] * self.operator(channel)[at]
                        result[channel.time][equation, rows, channel.output] += block

        def equation(values: list[Tensor]) -> list[Tensor]:
            return self.system.residuals(values, self._coordinates(slice(None), time))

        everywhere = torch.arange(size)
        add(self.system.channels, everywhere, everywhere, equation, range(outputs))
        for condition in self._conditions:
            add(
                list(condition.keys.values()), condition.at, condition.rows,
                functools.partial(self._evaluated, condition, time), condition.equations,
            )  # fmt: skip
        return [matrix.view(outputs * size, outputs * size) for matrix in result]

    def _coordinates(self, at: Any, time: Tensor | None) -> dict[str, Tensor]:
        columns = {name: column[at] for name, column in self._points.items()}
        return columns if time is None else columns | {TIME: time}

    def _evaluated(
        self, condition: Condition, time: Tensor | None, fields: Sequence[Tensor]
    ) -> list[Tensor]:
        table = dict(zip(condition.keys, fields, strict=True))
        coordinates = self._coordinates(condition.at, time)
        returned = self.system.conditions(condition.rule, table, coordinates)
        return [torch.as_tensor(returned[i], dtype=torch.float64) for i in condition.equations]


def listed(rules: Any) -> Sequence[Rule]:
    """The conditions at one end: none, one or several."""
    if rules is None:
        return []
    return list(rules) if isinstance(rules, (list, tuple)) else [rules]
