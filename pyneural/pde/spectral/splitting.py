"""An equation in Fourier space, split into M u_t = L u + N(u): what is linear, and what is not."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pyneural.pde.coordinates import TIME
from pyneural.pde.spectral.modes import Modes
from pyneural.pde.spectral.system import System

_POINTS = 40  # random points at which an equation is probed
_SPREAD = 1e-9  # relative, of a constant coefficient by rounding; another one varies by itself
_ROUNDING = 1e-14  # the same as a share of the residuals
_FAR = 2.0**30  # value of a channel that makes the rounding of the other terms negligible


def constant_coefficients(system: System, is_complex: bool) -> list[list[complex | None]]:
    """The coefficient of each channel in each equation; None where it is not a constant.

    Each channel is moved at random points, about random values of all the others: a constant
    coefficient gives the same quotient always.

    >>> from pyneural.pde import Box
    >>> kdv = System(lambda u: -6 * u * u.x - u.xxx, Box(t=(0, 1), x=(0, 1)), "example")
    >>> constant_coefficients(kdv, False)  # of u, u_x, u_xxx, u_t
    [[None, None, (1+0j), (1+0j)]]
    """
    g = torch.Generator().manual_seed(0)
    count, equations = len(system.channels), range(len(system.outputs))
    coefficients: list[list[complex | None]] = [[None] * count for _ in equations]
    probes = [_Probe(system, is_complex, positive, g) for positive in (False, True)]
    for channel in range(count):
        moved = [probe.moved(channel) for probe in probes for _ in range(2)]
        for equation in equations:
            quotients = torch.cat([quotient[equation] for quotient, _ in moved])
            scale = max(float(scales[equation]) for _, scales in moved)
            finite = quotients[torch.isfinite(quotients.abs())]
            if not len(finite):
                continue
            mean = finite.mean()
            limit = _SPREAD * float(mean.abs()) + _ROUNDING * scale
            if float((finite - mean).abs().max()) <= limit:
                far = probes[0].far(channel)[equation]
                good = bool(torch.isfinite(far.abs())) and float((far - mean).abs()) <= limit
                coefficients[equation][channel] = complex(far if good else mean)
    return coefficients


class _Probe:
    """Random coordinates and values of all channels.

    Args:
        system: the equation.
        is_complex: whether fields are complex.
        positive: whether all values are positive, as a root or a logarithm may need them.
        g: the generator.
    """

    def __init__(
        self, system: System, is_complex: bool, positive: bool, g: torch.Generator
    ) -> None:
        self.system, self.is_complex, self.positive, self.g = system, is_complex, positive, g
        unit = torch.rand(len(system.names), _POINTS, generator=g, dtype=torch.float64)
        low, high = system.domain.low[:, None], system.domain.high[:, None]
        self.coordinates = dict(zip(system.names, low + (high - low) * unit, strict=True))
        self.values = [self._drawn() for _ in system.channels]
        self.before = self._residuals(self.values)

    def _drawn(self) -> Tensor:
        shape = (2, _POINTS) if self.is_complex else (_POINTS,)
        values = torch.randn(shape, generator=self.g, dtype=torch.float64)
        values = torch.complex(*values) if self.is_complex else values
        return values.abs() + 0.5 if self.positive else values * (1 + 0.5 / values.abs())

    def _residuals(self, values: Sequence[Tensor]) -> Tensor:
        rows = torch.zeros(len(self.system.outputs), _POINTS, dtype=torch.complex128)
        for row, value in zip(rows, self.system.residuals(values, self.coordinates), strict=True):
            row[...] = value
        return rows

    def moved(self, channel: int) -> tuple[Tensor, Tensor]:
        """Quotients of differences, [equations, points], and the size of what they come from."""
        change = self._drawn()
        values = list(self.values)
        values[channel] = values[channel] + change
        after = self._residuals(values)
        size = (after.abs() + self.before.abs()).nan_to_num(0, 0, 0).amax(1)
        return (after - self.before) / (values[channel] - self.values[channel]), 2 * size

    def far(self, channel: int) -> Tensor:
        """Quotients about 0 with a step so large that rounding is that of one term, [equations]."""
        zeros = [torch.zeros_like(value) for value in self.values]
        values = list(zeros)
        values[channel] = values[channel] + _FAR
        return ((self._residuals(values) - self._residuals(zeros)) / _FAR)[:, 0]


class Group:
    """Some equations in Fourier space: G v + F(nonlinear part), v the modes of all variables.

    Args:
        system: the equations.
        equations: indices of those of the group.
        coefficients: of all channels in all equations, as ``constant_coefficients`` gives them.
        modes: the discretisation.
        variable: index of the variable in v that a channel is a derivative of; None for the
            highest derivative in time, which does not belong to the group.
        count: number of variables in v.

    Attributes:
        linear: G, [equations, variables, modes].
        nonlinear: whether the group has a nonlinear part, a source included.
    """

    def __init__(
        self, system: System, equations: Sequence[int],
        coefficients: Sequence[Sequence[complex | None]], modes: Modes,
        variable: Sequence[int | None], count: int,
    ) -> None:  # fmt: skip
        self.system, self.equations, self.modes = system, list(equations), modes
        self.linear = torch.zeros(len(self.equations), count, *modes.shape, dtype=torch.complex128)
        self.channels: list[int] = []
        for index, (channel, owner) in enumerate(zip(system.channels, variable, strict=True)):
            if owner is None:
                continue
            row = [coefficients[equation][index] for equation in self.equations]
            if None in row:
                self.channels.append(index)
            elif any(row):
                symbol = modes.symbol(channel)
                for place, coefficient in enumerate(row):
                    self.linear[place, owner] += coefficient * symbol  # type: ignore[operator]
        self._owners = [variable[c] for c in self.channels]
        symbols = [modes.symbol(system.channels[c]) for c in self.channels]
        self._trivial = all(system.channels[c].order == 0 for c in self.channels)
        self._symbols = torch.stack(symbols) if symbols else torch.zeros(0)
        self._grid = dict(zip(system.spatial, modes.grid(), strict=True))
        kind = torch.complex128 if modes.is_complex else torch.float64
        self._zero = torch.zeros((), dtype=kind)
        self.nonlinear = bool(self.channels) or self._has_source()

    def _has_source(self) -> bool:
        """Whether the residual is not 0 where all channels are."""
        if self._values_at(0.3).abs().max() > 0:
            return True
        return self.system.domain.has_time and bool(self._values_at(0.7).abs().max() > 0)

    def _values_at(self, share: float) -> Tensor:
        low, high = self.system.domain.low, self.system.domain.high
        time = None
        if self.system.domain.has_time:
            column = self.system.names.index(TIME)
            time = float(low[column] + share * (high[column] - low[column]))
        return self._residuals([], time)

    def _residuals(self, fields: Sequence[Tensor], time: float | None) -> Tensor:
        values = [self._zero] * len(self.system.channels)
        for channel, field in zip(self.channels, fields, strict=False):
            values[channel] = field
        coordinates = self._grid
        if time is not None:  # a number would not do for torch.sin(t)
            coordinates = coordinates | {TIME: torch.tensor(time, dtype=torch.float64)}
        results = self.system.residuals(values, coordinates)
        rows = self._zero.new_empty(len(self.equations), *self.modes.n)
        for row, equation in zip(rows, self.equations, strict=True):
            row[...] = results[equation]
        return rows

    def fields(self, variables: Tensor) -> Tensor:
        """Values of the channels of the nonlinear part on the grid, [channels, n_1, ..., n_D]."""
        modes = variables[self._owners]
        return self.modes.backward(modes if self._trivial else modes * self._symbols)

    def evaluate(self, variables: Tensor, time: float | None) -> Tensor:
        """Modes of the nonlinear part, [equations, modes]."""
        fields = list(self.fields(variables)) if self.channels else []
        return self.modes.forward(self._residuals(fields, time))

    def stiffness(self, variables: Tensor, time: float | None) -> Tensor:
        """Part of the nonlinear terms that is to be taken as linear, so that steps may be long.

        The middle of the range of the coefficient of each second or higher derivative that an
        equation has of its own output: a diffusivity that varies in space, for instance.

        Returns:
            [equations, variables, modes].
        """
        result = torch.zeros_like(self.linear)
        if not self.channels:
            return result
        fields = list(self.fields(variables))
        before = self._residuals(fields, time)
        for place, index in enumerate(self.channels):
            channel = self.system.channels[index]
            if channel.order < 2 or channel.output not in self.equations:
                continue
            row, moved = self.equations.index(channel.output), list(fields)
            step = 1e-4 * max(1.0, float(moved[place].abs().max()))
            moved[place] = moved[place] + step
            slope = ((self._residuals(moved, time) - before)[row] / step).real
            middle = float(slope.max() + slope.min()) / 2
            if abs(middle) < float("inf"):
                result[row, self._owners[place]] += middle * self.modes.symbol(channel)
        return result
