"""A Fourier problem on its grid, and steps of ETDRK4."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from pyneural.pde.coordinates import TIME
from pyneural.pde.domains import Box
from pyneural.pde.spectral.fourier_form import FourierForm
from pyneural.pde.spectral.modes import Modes
from pyneural.pde.spectral.phi import Coefficients, etdrk4_diagonal, etdrk4_matrix
from pyneural.pde.spectral.solution import Discretization, UnstableStepError
from pyneural.pde.spectral.splitting import Group
from pyneural.pde.spectral.system import initial_values

_SAMPLES = 1 << 21  # at most, of an initial condition; a kink needs many
_KEPT_COEFFICIENTS = 8  # of so many different steps
_CHECKED = 32  # steps between two checks for values that are not finite


class FourierGrid(Discretization):
    """The state holds the modes of all variables that evolve, [S, modes]."""

    def __init__(self, form: FourierForm, n: tuple[int, ...]) -> None:
        super().__init__("Fourier", n)
        self.form = form
        system = form.system
        linear = all(None not in row for row in form.coefficients)
        self.modes = Modes(
            *self._ends(form.domain, system.spatial), n, form.is_complex,
            1 if linear else 2 / 3,
        )  # fmt: skip
        count = len(form.variables)
        self.count = count
        place = {variable: i for i, variable in enumerate(form.variables)}
        place |= {(j, 0): count + i for i, j in enumerate(form.algebraic)}
        owners = [place.get((c.output, c.time)) for c in system.channels]
        total = count + len(form.algebraic)
        groups = [
            Group(system, equations, form.coefficients, self.modes, owners, total)
            for equations in (form.evolving, form.constraints) if equations
        ]  # fmt: skip
        self.evolution = groups[0] if form.evolving else None
        self.constraint = groups[-1] if form.constraints else None
        if self.constraint is not None:
            self._inverse = _inverse(self.constraint.linear[:, count:])
        self._coefficients: dict[float, Coefficients] = {}
        self._initial = self._initial_modes()
        if self.evolution is not None:
            self._assemble(self.evolution, place)

    @staticmethod
    def _ends(domain: Box, spatial: Sequence[str]) -> tuple[list[float], list[float]]:
        columns = [domain.index(name) for name in spatial]
        return domain.low[columns].tolist(), domain.high[columns].tolist()

    def _assemble(self, evolution: Group, place: dict[tuple[int, int], int]) -> None:
        """L, M^-1 and the part of N that is linear."""
        form, modes, count = self.form, self.modes, self.count
        system = form.system
        self._tops = [  # the variable whose derivative each equation of evolution gives
            place[j, system.time_orders[j] - 1] for j in form.dynamic
        ]
        mass = torch.zeros(len(self._tops), len(self._tops), *modes.shape, dtype=torch.complex128)
        for index, channel in enumerate(system.channels):
            if channel.time and channel.time == system.time_orders[channel.output]:
                column, symbol = form.dynamic.index(channel.output), modes.symbol(channel)
                for row, equation in enumerate(form.evolving):
                    coefficient = form.coefficients[equation][index] or 0
                    mass[row, column] += coefficient * symbol
        mass = torch.where(
            modes.mask > 0, mass, torch.eye(len(mass)).view(mass.shape[:2] + (1,) * modes.dim)
        )
        inverse = _inverse(mass)
        if not bool(
            torch.isfinite(inverse.abs()).all() and (mass.flatten(2).abs().amax((0, 1)) > 0).all()
        ):
            raise ValueError(
                "Fourier: equation: expected an operator on the derivatives in time that can be "
                "inverted, got one that is singular for some modes; correct its sign"
            )
        variables = self._with_algebraic(self._initial, self._start_time())
        stiff = evolution.stiffness(variables, self._start_time())[:, :count]
        rows = _product(inverse, evolution.linear[:, :count] + stiff)
        matrix = torch.zeros(count, count, *modes.shape, dtype=torch.complex128)
        for variable, (output, order) in enumerate(form.variables):
            if order + 1 < system.time_orders[output]:
                matrix[variable, place[output, order + 1]] = 1
        for row, top in enumerate(self._tops):
            matrix[top] = -rows[row]
        matrix *= modes.mask
        self.diagonal = all(
            not bool(matrix[i, j].abs().any()) for i in range(count) for j in range(count) if i != j
        )
        # What N adds to the nonlinear part: M^-1 (linear in the algebraic outputs - stiffness).
        rest = torch.cat([-stiff, evolution.linear[:, count:]], 1)
        self._rest = rest if bool(rest.abs().any()) else None
        self._minus_inverse = -inverse if bool((inverse != 1).any()) else None
        self._simple = len(self._tops) == count  # no second order in time
        if self.diagonal:
            rates = torch.stack([matrix[i, i] for i in range(count)])
            self.rates = rates if bool(rates.imag.abs().any()) else rates.real.contiguous()
        else:
            self.rates = matrix.movedim((0, 1), (-2, -1)).contiguous()
        self.nonlinear = evolution.nonlinear or self._rest is not None
        self.exact = not self.nonlinear

    def _start_time(self) -> float | None:
        domain = self.form.domain
        return float(domain.low[domain.index(TIME)]) if domain.has_time else None

    def _initial_modes(self) -> Tensor:
        """Modes of the initial condition, sampled until aliasing no longer changes them."""
        modes, form = self.modes, self.form
        if form.initial is None:
            return torch.zeros(0, *modes.shape, dtype=torch.complex128)
        found, n, is_complex = None, self.n, form.is_complex
        while True:
            fine = Modes(modes.low, modes.high, n, is_complex, 1)
            grid = dict(zip(form.system.spatial, fine.grid(), strict=True))
            values = initial_values(form.system, form.initial, grid, self.count, form.needed)
            before, found = found, fine.resampled(fine.forward(values), modes)
            n = tuple(2 * count for count in n)
            close = before is not None and bool(
                (found - before).abs().max() <= 1e-15 * found.abs().max()
            )
            if close or torch.Size(n).numel() > _SAMPLES:
                return found

    def start(self) -> Tensor:
        """Modes of the initial condition; of a steady problem the solution."""
        return self._initial

    def grid(self) -> list[Tensor]:
        """Coordinates of the grid points."""
        return self.modes.grid()

    def tail(self, states: Tensor) -> float:
        """Of the variables that evolve, or else of the solution."""
        steady = states.shape[1] == 0
        return self.modes.tail(self._with_algebraic(states[0], None)[None] if steady else states)

    def at(self, states: Tensor, times: Sequence[float | None], points: Tensor) -> Tensor:
        """By trigonometric interpolation; at the first time the initial condition itself."""
        form = self.form
        with torch.no_grad():
            full = [self._with_algebraic(s, t) for s, t in zip(states, times, strict=True)]
        order = [
            form.variables.index((j, 0)) if highest else self.count + form.algebraic.index(j)
            for j, highest in enumerate(form.system.time_orders)
        ]
        outputs = torch.stack([each[order] for each in full])  # [T, outputs, modes]
        values = self.modes.at(outputs.flatten(0, 1), points)
        values = values.view(len(states), len(order), len(points)).transpose(1, 2)
        begin = [row for row, time in enumerate(times) if time == self._start_time()]
        if begin and form.initial is not None:  # the function itself: a kink has no last mode
            columns = dict(zip(form.system.spatial, points.T, strict=True))
            exact = initial_values(form.system, form.initial, columns, self.count, form.needed)
            for variable, (output, rank) in enumerate(form.variables):
                if rank == 0:
                    values[begin, :, output] = exact[variable].to(values.dtype)
        return values

    def _with_algebraic(self, state: Tensor, time: float | None) -> Tensor:
        """The state, and after it the modes of the outputs that have no derivative in time."""
        if self.constraint is None:
            return state
        zeros = state.new_zeros(len(self.form.algebraic), *self.modes.shape)
        variables = torch.cat([state, zeros])
        rest = _product(self.constraint.linear[:, : self.count], state[:, None])[:, 0]
        if self.constraint.nonlinear:
            rest = rest + self.constraint.evaluate(variables, time)
        variables[self.count :] = -_product(self._inverse, rest[:, None])[:, 0]
        return variables

    def _rate(self, state: Tensor, time: float) -> Tensor:
        """N in Fourier space."""
        evolution = self.evolution
        variables = self._with_algebraic(state, time)
        if evolution is None:
            return torch.zeros_like(state)
        if evolution.nonlinear:
            result = evolution.evaluate(variables, time)
        else:
            result = state.new_zeros(len(self._tops), *self.modes.shape)
        if self._rest is not None:
            result = result + _product(self._rest, variables[:, None])[:, 0]
        if self._minus_inverse is None:
            result = -result
        else:
            result = _product(self._minus_inverse, result[:, None])[:, 0]
        if self._simple:
            return result
        full = torch.zeros_like(state)
        full[self._tops] = result
        return full

    def _of_step(self, h: float) -> Coefficients:
        key = float(f"{h:.13e}")
        if key not in self._coefficients:
            if len(self._coefficients) >= _KEPT_COEFFICIENTS:
                self._coefficients.pop(next(iter(self._coefficients)))
            make = etdrk4_diagonal if self.diagonal else etdrk4_matrix
            self._coefficients[key] = make(self.rates, h)
        return self._coefficients[key]

    def _apply(self, factor: Tensor, state: Tensor) -> Tensor:
        if self.diagonal:
            return factor * state
        return torch.einsum("...ij,j...->i...", factor, state)

    def advance(self, state: Tensor, time: float, h: float, steps: int) -> Iterator[Tensor]:
        """By ETDRK4; without a nonlinear part exactly."""
        step_of = self._step if self.nonlinear else self._exact_step
        for step in range(steps):
            now = time + step * h
            state = step_of(state, now, h)
            if self.nonlinear and (step % _CHECKED == _CHECKED - 1 or step == steps - 1):
                self._check(state, now + h, h)
            yield state

    @torch.no_grad()
    @np.errstate(all="ignore")  # values that are not finite are refused with their remedy
    def _step(self, state: Tensor, time: float, h: float) -> Tensor:
        whole, half, inner, first, middle, last = self._of_step(h)
        apply = self._apply
        n_v = self._rate(state, time)
        half_state = apply(half, state)
        a = half_state + apply(inner, n_v)
        n_a = self._rate(a, time + h / 2)
        b = half_state + apply(inner, n_a)
        n_b = self._rate(b, time + h / 2)
        c = apply(half, a) + apply(inner, 2 * n_b - n_v)
        n_c = self._rate(c, time + h)
        return apply(whole, state) + apply(first, n_v) + apply(middle, n_a + n_b) + apply(last, n_c)

    @torch.no_grad()
    def _exact_step(self, state: Tensor, time: float, h: float) -> Tensor:
        state = self._apply(self._of_step(h).whole, state)
        if not bool(torch.isfinite(state.abs().sum())):
            raise UnstableStepError(
                f"Fourier.solve: equation: expected a solution without overflow, got one whose "
                f"modes grow beyond all numbers by t={time + h:.6g} with "
                f"n={list(self.n)}; correct its sign: u_t = u_xx decays, u_t = -u_xx grows"
            )
        return state

    def _check(self, state: Tensor, time: float, h: float) -> None:
        if not bool(torch.isfinite(state.abs().sum())):
            raise UnstableStepError(
                f"Fourier.solve: steps: expected finite values, got nan or inf by t={time:.6g} "
                f"with steps of {h:.3g} and n={list(self.n)}; take twice the steps, or more points "
                "where the solution is steep, unless the solution itself has no bound"
            )


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Matrices for each mode: [A, B, modes] times [B, C, modes]."""
    if left.shape[1] == 1:
        return left * right
    return torch.einsum("ab...,bc...->ac...", left, right)


def _inverse(matrix: Tensor) -> Tensor:
    """Inverse for each mode, [A, A, modes]; 0 where an element or a matrix is 0."""
    if len(matrix) == 1:
        return torch.where(matrix == 0, 0, 1 / matrix)
    return torch.linalg.pinv(matrix.movedim((0, 1), (-2, -1))).movedim((-2, -1), (0, 1))
