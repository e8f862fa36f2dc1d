"""Equations with two unknown constants, and scattered, noisy measurements of their solutions."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor, nn

from pyneural.errors import whole
from pyneural.pde import Box, Burgers, Equation, cole_hopf
from pyneural.pde.spectral import Fourier
from pyneural.training.checks import check, check_count

_DIFFERENCE = 1e-3  # of constants, in parts of them


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

    def solution(self, constants: tuple[float, float] | None = None) -> tuple[Tensor, Tensor]:
        """Points [N, 2] of a grid and the solution there, [N, 1], by default that of ``truth``."""
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
    formula = "u_t + lambda_1 u u_x - lambda_2 u_xx = 0"

    def __init__(self, lambda_1: float = 0.0, lambda_2: float = math.exp(-6)) -> None:
        super().__init__(lambda_1, lambda_2)
        self.domain = Burgers().domain

    def residual(self, u):
        """u_t + lambda_1 u u_x - lambda_2 u_xx."""
        return u.t + self.lambda_1 * u * u.x - self.lambda_2 * u.xx

    def solution(self, constants: tuple[float, float] | None = None) -> tuple[Tensor, Tensor]:
        """The grid of the literature, by Cole and Hopf: u(t; lambda_1) is u(lambda_1 t; 1)."""
        return _burgers(*(constants or self.truth))


class KdVConstants(UnknownConstants):
    """Korteweg and de Vries' equation with unknown constants: a wave breaks into solitons.

        u_t + lambda_1 u u_x + lambda_2 u_xxx = 0,   lambda = (1, 0.0025)
        u(0, x) = cos(pi x),  periodic in x of [-1, 1]

    (Zabusky and Kruskal 1965; the example of Raissi, Perdikaris and Karniadakis 2019).

    >>> KdVConstants(lambda_2=0.01).constants
    (0.0, 0.01)
    """

    truth = 1.0, 0.0025
    formula = "u_t + lambda_1 u u_x + lambda_2 u_xxx = 0"

    def __init__(self, lambda_1: float = 0.0, lambda_2: float = math.exp(-6)) -> None:
        super().__init__(lambda_1, lambda_2)
        self.domain = Box(t=(0, 1), x=(-1, 1))

    def residual(self, u):
        """u_t + lambda_1 u u_x + lambda_2 u_xxx."""
        return u.t + self.lambda_1 * u * u.x + self.lambda_2 * u.xxx

    def solution(self, constants: tuple[float, float] | None = None) -> tuple[Tensor, Tensor]:
        """A grid of 101 times by 256 places, by ``pde.spectral.Fourier`` to 1e-8."""
        return _kdv(*(constants or self.truth))


@functools.lru_cache(maxsize=8)
def _burgers(lambda_1: float, lambda_2: float) -> tuple[Tensor, Tensor]:
    points, u = Burgers(lambda_2).test_grid()
    if lambda_1 != 1:
        u = cole_hopf(lambda_1 * points[:, :1], points[:, 1:], lambda_2 / lambda_1)
    return points, u


@functools.lru_cache(maxsize=8)
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


def known_start_deviations(
    equation: UnknownConstants, count: int = 2000, noise: float = 0.01
) -> tuple[float, float]:
    """What no unbiased estimate can be better than, even where start and ends are known exactly.

        cov >= (sigma^2 / count) (S^T S / N)^-1,   S = du / d(lambda_1, lambda_2)  [N, 2]

    the bound of Cramer and Rao for measurements at points of the grid at random, with sigma the
    noise times the standard deviation of u, and S by central differences of the solution. Where
    start and ends have to be found from the measurements too, as by ``identify``, the bound is
    larger: it is then that of ``PINN.posterior``.

    Args:
        equation: at its true constants.
        count: of the measurements.
        noise: in parts of the standard deviation of u.

    Returns:
        standard deviations of both constants, in parts of the true ones.

    Raises:
        ValueError: a count < 1, or a noise that is negative or not finite.

    >>> first, second = known_start_deviations(BurgersConstants(), 2000, 0.1)
    >>> 0.001 < first < 0.01 < second < 0.1
    True
    """
    where = "known_start_deviations"
    check_count(f"{where}: count", count, 2000)
    check(0 <= noise < math.inf, f"{where}: noise", "a finite number >= 0", noise)
    columns = []
    for index in (0, 1):
        sides = []
        for sign in (1, -1):
            constants = list(equation.truth)
            constants[index] *= 1 + sign * _DIFFERENCE
            sides.append(equation.solution((constants[0], constants[1]))[1])
        columns.append((sides[0] - sides[1]) / (2 * _DIFFERENCE))  # of parts of the constant
    s, u = torch.cat(columns, 1), equation.solution()[1]
    covariance = (noise * u.std()) ** 2 * len(s) / count * torch.linalg.inv(s.T @ s)
    first, second = covariance.diagonal().sqrt().tolist()
    return first, second
