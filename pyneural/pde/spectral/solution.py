"""Solutions of spectral solvers: values at any points, at two resolutions."""

from __future__ import annotations

import abc
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import count as count_up
from itertools import pairwise

import torch
from torch import Tensor

from pyneural.errors import whole
from pyneural.pde.coordinates import TIME
from pyneural.pde.spectral.system import System
from pyneural.progress import progress

_DECAY = 1e-8  # share of the largest coefficient to which a resolved spectrum has decayed
_SAME = 1e-13  # relative difference of two times that are one


class UnstableStepError(FloatingPointError):
    """A step whose result is not finite, or that has no solution."""


class Discretization(abc.ABC):
    """A problem on a grid: its state, steps in time, values at points.

    Attributes:
        exact: whether a step has no error in time, however long it is.
    """

    exact = False

    def __init__(self, where: str, n: tuple[int, ...]) -> None:
        self.where, self.n = where, n

    @abc.abstractmethod
    def start(self) -> Tensor:
        """The state at the initial time; of a steady problem its solution."""

    @abc.abstractmethod
    def advance(self, state: Tensor, time: float, h: float, steps: int) -> Iterator[Tensor]:
        """The states after each of some steps of length h."""

    @abc.abstractmethod
    def at(self, states: Tensor, times: Sequence[float | None], points: Tensor) -> Tensor:
        """Outputs of states [T, ...] at times at points in space [P, D]: [T, P, outputs]."""

    @abc.abstractmethod
    def grid(self) -> list[Tensor]:
        """Coordinates of the grid points, [n_1, ..., n_D] each."""

    @abc.abstractmethod
    def tail(self, states: Tensor) -> float:
        """The last coefficients of states [T, ...] as a share of the largest."""


class Solution:
    """The solution of a problem on its grid; called, at any points of the domain.

    ``solution(points)`` takes points [N, D], with the time in its column, and gives [N, outputs] in
    float64 (complex128 for a complex field), with the accuracy of the solver: in space by
    trigonometric or barycentric interpolation, in time by steps from the kept time before.

    Attributes:
        times: kept times, [T]; None for a steady problem.
        n: number of grid points in each dimension.
        steps: number of steps in time; None for a steady problem.
        difference: largest difference from the solution at half the resolution, relative to the
            largest value; None unless ``reference`` made it.
    """

    def __init__(
        self, system: System, discretization: Discretization, steps: int | None,
        times: Tensor | None, states: Tensor,
    ) -> None:  # fmt: skip
        self._system, self._discretization, self._states = system, discretization, states
        self.n, self.steps, self.times = discretization.n, steps, times
        self.difference: float | None = None

    def __repr__(self) -> str:
        parts = [f"n={'x'.join(map(str, self.n))}"]
        if self.steps is not None:
            parts.append(f"steps={self.steps}")
        if self.difference is not None:
            parts.append(f"difference={self.difference:.1e}")
        return f"Solution({', '.join(self._system.outputs)}; {', '.join(parts)})"

    def __call__(self, points: Tensor) -> Tensor:
        """Values at points [N, D] of the domain: [N, outputs]."""
        domain, device = self._system.domain, points.device
        domain.check(points, "points", f"{self._discretization.where}: solution")
        points = points.detach().to("cpu", torch.float64)
        points = torch.maximum(torch.minimum(points, domain.high), domain.low)
        at = self._discretization.at
        if self.times is None:
            return at(self._states, [None], points)[0].to(device)
        column = self._system.names.index(TIME)
        space = points[:, [d for d in range(domain.dim) if d != column]]
        moments, which = torch.unique(points[:, column], return_inverse=True)
        times = moments.tolist()
        rows = torch.argsort(which, stable=True).split(torch.bincount(which).tolist())
        kept = self.times.tolist()
        if len(points) == len(times) * len(rows[0]):
            places = space[torch.cat(rows)].view(len(times), -1, space.shape[1])
            if bool((places == places[0]).all()):  # a grid: the same places at all times
                values = at(torch.stack(list(self._states_at(kept, times))), times, places[0])
                result = torch.empty_like(values.flatten(0, 1))
                result[torch.cat(rows)] = values.flatten(0, 1)
                return result.to(device)
        parts = []
        for state, time, index in zip(self._states_at(kept, times), times, rows, strict=True):
            parts.append(at(state[None], [time], space[index])[0])
        result = torch.empty_like(torch.cat(parts))
        result[torch.cat(rows)] = torch.cat(parts)
        return result.to(device)

    def values(self, points: Tensor) -> Tensor:
        """Values at points in space [P, D] at each kept time: [T, P, outputs]."""
        times = [None] if self.times is None else self.times.tolist()
        return self._discretization.at(self._states, times, points)

    def grid(self) -> Tensor:
        """Points of the grid at all kept times, [T n_1 ... n_D, D]; the time varies slowest."""
        axes = [a.reshape(-1) for a in self._discretization.grid()]
        space = torch.stack(axes, 1)
        if self.times is None:
            return space
        names, spatial = self._system.names, self._system.spatial
        columns = {name: space[:, d].repeat(len(self.times)) for d, name in enumerate(spatial)}
        columns[TIME] = self.times.repeat_interleave(len(space))
        return torch.stack([columns[name] for name in names], 1)

    def _states_at(self, kept: Sequence[float], moments: Sequence[float]) -> Iterator[Tensor]:
        """States at increasing times, each by steps from the kept or asked time before."""
        column = self._system.names.index(TIME)
        length = float((self._system.domain.high - self._system.domain.low)[column])
        longest, following, now = length / (self.steps or 1), 0, kept[0]
        starts: list[int | None] = []  # the kept state that each moment goes on from, if any
        spans: list[tuple[float, float]] = []
        for moment in moments:
            start = None
            while following == 0 or (
                following < len(kept) and kept[following] <= moment + _SAME * length
            ):
                now, start, following = kept[following], following, following + 1
            starts.append(start)
            spans.append((now, moment))
            now = moment
        discretization, state = self._discretization, self._states[0]
        total = sum(_steps_between(discretization, *span, longest) for span in spans)
        name = f"{discretization.where}: solution"
        with closing(progress(name, count_up(), total)) as shown:
            for start, span in zip(starts, spans, strict=True):
                state = state if start is None else self._states[start]
                for reached in _march(discretization, state, *span, longest):
                    state = reached
                    next(shown)
                yield state


def _march(
    discretization: Discretization, state: Tensor, now: float, then: float, longest: float
) -> Iterator[Tensor]:
    """States on the way to a later time, by equal steps not longer than ``longest``."""
    steps = _steps_between(discretization, now, then, longest)
    if steps:
        yield from discretization.advance(state, now, (then - now) / steps, steps)


def _steps_between(discretization: Discretization, now: float, then: float, longest: float) -> int:
    """How many steps lead from a time to another; none where these are one."""
    if then - now <= _SAME * max(abs(now), abs(then), longest):
        return 0
    return 1 if discretization.exact else max(1, math.ceil((then - now) / longest * (1 - 1e-10)))


class SpectralProblem(abc.ABC):
    """An equation with its domain, initial and boundary conditions, to be solved on a grid."""

    system: System

    @abc.abstractmethod
    def _discretize(self, n: tuple[int, ...]) -> Discretization:
        """The problem on a grid."""

    @torch.inference_mode(False)
    def solve(
        self,
        n: int | Sequence[int],
        steps: int | None = None,
        times: Sequence[float] | Tensor | None = None,
    ) -> Solution:
        """Solves the problem on a grid.

        Args:
            n: number of grid points, in all dimensions the same or one for each.
            steps: number of equal steps over the whole time of the domain, more where a kept time
                lies between two; None for a steady problem.
            times: times to keep, increasing; None for 101 from the first to the last.

        Raises:
            ValueError: an argument that does not fit.
            UnstableStepError: values that are not finite.
            RuntimeError: of torch, for an equation with tensors that were made under
                ``torch.inference_mode``; make them outside of it.

        Warns:
            UserWarning: the spectrum has not decayed: too few points, or a rough solution.
        """
        name, domain = f"{self.system.where}.solve", self.system.domain
        counts = [n] * len(domain.spatial) if not isinstance(n, Sequence) else list(n)
        grid = tuple(whole(f"{name}: n", count) for count in counts)
        if len(grid) != len(domain.spatial) or min(grid) < 4:
            raise ValueError(
                f"{name}: n: expected at least 4 points in each of {', '.join(domain.spatial)}, "
                f"got {list(grid)}; give one number or one for each"
            )
        if not domain.has_time:
            if steps is not None or times is not None:
                raise ValueError(
                    f"{name}: steps, times: expected none for a problem without t, got "
                    f"steps={steps}; leave them out"
                )
            discretization = self._discretize(grid)
            solution = Solution(
                self.system, discretization, None, None, discretization.start()[None]
            )
            self._warn(solution, name)
            return solution
        if steps is None or whole(f"{name}: steps", steps) < 1:
            raise ValueError(
                f"{name}: steps: expected a number of steps >= 1, got {steps}; start with 1000"
            )
        moments = self._times(name, times)
        discretization = self._discretize(grid)
        column = domain.index(TIME)
        begin, end = float(domain.low[column]), float(domain.high[column])
        start, longest = discretization.start(), (end - begin) / steps
        spans = list(pairwise([begin, *moments.tolist()]))
        total = sum(_steps_between(discretization, *span, longest) for span in spans)
        states = []

        def march() -> Iterator[Tensor]:
            state = start
            for span in spans:
                for reached in _march(discretization, state, *span, longest):
                    state = reached
                    yield state
                states.append(state)

        for _ in progress(f"{name}, n={'x'.join(map(str, grid))}", march(), total):
            pass
        if begin < moments[0]:  # a later question starts from the beginning
            states.insert(0, discretization.start())
            moments = torch.cat([torch.tensor([begin], dtype=torch.float64), moments])
        solution = Solution(self.system, discretization, steps, moments, torch.stack(states))
        self._warn(solution, name)
        return solution

    def _times(self, name: str, times: Sequence[float] | Tensor | None) -> Tensor:
        domain = self.system.domain
        column = domain.index(TIME)
        low, high = float(domain.low[column]), float(domain.high[column])
        if times is None:
            return torch.linspace(low, high, 101, dtype=torch.float64)
        moments = torch.as_tensor(times, dtype=torch.float64).reshape(-1)
        good = len(moments) > 0 and bool((moments.diff() > 0).all())
        if not good or moments[0] < low or moments[-1] > high:
            raise ValueError(
                f"{name}: times: expected increasing times in [{low:g}, {high:g}], got "
                f"{moments.tolist()[:5]}; sort them, or widen the domain"
            )
        return moments

    def _warn(self, solution: Solution, name: str) -> None:
        """Warns where the coefficients have not decayed; those of the initial time may not yet."""
        states = solution._states
        ratio = solution._discretization.tail(states[1:] if len(states) > 1 else states)
        if ratio > _DECAY:
            warnings.warn(
                f"{name}: n: expected a spectrum that decays to {_DECAY:g} of its maximum, got "
                f"{ratio:.1e} with n={list(solution.n)}; the error is of this order: take more "
                "points, or look for a jump or a kink in the solution",
                stacklevel=3,
            )


def reference(
    problem: SpectralProblem,
    n: int | Sequence[int],
    steps: int | None = None,
    times: Sequence[float] | Tensor | None = None,
) -> Solution:
    """Solves at n points and steps, and at half of both, and states their difference.

    The difference bounds the error of the returned solution, which is the finer one: where the
    solution is resolved, its own error is smaller by a factor of 16 or more.

    Args:
        problem: a ``Fourier`` or ``Chebyshev`` problem.
        n: as ``solve``.
        steps: as ``solve``; at least 2.
        times: as ``solve``.

    Returns:
        the solution; its ``difference`` is relative to the largest value.

    >>> import math
    >>> from pyneural.pde import Box, spectral
    >>> heat = spectral.Fourier(
    ...     lambda u: u.xx, Box(t=(0, 1), x=(0, 2 * math.pi)), lambda x: torch.sin(x)
    ... )
    >>> reference(heat, 32, 4).difference < 1e-14
    True
    """
    fine = problem.solve(n, steps, times)
    halved = tuple(max(4, count // 2) for count in fine.n)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # only the finer one matters
        coarse = problem.solve(halved, None if steps is None else max(1, steps // 2), fine.times)
    grid = torch.stack([axis.reshape(-1) for axis in coarse._discretization.grid()], 1)
    values = fine.values(grid)
    fine.difference = float((values - coarse.values(grid)).abs().max() / values.abs().max())
    return fine
