"""Two constants of an equation found from scattered, noisy measurements of its solution."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from pyneural.models.physics.pinn import PINN
from pyneural.models.physics.posterior import Estimate
from pyneural.models.physics.unknown_constants import UnknownConstants, scattered_measurements
from pyneural.nn import MLP
from pyneural.pde import Data
from pyneural.training import LevenbergMarquardt
from pyneural.training.callbacks import AdaptivePoints, Callback
from pyneural.training.checks import check, check_count

STAGES = (0.03, 30), (1.0, 15), (10.0, 15)


@dataclass(frozen=True)
class Identification:
    """Constants that were found from measurements, and how far they are from the true ones.

    Attributes:
        estimates: both constants, with standard deviations by ``PINN.posterior``, the noise being
            taken from the residuals. Without noise the deviations say nothing: what is left is the
            error of the network.
        solution_error: relative L2 error of u on the grid.
    """

    estimates: tuple[Estimate, Estimate]
    truth: tuple[float, float]
    noise: float
    seed: int
    solution_error: float
    seconds: float
    pinn: PINN

    @property
    def found(self) -> tuple[float, float]:
        """Both constants."""
        first, second = self.estimates
        return first.value, second.value

    @property
    def errors(self) -> tuple[float, float]:
        """|found - true| / true of each."""
        first, second = zip(self.found, self.truth, strict=True)
        return abs(first[0] / first[1] - 1), abs(second[0] / second[1] - 1)

    @property
    def levels(self) -> tuple[float, float]:
        """Of the smallest intervals with the true constants in them, for ``expected_coverage``."""
        first, second = zip(self.estimates, self.truth, strict=True)
        return first[0].credible_level(first[1]), second[0].credible_level(second[1])

    def bound(self, noise: float, theory_weight: float = 100.0) -> tuple[float, float]:
        """Standard deviations that no unbiased estimate can fall below, in parts of the constants.

        The bound of Cramer and Rao for measurements at these points, start and ends being unknown,
        by the Gram matrix of this network (``PINN.posterior``). It is to be one that was trained
        without noise, as the bound is that at the true solution.

        Args:
            noise: in parts of the standard deviation of u, > 0.
            theory_weight: w of ``identify``, large, as the equation is exact; where the network
                cannot obey it so well, the bound falls below ``known_start_deviations``.

        Raises:
            ValueError: measurements that had noise, or a number out of its range.
        """
        equation = self._without_noise("Identification.bound", noise)
        deviation = noise * float(equation.solution()[1].std())
        with self._weighted(theory_weight):
            first, second = _estimates(self.pinn, deviation)
        return first.deviation / self.truth[0], second.deviation / self.truth[1]

    def efficient_errors(self, noise: float, theory_weight: float = 100.0) -> tuple[float, float]:
        """|found - true| / true that an efficient estimate has of the same data set with noise.

            lambda - truth = G (J^T J)^-1 J_d^T e,   G = d lambda / d theta

        to first order in the errors e that ``identify`` with this seed adds to the measurements;
        J and J_d as of ``PINN.posterior``. Over many seeds their standard deviation is ``bound``:
        where a few are compared with it, these are what chance makes of it.

        Args:
            noise: in parts of the standard deviation of u, > 0.
            theory_weight: as of ``bound``.

        Raises:
            ValueError: measurements that had noise, or a number out of its range.
        """
        where = "Identification.efficient_errors"
        equation = self._without_noise(where, noise)
        count = len(dict(self.pinn.named_conditions())["data"].points)
        x, exact = scattered_measurements(equation, count, seed=self.seed)
        errors = scattered_measurements(equation, count, noise, self.seed)[1] - exact

        def found() -> Tensor:
            product = (self.pinn.network(x) * errors).sum()
            return torch.stack([1 * equation.lambda_1, equation.lambda_2, product])

        # With a noise of 1 the covariance with this product is that of the formula.
        with self._weighted(theory_weight):
            change = self.pinn.posterior(noise=1.0).covariance(found)[:2, 2]
        first, second = (change.abs() / torch.tensor(self.truth)).tolist()
        return first, second

    def _without_noise(self, where: str, noise: float) -> UnknownConstants:
        """The equation; ValueError unless the measurements had no noise."""
        remedy = "take that of identify(equation, noise=0)"
        check(self.noise == 0, where, "one without noise", self.noise, remedy)
        check(0 < noise < math.inf, f"{where}: noise", "a finite number > 0", noise)
        return cast(UnknownConstants, self.pinn.equation)

    @contextmanager
    def _weighted(self, theory_weight: float) -> Iterator[None]:
        """With another weight of the equation."""
        before = self.pinn.weights["residual"]
        self.pinn.weights["residual"] = theory_weight
        try:
            yield
        finally:
            self.pinn.weights["residual"] = before


def identify(
    equation: UnknownConstants,
    noise: float = 0.0,
    seed: int = 0,
    *,
    count: int = 2000,
    hidden: Sequence[int] = (20, 20, 20),
    points: int = 800,
    stages: Sequence[tuple[float, int]] = STAGES,
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
) -> Identification:
    """Finds both constants with a PINN: the network fits the measurements and obeys the equation.

        loss = mean_n |u(x_n) - d_n|^2 + w mean_i r(x_i; lambda_1, lambda_2)^2

    the constants being trained with the network (Raissi, Perdikaris and Karniadakis 2019, section
    4, with w = 1 and x_i = x_n). Neither initial nor boundary values are known.

    It is trained by ``LevenbergMarquardt``, on points x_i that follow the residual, with a weight
    w that grows. A small one lets the network find the solution from the measurements first. A
    large one makes the equation a constraint that all fits obey: the least squares are then the
    estimate of maximum likelihood. It is too large where w r^2, of which r is as small as the
    network can make it, is no longer small beside sigma^2 / N of N measurements with noise sigma:
    the constants are drawn to where the network obeys the equation best, and their intervals are
    too narrow.

    Args:
        equation: is trained, from the constants that it has.
        noise: in parts of the standard deviation of u.
        seed: of network, points and noise.
        count: of the measurements.
        hidden: widths of the hidden layers.
        points: collocation points x_i at the start; they become up to twice as many.
        stages: w, and the steps that are made with it, one stage after another.
        callbacks: see ``training.callbacks``.
        progress: whether to show a bar on stderr.

    Raises:
        ValueError: a number out of its range.

    >>> from pyneural.models import BurgersConstants
    >>> short = [(0.1, 4), (1.0, 2)]
    >>> options = {"count": 100, "hidden": (8,), "points": 50, "stages": short, "progress": False}
    >>> found = identify(BurgersConstants(), 0.1, **options)
    >>> first, second = found.estimates
    >>> low, high = first.interval(0.95)
    >>> low < first.value < high, len(found.errors)
    (True, 2)
    """
    start = time.perf_counter()
    check_count("identify: points", points, 800)
    check(len(stages) > 0, "identify: stages", "at least one", "none", "write [(1.0, 50)]")
    for number, (weight, _) in enumerate(stages):
        good, where = 0 < weight < math.inf, f"identify: stages[{number}]"
        check(good, where, "a finite weight > 0", weight)
    phases = [LevenbergMarquardt(steps) for _, steps in stages]
    measured = scattered_measurements(equation, count, noise, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = MLP(2, hidden, 1, input_range=equation.domain.range).double()
    pinn = PINN(
        network, {"data": Data(*measured, domain=equation.domain)}, equation=equation,
        points=points, generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    follow = AdaptivePoints(most=2 * points)
    for (weight, _), phase in zip(stages, phases, strict=True):
        pinn.weights["residual"] = weight
        pinn.fit(phase, callbacks=[follow, *callbacks], progress=progress)
    estimates = _estimates(pinn)
    error = pinn.relative_l2(*equation.solution())
    seconds = time.perf_counter() - start
    return Identification(estimates, equation.truth, noise, seed, error, seconds, pinn)


def _estimates(pinn: PINN, noise: float | None = None) -> tuple[Estimate, Estimate]:
    posterior, equation = pinn.posterior(noise=noise), cast(UnknownConstants, pinn.equation)
    return (
        posterior.estimate(lambda: 1 * equation.lambda_1),
        posterior.estimate(lambda: equation.lambda_2),
    )
