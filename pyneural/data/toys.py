"""Densities in the plane that models are tried on, each with its exact density and entropy.

The shapes are those of FFJORD (Grathwohl et al. 2019, arXiv:1810.01367, ``lib/toy_data.py``), and
the grid on which adversarial networks are tried (Lin et al. 2018, arXiv:1712.04086), with Gaussian
noise, equal in all directions, so that the density is known. ``sample`` draws,
``log_density`` is log p(x) in nats, and ``entropy`` is -E[log p(x)], the lowest negative
log-likelihood that a model can reach on average:

=================  ========  =====================================================
shape              entropy   parameters
=================  ========  =====================================================
`EightGaussians`   2.8316    radius 2 sqrt(2), standard deviation 1 / (2 sqrt(2))
`GaussianGrid`     0.0653    5 x 5 of distance 2, standard deviation 0.05
`TwoMoons`         1.0076    noise 0.1, in the coordinates of scikit-learn
`Checkerboard`     3.4657    eight squares of edge 2 in [-4, 4]^2; log(32) exactly
`Ring`             1.6468    radius 2, noise 0.1
`Spirals`          2.5406    one and a half turns out to radius pi, noise 0.1
=================  ========  =====================================================
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from functools import cached_property
from numbers import Real

import numpy as np
import torch
from torch import Tensor

from pyneural.errors import check_argument, whole

_ELEMENTS = 1 << 22  # of a temporary array of log_density
_STEP = 0.25  # of the grid under an entropy, in standard deviations of the noise
_MARGIN = 9.0  # of that grid beyond the centres, likewise; what lies outside is below 1e-17


class Toy(ABC):
    """A density in the plane that can be sampled and evaluated."""

    def sample(self, count: int, seed: int | torch.Generator = 0) -> Tensor:
        """Independent samples.

        Args:
            count: number of samples N.
            seed: of the random numbers, or the generator that they are taken from.

        Returns:
            x, float32 [N, 2].
        """
        where = f"{type(self).__name__}.sample"
        count = whole(f"{where}: count", count)
        check_argument(count >= 0, f"{where}: count", ">= 0", count, "write 10000")
        if not isinstance(seed, torch.Generator):
            seed = torch.Generator().manual_seed(whole(f"{where}: seed", seed))
        return self._sample(count, seed).float()

    def log_density(self, x: Tensor) -> Tensor:
        """Log-density log p(x) in nats, computed in float64.

        Args:
            x: points [..., 2].

        Returns:
            [...], of the dtype of x; -inf outside the support.
        """
        where = f"{type(self).__name__}.log_density: x"
        got, remedy = type(x).__name__, "write torch.as_tensor(x)"
        check_argument(isinstance(x, Tensor), where, "a tensor", got, remedy)
        good = x.ndim > 0 and x.shape[-1] == 2 and x.is_floating_point()
        got = f"{str(x.dtype).removeprefix('torch.')} {list(x.shape)}"
        remedy = "each row is a point of the plane"
        check_argument(good, where, "floats [..., 2]", got, remedy)
        points = x.reshape(-1, 2).double()
        return self._log_density(points).to(x.dtype).reshape(x.shape[:-1])

    @abstractmethod
    def entropy(self) -> float:
        """The differential entropy -E[log p(x)] in nats."""

    @abstractmethod
    def _sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Samples [N, 2] of any floating type."""

    @abstractmethod
    def _log_density(self, x: Tensor) -> Tensor:
        """Log-density of float64 points [N, 2]."""


class _Mixture(Toy):
    """sum_k w_k N(x; c_k, sigma^2 I): a mixture, or the quadrature of a curve with noise.

    The entropy is the sum of -p log p over a grid of step sigma / 4. For an analytic integrand that
    vanishes at the boundary it converges exponentially; half the step changes no result by 1e-9.
    """

    noise: float  # sigma

    @abstractmethod
    def _nodes(self) -> tuple[Tensor, Tensor]:
        """Centres c [K, 2] and weights w [K], float64."""

    @cached_property
    def _terms(self) -> tuple[Tensor, Tensor]:
        return self._nodes()

    def _log_density(self, x: Tensor) -> Tensor:
        centres, weights = (term.to(x.device) for term in self._terms)
        scale = -0.5 / self.noise**2
        normal = weights.log() - math.log(2 * math.pi * self.noise**2)
        parts = []
        for part in x.split(max(1, _ELEMENTS // len(centres))):
            square = (part[:, :1] - centres[:, 0]).square() + (part[:, 1:] - centres[:, 1]).square()
            parts.append(torch.logsumexp(normal + scale * square, 1))
        return torch.cat(parts)

    def entropy(self) -> float:
        """The differential entropy -E[log p(x)] in nats, to 1e-9."""
        centres, weights = self._terms
        step = _STEP * self.noise
        factors = []  # of the Gaussian at the points of each axis: [points, K]
        for centre in centres.T:
            low, high = centre.min() - _MARGIN * self.noise, centre.max() + _MARGIN * self.noise
            axis = torch.arange(float(low), float(high), step, dtype=torch.float64)
            factors.append((-0.5 * ((axis[:, None] - centre) / self.noise).square()).exp())
        density = (factors[0] * weights) @ factors[1].T / (2 * math.pi * self.noise**2)
        return float(-torch.xlogy(density, density).sum() * step**2)


class _Gaussians(_Mixture):
    """Gaussians of equal weight."""

    @property
    def centres(self) -> Tensor:
        """Their means, float32 [K, 2]."""
        return self._terms[0].float()

    def _sample(self, count: int, generator: torch.Generator) -> Tensor:
        centres = self._terms[0]
        chosen = centres[torch.randint(len(centres), (count,), generator=generator)]
        return chosen + self.noise * torch.randn(count, 2, generator=generator)


class EightGaussians(_Gaussians):
    """Eight Gaussians of equal weight on a circle.

    Adversarial networks are tried on those of radius 2 and noise 0.02 (Metz et al. 2017,
    arXiv:1611.02163).

    Args:
        radius: of the circle.
        noise: standard deviation of each Gaussian.

    >>> toy = EightGaussians()
    >>> x = toy.sample(10_000)
    >>> x.shape, toy.entropy(), -toy.log_density(x).mean().item()
    (torch.Size([10000, 2]), 2.8316, 2.8...)
    """

    def __init__(self, radius: float = math.sqrt(8), noise: float = math.sqrt(1 / 8)) -> None:
        self.radius = _positive("EightGaussians: radius", radius)
        self.noise = _positive("EightGaussians: noise", noise)

    def _nodes(self) -> tuple[Tensor, Tensor]:
        angle = torch.arange(8, dtype=torch.float64) * (math.pi / 4)
        return self.radius * _direction(angle), torch.full_like(angle, 1 / 8)


class GaussianGrid(_Gaussians):
    """Gaussians of equal weight on a square grid around the origin.

    Args:
        side: Gaussians along each edge.
        spacing: distance of two neighbours.
        noise: standard deviation of each Gaussian.

    >>> toy = GaussianGrid()
    >>> toy.centres.shape, toy.centres.min().item(), toy.entropy()
    (torch.Size([25, 2]), -4.0, 0.0653)
    """

    def __init__(self, side: int = 5, spacing: float = 2.0, noise: float = 0.05) -> None:
        self.side = whole("GaussianGrid: side", side)
        check_argument(self.side >= 1, "GaussianGrid: side", ">= 1", side, "write 5")
        self.spacing = _positive("GaussianGrid: spacing", spacing)
        self.noise = _positive("GaussianGrid: noise", noise)

    def _nodes(self) -> tuple[Tensor, Tensor]:
        place = torch.arange(self.side, dtype=torch.float64) - (self.side - 1) / 2
        centres = self.spacing * torch.cartesian_prod(place, place)
        return centres, centres.new_full((len(centres),), 1 / len(centres))


class TwoMoons(_Mixture):
    """Two half circles of radius 1 that interlock, with Gaussian noise.

    The upper one has its centre at (0, 0), the lower one at (1, 1/2), as in ``make_moons`` of
    scikit-learn; a point's angle is uniform. The density is the Gauss-Legendre quadrature over the
    angle; for noise >= 0.05 its relative error is below 1e-10 wherever p > 1e-100.

    Args:
        noise: standard deviation.

    >>> toy = TwoMoons()
    >>> toy.entropy(), toy.log_density(torch.tensor([0.0, 1.0])).item()
    (1.0076, -0.4530)
    """

    def __init__(self, noise: float = 0.1) -> None:
        self.noise = _positive("TwoMoons: noise", noise)

    def _nodes(self) -> tuple[Tensor, Tensor]:
        angle, weight = _quadrature(math.pi, self.noise)
        upper = _direction(angle)
        lower = torch.tensor([1.0, 0.5], dtype=torch.float64) - upper
        return torch.cat([upper, lower]), (weight / (2 * math.pi)).repeat(2)

    def _sample(self, count: int, generator: torch.Generator) -> Tensor:
        upper = _direction(math.pi * torch.rand(count, generator=generator))
        first = torch.rand(count, 1, generator=generator) < 0.5
        centres = torch.where(first, upper, torch.tensor([1.0, 0.5]) - upper)
        return centres + self.noise * torch.randn(count, 2, generator=generator)


class Checkerboard(Toy):
    """Uniform on the eight black squares, of edge 2, of a 4 x 4 board [-4, 4]^2.

    The density jumps at the edges, which a continuous density can only approach.

    >>> toy = Checkerboard()
    >>> toy.entropy(), toy.log_density(torch.tensor([[1.0, 1.0], [1.0, 3.0]])).tolist()
    (3.4657, [-3.4657, -inf])
    """

    def entropy(self) -> float:
        """The differential entropy in nats: log(32), the area of the black squares, exactly."""
        return math.log(32)

    def _sample(self, count: int, generator: torch.Generator) -> Tensor:
        column = torch.randint(4, (count,), generator=generator)
        row = 2 * torch.randint(2, (count,), generator=generator) + column % 2
        place = torch.rand(count, 2, generator=generator)
        square = torch.stack([column, row], 1)
        # Close to its upper edge a point is rounded onto it, and so out of its square.
        edge = 2.0 * square - 2
        inside = torch.nextafter(edge, torch.tensor(-math.inf))
        return torch.minimum(2 * (square + place) - 4, inside)

    def _log_density(self, x: Tensor) -> Tensor:
        square = (x / 2).floor()
        black = (square.sum(1) % 2 == 0) & ((square >= -2) & (square < 2)).all(1)
        value = x.new_full(black.shape, -math.log(32)).masked_fill(~black, -math.inf)
        return value.masked_fill(x.isnan().any(1), math.nan)


class Ring(Toy):
    """A circle around the origin with Gaussian noise in both directions.

    p(x) = exp(-(r^2 + R^2) / (2 sigma^2)) I_0(r R / sigma^2) / (2 pi sigma^2), r = |x|, with the
    modified Bessel function I_0: the distance r has the Rice distribution.

    Args:
        radius: R of the circle.
        noise: standard deviation sigma.

    >>> toy = Ring()
    >>> toy.entropy(), toy.log_density(torch.tensor([2.0, 0.0])).item()
    (1.6468, -1.1471)
    """

    def __init__(self, radius: float = 2.0, noise: float = 0.1) -> None:
        self.radius = _positive("Ring: radius", radius)
        self.noise = _positive("Ring: noise", noise)

    def entropy(self) -> float:
        """The differential entropy in nats, to 1e-9, by Gauss-Legendre quadrature over r."""
        low = max(0.0, self.radius - _MARGIN * self.noise)
        length = self.radius + _MARGIN * self.noise - low
        radii, weights = _quadrature(length, self.noise)
        log_density = self._log_density(torch.stack([low + radii, torch.zeros_like(radii)], 1))
        flux = 2 * math.pi * (low + radii) * log_density.exp()
        return float(-(weights * flux * log_density).sum())

    def _sample(self, count: int, generator: torch.Generator) -> Tensor:
        angle = 2 * math.pi * torch.rand(count, generator=generator)
        noise = self.noise * torch.randn(count, 2, generator=generator)
        return self.radius * _direction(angle) + noise

    def _log_density(self, x: Tensor) -> Tensor:
        variance = self.noise**2
        r = torch.linalg.vector_norm(x, dim=1)
        # i0e(z) = exp(-z) I_0(z): its exponential and that of the density make a square.
        log_bessel = torch.special.i0e(r * self.radius / variance).log()
        square = (r - self.radius).square()
        return log_bessel - 0.5 * square / variance - math.log(2 * math.pi * variance)


class Spirals(_Mixture):
    """Two spirals, opposite to each other, with Gaussian noise.

    The centre line is ±(-t cos t, t sin t) / 3 for t from 0 to 3 pi, where t^2 is uniform, so that
    the points lie about equally dense along it. The density is the Gauss-Legendre quadrature over
    t; for noise >= 0.05 its relative error is below 1e-9 where p > 1e-13, 1e-7 where p > 1e-100.

    Args:
        noise: standard deviation.

    >>> toy = Spirals()
    >>> toy.entropy()
    2.5406
    """

    _LENGTH = 3 * math.pi

    def __init__(self, noise: float = 0.1) -> None:
        self.noise = _positive("Spirals: noise", noise)

    def _nodes(self) -> tuple[Tensor, Tensor]:
        t, weight = _quadrature(self._LENGTH, self.noise)
        line = _spiral(t)
        return torch.cat([line, -line]), (weight * t / self._LENGTH**2).repeat(2)

    def _sample(self, count: int, generator: torch.Generator) -> Tensor:
        line = _spiral(self._LENGTH * torch.rand(count, generator=generator).sqrt())
        sign = 2 * torch.randint(2, (count, 1), generator=generator) - 1
        return sign * line + self.noise * torch.randn(count, 2, generator=generator)


def _positive(where: str, value: float) -> float:
    good = isinstance(value, Real) and not isinstance(value, bool) and 0 < value < math.inf
    check_argument(good, where, "a positive number", repr(value), "write 0.1")
    return float(value)


def _direction(angle: Tensor) -> Tensor:
    return torch.stack([angle.cos(), angle.sin()], -1)


def _spiral(t: Tensor) -> Tensor:
    return (t / 3)[:, None] * torch.stack([-t.cos(), t.sin()], -1)


def _quadrature(length: float, width: float) -> tuple[Tensor, Tensor]:
    """Gauss-Legendre nodes and weights on [0, length], dense enough for peaks of that width."""
    nodes, weights = np.polynomial.legendre.leggauss(32 + math.ceil(4 * length / width))
    return torch.from_numpy((nodes + 1) * (length / 2)), torch.from_numpy(weights * (length / 2))
