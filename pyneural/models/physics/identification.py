"""Two constants of an equation found from scattered, noisy measurements of its solution."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pyneural.errors import whole
from pyneural.models.physics.pinn import PINN
from pyneural.nn import MLP
from pyneural.pde import Box, Burgers, Data, Equation
from pyneural.pde.spectral import Fourier
from pyneural.training import LBFGS, Adam, Phase
from pyneural.training.callbacks import Callback
from pyneural.training.checks import check

_PHASES = Adam(200, lr=1e-2), LBFGS(1000)


class UnknownConstants(Equation):
    """An equation in t and x with two constants that are learned, the second one positive.

    The second is kept as its logarithm, so that it stays positive and its steps are relative, as
    Raissi has it.

    Args:
        lambda_1, lambda_2: first guesses, the second > 0.

    Raises:
        ValueError: guesses that are not finite, or a second one that is not > 0.
    """

    inputs, outputs = "tx", "u"
    domain: Box
    truth: tuple[float, float]
    theory_weight: float  # of the residual in the loss
    formula: str

    def __init__(self, lambda_1: float = 0.0, lambda_2: float = math.exp(-6)) -> None:
        super().__init__()
        where = type(self).__name__
        check(math.isfinite(lambda_1), f"{where}: lambda_1", "a finite number", lambda_1)
        good, remedy = 0 < lambda_2 < math.inf, "give a first guess, as 0.01"
        check(good, f"{where}: lambda_2", "a finite number > 0", lambda_2, remedy)
        self.lambda_1 = nn.Parameter(torch.tensor(lambda_1, dtype=torch.float64))
        self.log_lambda_2 = nn.Parameter(torch.tensor(math.log(lambda_2), dtype=torch.float64))

    @property
    def lambda_2(self) -> Tensor:
        """The second constant, []."""
        return self.log_lambda_2.exp()

    @property
    def constants(self) -> tuple[float, float]:
        """Both as they are now."""
        return float(self.lambda_1.detach()), float(self.lambda_2.detach())

    def solution(self) -> tuple[Tensor, Tensor]:
        """Points [N, 2] of a grid, and the solution with the true constants there, [N, 1]."""
        raise NotImplementedError


class BurgersConstants(UnknownConstants):
    """Burgers' equation with unknown constants, from the shock of ``pde.Burgers``.

        u_t + lambda_1 u u_x - lambda_2 u_xx = 0,   lambda = (1, 0.01 / pi)

    >>> burgers = BurgersConstants()
    >>> points, u = burgers.solution()
    >>> points.shape, burgers.constants[0]
    (torch.Size([25600, 2]), 0.0)
    """

    truth = 1.0, 0.01 / math.pi
    theory_weight = 0.03
    formula = "u_t + lambda_1 u u_x - lambda_2 u_xx = 0"

    def __init__(self, lambda_1: float = 0.0, lambda_2: float = math.exp(-6)) -> None:
        super().__init__(lambda_1, lambda_2)
        self.domain = Burgers().domain

    def residual(self, u):
        """u_t + lambda_1 u u_x - lambda_2 u_xx."""
        return u.t + self.lambda_1 * u * u.x - self.lambda_2 * u.xx

    def solution(self) -> tuple[Tensor, Tensor]:
        """The grid of the literature, by Cole and Hopf."""
        return _burgers(self.truth[1])


class KdVConstants(UnknownConstants):
    """Korteweg and de Vries' equation with unknown constants: a wave breaks into solitons.

        u_t + lambda_1 u u_x + lambda_2 u_xxx = 0,   lambda = (1, 0.0025)
        u(0, x) = cos(pi x),  periodic in x of [-1, 1]

    (Zabusky and Kruskal 1965; the example of Raissi, Perdikaris and Karniadakis 2019).

    >>> KdVConstants(lambda_2=0.01).constants
    (0.0, 0.01)
    """

    truth = 1.0, 0.0025
    theory_weight = 0.1
    formula = "u_t + lambda_1 u u_x + lambda_2 u_xxx = 0"

    def __init__(self, lambda_1: float = 0.0, lambda_2: float = math.exp(-6)) -> None:
        super().__init__(lambda_1, lambda_2)
        self.domain = Box(t=(0, 1), x=(-1, 1))

    def residual(self, u):
        """u_t + lambda_1 u u_x + lambda_2 u_xxx."""
        return u.t + self.lambda_1 * u * u.x + self.lambda_2 * u.xxx

    def solution(self) -> tuple[Tensor, Tensor]:
        """A grid of 101 times by 256 places, by ``pde.spectral.Fourier`` to 1e-8."""
        return _kdv(*self.truth)


@functools.lru_cache(maxsize=1)
def _burgers(nu: float) -> tuple[Tensor, Tensor]:
    return Burgers(nu).test_grid()


@functools.lru_cache(maxsize=1)
def _kdv(lambda_1: float, lambda_2: float) -> tuple[Tensor, Tensor]:
    domain = Box(t=(0, 1), x=(-1, 1))
    equation = Fourier(
        lambda u: -lambda_1 * u * u.x - lambda_2 * u.xxx, domain, lambda x: torch.cos(math.pi * x)
    )
    points = domain.grid(101, 256, dtype=torch.float64)
    return points, equation.solve(n=192, steps=2000)(points)


def scattered_measurements(
    equation: UnknownConstants, count: int = 2000, noise: float = 0.0, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Scattered measurements: points of the grid at random, values with Gaussian noise.

        d_n = u(x_n) + noise s e_n,   s the standard deviation of u over the grid, e_n ~ N(0, 1)

    as Raissi, Perdikaris and Karniadakis (2019) make theirs.

    Args:
        equation: whose ``solution`` is measured.
        count: of the points.
        noise: its standard deviation in parts of that of u, >= 0.
        seed: of points and noise.

    Returns:
        points [count, 2] and values [count, 1], float64.

    Raises:
        ValueError: more points than the grid has, or a noise that is negative or not finite.

    >>> points, values = scattered_measurements(BurgersConstants(), 50, noise=0.01)
    >>> points.shape, values.shape
    (torch.Size([50, 2]), torch.Size([50, 1]))
    """
    points, u = equation.solution()
    count = whole("scattered_measurements: count", count)
    good, expected = 1 <= count <= len(points), f"1 to {len(points):,}, the points of the grid"
    check(good, "scattered_measurements: count", expected, count)
    good = 0 <= noise < math.inf
    check(good, "scattered_measurements: noise", "a finite number >= 0", noise)
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(points), generator=generator)[:count]
    errors = torch.randn(count, 1, generator=generator, dtype=torch.float64)
    return points[chosen], u[chosen] + noise * u.std() * errors


@dataclass(frozen=True)
class Identification:
    """Constants that were found from measurements, and how far they are from the true ones."""

    found: tuple[float, float]
    truth: tuple[float, float]
    noise: float
    seed: int
    solution_error: float  # relative L2 of u on the grid
    seconds: float
    pinn: PINN

    @property
    def errors(self) -> tuple[float, float]:
        """|found - true| / true of each."""
        first, second = zip(self.found, self.truth, strict=True)
        return abs(first[0] / first[1] - 1), abs(second[0] / second[1] - 1)


def identify(
    equation: UnknownConstants,
    noise: float = 0.0,
    seed: int = 0,
    *,
    count: int = 2000,
    hidden: Sequence[int] = (20, 20, 20, 20),
    theory_weight: float | None = None,
    phases: Phase | Sequence[Phase] = _PHASES,
    callbacks: Sequence[Callback] = (),
) -> Identification:
    """Finds both constants with a PINN: the network fits the measurements and obeys the equation.

        loss = mean_n |u(x_n) - d_n|^2 + w mean_n r(x_n; lambda_1, lambda_2)^2

    at the same points x_n, the constants being trained with the network (Raissi, Perdikaris and
    Karniadakis 2019, section 4, with w = 1; a smaller one lets the network find the shock from the
    measurements first). Neither initial nor boundary values are known.

    Args:
        equation: is trained, from the constants that it has.
        noise: in parts of the standard deviation of u.
        seed: of network, points and noise.
        count: of the measurements.
        hidden: widths of the hidden layers.
        theory_weight: w; None for that of the equation.
        phases: of the training.
        callbacks: see ``training.callbacks``.

    Raises:
        ValueError: a number out of its range.

    >>> found = identify(BurgersConstants(), count=100, hidden=(8,), phases=[Adam(2)])
    >>> len(found.errors), found.seed
    (2, 0)
    """
    start = time.perf_counter()
    points, values = scattered_measurements(equation, count, noise, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = MLP(2, hidden, 1, input_range=equation.domain.range).double()
    weight = equation.theory_weight if theory_weight is None else theory_weight
    data = Data(points, values, domain=equation.domain)
    pinn = PINN(
        network, {"data": data}, equation=equation, points=points,
        weights={"residual": weight}, generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    pinn.fit(phases, callbacks=callbacks, progress=False)
    error = pinn.relative_l2(*equation.solution())
    seconds = time.perf_counter() - start
    return Identification(equation.constants, equation.truth, noise, seed, error, seconds, pinn)
