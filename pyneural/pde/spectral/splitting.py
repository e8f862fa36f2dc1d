"""An equation in Fourier space, split into M u_t = L u + N(u): what is linear, and what is not."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pyneural.pde.coordinates import TIME
from pyneural.pde.spectral.modes import Modes
from pyneural.pde.spectral.system import System

_POINTS = 40  # random points at which an equation is probed
_SPREAD = 1e-7  # of a constant coefficient, by rounding; another one varies by itself


def constant_coefficients(system: System, is_complex: bool) -> list[list[complex | None]]:
    """The coefficient of each channel in each equation; None where it is not a constant.

    Each channel is moved at random points, about random values of all the others: a constant
    coefficient gives the same quotient always.

    >>> from pyneural.pde import Box
    >>> kdv = System(lambda u: -6 * u * u.x - u.xxx, Box(t=(0, 1), x=(0, 1)), "example")
    >>> [[None if c is None else round(c.real, 6) for c in row] for row in
    ...  constant_coefficients(kdv, False)]  # of u, u_x, u_xxx, u_t
    [[None, None, 1.0, 1.0]]
    """
    g = torch.Generator().manual_seed(0)

    def drawn() -> Tensor:
        shape = (2, _POINTS) if is_complex else (_POINTS,)
        values = torch.randn(shape, generator=g, dtype=torch.float64)
        return torch.complex(*values) if is_complex else values

    count = len(system.channels)
    quotients: list[list[list[Tensor]]] = [[[] for _ in range(count)] for _ in system.outputs]
    for positive in (False, True):  # a root or a logarithm may need positive values
        unit = torch.rand(len(system.names), _POINTS, generator=g, dtype=torch.float64)
        low, high = system.domain.low[:, None], system.domain.high[:, None]
        coordinates = dict(zip(system.names, low + (high - low) * unit, strict=True))
        values = [drawn().abs() + 0.5 if positive else drawn() for _ in range(count)]
        before = system.residuals(values, coordinates)
        for channel in range(count):
            for _ in range(2):
                moved, change = list(values), drawn()
                change = change / change.abs() * (0.5 + change.abs())
                moved[channel] = values[channel] + (change.abs() if positive else change)
                step = moved[channel] - values[channel]
                after = system.residuals(moved, coordinates)
                for equation, (a, b) in enumerate(zip(after, before, strict=True)):
                    quotients[equation][channel].append(((a - b) / step + 0j))
    return [[_constant(torch.cat(q)) for q in row] for row in quotients]


def _constant(quotients: Tensor) -> complex | None:
    finite = quotients[torch.isfinite(quotients.abs())]
    if not len(finite):
        return None
    mean = complex(finite.mean())
    if abs(mean) < 1e-12 and float(finite.abs().max()) < 1e-12:
        return 0.0
    constant = float((finite - mean).abs().max()) <= _SPREAD * max(abs(mean), 1e-3)
    return _rounded(mean) if constant else None


def _rounded(value: complex) -> complex:
    """Without the rounding of the quotients in a real or imaginary part that is 0."""
    real, imaginary = value.real, value.imag
    small = 1e-12 * abs(value)
    return complex(real if abs(real) > small else 0.0, imaginary if abs(imaginary) > small else 0.0)


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
        self._symbols = torch.stack(symbols) if symbols else None
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
        fields = self.fields(variables) if self.channels else []
        return self.modes.forward(self._residuals(list(fields), time))

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
