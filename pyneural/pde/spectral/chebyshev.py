"""Chebyshev collocation in bounded intervals and rectangles, by Radau IIA in time or Newton."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.pde.domains import Box
from pyneural.pde.equation import Equation
from pyneural.pde.spectral.collocation import Collocation, listed
from pyneural.pde.spectral.differentiation import chebyshev_coefficients, interpolation_matrix
from pyneural.pde.spectral.radau import radau_iia
from pyneural.pde.spectral.solution import Discretization, SpectralProblem, UnstableStepError
from pyneural.pde.spectral.system import Rule, System, initial_values
from pyneural.progress import progress

_STAGES = 5  # order 9 in time
_ITERATIONS = 12  # of Newton with one Jacobian
_ROUNDS = 4  # Jacobians of a step
_STEADY_ITERATIONS = 60
_SINGULAR = 1e-13  # smallest pivot of a system that determines its solution
_ROUNDING = 1e-13  # a Newton step of this share of the solution is the last


class Chebyshev(SpectralProblem):
    """An equation on an interval or a rectangle with boundary conditions at its sides.

    The solution is a polynomial in each coordinate that satisfies the equation at Chebyshev points
    and the conditions in place of the outermost rows (Trefethen 2000, Spectral Methods in MATLAB):
    for a smooth solution the error falls faster than every power of n. In time the Radau IIA method
    with five stages, of order 9, L-stable; every stage satisfies equation and conditions, so that
    both may be nonlinear, depend on t and contain u_t. A steady problem is solved by Newton.

    Args:
        equation: a ``pde.Equation``; or a function of fields and coordinates that returns u_t, or
            without time the residual: ``lambda u, x: u.xx - torch.exp(u) * x``.
        domain: the box, of 1 or 2 coordinates in space.
        boundary: by coordinate, what is 0 at its low and its high end: a function of fields and
            coordinates that returns one residual for each equation, None for one that needs none
            there; ``(lambda u: u, lambda u: u.x + 2 * u)`` is Dirichlet and Robin. An equation of
            fourth order needs a list of two at each end.
        initial: u at the first time as for ``Fourier``; of a steady problem the first guess, 0 by
            default.

    Raises:
        ValueError: an equation, a condition or a function that does not fit.

    >>> from pyneural.pde import Box
    >>> zero = lambda u: u
    >>> poisson = Chebyshev(
    ...     lambda u, x, y: u.laplacian + 2 * torch.sin(x) * torch.sin(y),
    ...     Box(x=(0, torch.pi), y=(0, torch.pi)),
    ...     {"x": (zero, zero), "y": (zero, zero)},
    ... )
    >>> u = poisson.solve(n=20)
    >>> bool((u(torch.tensor([[0.5, 1.0]])) - 0.47942553860 * 0.84147098481).abs() < 1e-10)
    True
    """

    def __init__(
        self,
        equation: Equation | Rule,
        domain: Box,
        boundary: Mapping[str, Sequence[Any]],
        initial: Rule | None = None,
    ) -> None:
        self.domain, self.initial = domain, initial
        self.system = system = System(equation, domain, "Chebyshev")
        if not 1 <= len(system.spatial) <= 2:
            raise ValueError(
                f"Chebyshev: domain: expected 1 or 2 coordinates in space, got "
                f"{', '.join(system.spatial) or 'none'}; see spectral.Fourier for 3"
            )
        for name, sides in boundary.items():
            if (
                name not in system.spatial
                or not isinstance(sides, (tuple, list))
                or len(sides) != 2
            ):
                raise ValueError(
                    f"Chebyshev: boundary: expected for each of {', '.join(system.spatial)} a pair "
                    f"of conditions (low end, high end), got {name}: {sides!r}; write for instance "
                    "x=(lambda u: u, lambda u: u.x), None for no condition"
                )
        self.boundary = boundary
        self._check_count()
        self.count = max(1, *system.time_orders) if domain.has_time else 1
        if max(system.time_orders) > 2:
            raise ValueError(
                f"Chebyshev: equation: expected derivatives in time up to u_tt, got order "
                f"{max(system.time_orders)}; introduce u_t as a further output"
            )
        if domain.has_time and initial is None:
            raise ValueError(
                "Chebyshev: initial: expected a function of the coordinates in space, got None; "
                "give u at the first time"
            )

    def _check_count(self) -> None:
        """Of one equation: as many conditions along each coordinate as the order of derivatives."""
        system = self.system
        if len(system.outputs) > 1:
            return  # depends on how the equations hang together
        for d, name in enumerate(system.spatial):
            needed = max(indices.count(d) for c in system.channels for indices, _ in c.terms)
            given = sum(len(listed(rules)) for rules in self.boundary.get(name, ()))
            if given != needed:
                raise ValueError(
                    f"Chebyshev: boundary: expected {needed} conditions along {name}, the order of "
                    f"the equation's derivatives, got {given}; an equation of first order has one "
                    "where the flow comes in, one of fourth order a list of two at each end"
                )

    def _discretize(self, n: tuple[int, ...]) -> Discretization:
        return _ChebyshevGrid(self, n)


class _ChebyshevGrid(Discretization):
    """The state holds the outputs, and with u_tt their rates, [orders, outputs, points]."""

    def __init__(self, problem: Chebyshev, n: tuple[int, ...]) -> None:
        super().__init__("Chebyshev", n)
        self.problem = problem
        self.collocation = Collocation(problem.system, problem.boundary, n)
        self._factors: tuple[float, list[Tensor], Any] | None = None

    def grid(self) -> list[Tensor]:
        """Coordinates of the grid points."""
        return self.collocation.grid

    def tail(self, states: Tensor) -> float:
        """Of the Chebyshev coefficients in each direction."""
        values, worst = states[:, 0].reshape(-1, *self.n), 0.0
        for d in range(len(self.n)):
            size = chebyshev_coefficients(values, d + 1).abs().movedim(d + 1, -1)
            size = size.flatten(0, -2).amax(0)
            last = max(2, self.n[d] // 10)  # odd or even ones may vanish
            if float(size.max()) > 0:
                worst = max(worst, float(size[-last:].max() / size.max()))
        return worst

    def at(self, states: Tensor, times: Sequence[float | None], points: Tensor) -> Tensor:
        """By barycentric interpolation."""
        outputs = states[:, 0].reshape(len(states), -1, *self.n)  # [T, outputs, n_1, ..., n_D]
        first, *others = [
            interpolation_matrix(axis, points[:, d]) for d, axis in enumerate(self.collocation.axes)
        ]
        value = torch.einsum("pi,toi...->tpo...", first, outputs)
        for matrix in others:
            value = torch.einsum("pj,tpoj->tpo", matrix, value)
        return value

    def start(self) -> Tensor:
        """The initial condition; of a steady problem the solution."""
        problem, collocation = self.problem, self.collocation
        system, outputs = problem.system, collocation.outputs
        state = torch.zeros(problem.count, outputs, collocation.size, dtype=torch.float64)
        if problem.initial is not None:
            variables = [
                (order, output)
                for output, highest in enumerate(system.time_orders)
                for order in range(highest if problem.domain.has_time else 1)
            ]
            needed = ", ".join(system.outputs[j] + ("_t" if a else "") for a, j in variables)
            grid = dict(zip(system.spatial, collocation.grid, strict=True))
            values = initial_values(system, problem.initial, grid, len(variables), needed)
            if values.is_complex():
                raise ValueError(
                    "Chebyshev: initial: expected real values, got complex ones; write real and "
                    "imaginary part as two outputs"
                )
            for (order, output), value in zip(variables, values, strict=True):
                state[order, output] = value.reshape(-1)
        return state if problem.domain.has_time else self._steady(state)

    def _steady(self, state: Tensor) -> Tensor:
        """Newton's method, each step halved until the residual falls."""
        collocation = self.collocation
        u = state[0]
        residual = collocation.residual([u], None)
        for _ in progress("Chebyshev.solve: Newton", iter(range(_STEADY_ITERATIONS))):
            (jacobian,) = collocation.jacobians([u], None)
            scale = jacobian.abs().amax(1, keepdim=True)  # rows of equations and of conditions
            factors = torch.linalg.lu_factor_ex(jacobian / torch.where(scale > 0, scale, 1.0))
            pivots = factors[0].diagonal().abs()
            self._check_singular(bool(pivots.min() > _SINGULAR * pivots.max()))
            change = _solved(factors, -residual.view(-1) / scale[:, 0]).view_as(u)
            share = 1.0
            while True:
                trial = u + share * change
                after = collocation.residual([trial], None)
                if bool(after.norm() <= (1 - share / 4) * residual.norm()) or share < 1e-4:
                    break
                share /= 2
            small = bool(change.abs().max() <= 1e-10 * (1e-300 + u.abs().max()))
            if share < 1e-4 and not small:
                # Rounding of the residual, which the matrices enlarge, ends the descent.
                small = bool(change.abs().max() <= 1e-6 * (1e-300 + u.abs().max()))
                if not small:
                    break
            if share >= 1e-4:
                u, residual = trial, after
            if small:
                return u[None]
        raise UnstableStepError(
            "Chebyshev.solve: initial: expected a first guess from which Newton converges, got a "
            f"residual of {float(residual.abs().max()):.1e} that does not fall; give a guess "
            "nearer to the solution, for instance that of a smaller nonlinearity"
        )

    @staticmethod
    def _check_singular(good: bool) -> None:
        if not good:
            raise ValueError(
                "Chebyshev.solve: boundary: expected conditions that determine the solution, got a "
                "singular system; give each equation as many conditions as the order of its "
                "derivatives, and fix the constant where only derivatives are given"
            )

    def advance(self, state: Tensor, time: float, h: float, steps: int) -> Iterator[Tensor]:
        """By Radau IIA."""
        slopes = None
        for step in range(steps):
            state, slopes = self._step(state, time + step * h, h, slopes)
            yield state

    def _step(
        self, state: Tensor, time: float, h: float, slopes: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """One step: the new state, and the highest derivative in time at its end."""
        tableau, collocation = radau_iia(_STAGES), self.collocation
        moments = time + h * tableau.nodes[:, None]
        stages = state[0].expand(_STAGES, -1, -1).clone()
        middle, now = [*state, torch.zeros_like(state[0]) if slopes is None else slopes], time
        size = collocation.outputs * collocation.size
        for _ in range(_ROUNDS):
            factors = self._factorized(middle, now, h)
            before = float("inf")
            for iteration in range(_ITERATIONS):
                orders = self._orders(stages, state, h)
                residual = collocation.residual(orders, moments)
                parts = tableau.from_stages @ residual.view(_STAGES, size).to(torch.complex128)
                solved = [_solved(f, p) for f, p in zip(factors, parts, strict=True)]
                change = -((tableau.to_stages * tableau.share) @ torch.stack(solved)).real.view_as(
                    stages
                )
                stages = stages + change
                size_of_change = float(change.abs().max())
                if not size_of_change < float("inf"):
                    break
                scale = float(stages.abs().max())
                # Below 1e-11 a change that no longer falls is rounding, which the matrices enlarge.
                if size_of_change <= _ROUNDING * scale or (
                    size_of_change <= 1e-9 * scale and size_of_change > before / 4
                ):
                    orders = self._orders(stages, state, h)
                    return torch.stack([o[-1] for o in orders[:-1]]), orders[-1][-1]
                if iteration > 3 and size_of_change > before / 2:
                    break
                before = size_of_change
            if not bool(torch.isfinite(stages).all()):
                break
            orders = self._orders(stages, state, h)
            middle, now = [o[_STAGES // 2] for o in orders], float(moments[_STAGES // 2])
            self._factors = None
        raise UnstableStepError(
            f"Chebyshev.solve: steps: expected Newton to converge in each step, got no convergence "
            f"at t={time:.6g} with steps of {h:.3g} and n={list(self.n)}; take twice the steps, or "
            "more points where the solution is steep"
        )

    def _orders(self, stages: Tensor, state: Tensor, h: float) -> list[Tensor]:
        """The stages and their derivatives in time, [stages, outputs, points] each."""
        derivative = radau_iia(_STAGES).derivative / h
        orders = [stages]
        for initial in state:
            orders.append(torch.tensordot(derivative, orders[-1] - initial, 1))
        return orders

    def _factorized(self, orders: Sequence[Tensor], time: float, h: float) -> list[Any]:
        """LU factors of sum_k (rate / h)^k J_k for each rate; the old ones if nothing changed."""
        moment = torch.tensor([time], dtype=torch.float64) if self.problem.domain.has_time else None
        jacobians = self.collocation.jacobians(orders, moment)
        old = self._factors
        if old is not None and abs(old[0] - h) <= 1e-12 * h and all(
            torch.equal(a, b) for a, b in zip(old[1], jacobians, strict=True)
        ):  # fmt: skip
            return old[2]
        factors = [
            torch.linalg.lu_factor_ex(sum((rate / h) ** k * j for k, j in enumerate(jacobians)))
            for rate in radau_iia(_STAGES).rates.tolist()
        ]
        self._factors = (h, jacobians, factors)
        return factors


def _solved(factors: Any, right: Tensor) -> Tensor:
    """Solution for one right side [size]."""
    lu, pivots, _ = factors
    return torch.linalg.lu_solve(lu, pivots, right[:, None])[:, 0]
