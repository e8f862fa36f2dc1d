"""The inference task "two moons" of the benchmark sbibm: prior, simulator, exact posterior."""

from __future__ import annotations

import bz2
import math
import os
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pyneural.data.packages import package_file
from pyneural.errors import ArgumentError, check_argument, whole

# Of the crescent: its centre, and the mean and standard deviation of its radius.
_CENTRE, _RADIUS, _SPREAD = 0.25, 0.1, 0.01
_OBSERVATIONS = 10
_FOLDER = "sbibm/tasks/two_moons/files"


class Reference(NamedTuple):
    """One observation of the benchmark, float32."""

    observation: Tensor  # [2]
    parameters: Tensor  # [2], which it was simulated with
    samples: Tensor  # [10000, 2] of the posterior


class TwoMoonsPosterior:
    """A simulator of two parameters whose posterior is two crescents.

        theta ~ U(-1, 1)^2,    a ~ U(-pi/2, pi/2),    r ~ N(0.1, 0.01^2),
        x = (r cos a + 1/4 - |theta_1 + theta_2| / sqrt(2), r sin a + (theta_2 - theta_1) / sqrt(2))

    theta and -(theta_2, theta_1) give the same data, hence the second crescent. ``toys.TwoMoons``
    is another density, although the literature gives both one name.

    Source: Greenberg et al. (2019), arXiv:1905.07488; with the numbers of Lueckmann et al. (2021),
    arXiv:2101.04653.

    >>> task = TwoMoonsPosterior()
    >>> theta = task.prior(1000)
    >>> x = task.simulate(theta)
    >>> x.shape, task.sample_posterior(x[0], 500).shape
    (torch.Size([1000, 2]), torch.Size([500, 2]))
    """

    def prior(self, count: int, seed: int | torch.Generator = 0) -> Tensor:
        """Parameters theta, float32 [N, 2], uniform in (-1, 1)^2."""
        count = _count("prior", count)
        return 2 * torch.rand(count, 2, generator=_generator(seed)) - 1

    def simulate(self, theta: Tensor, seed: int | torch.Generator = 1) -> Tensor:
        """Data x [N, 2] for parameters theta [N, 2]."""
        _check("simulate: theta", theta, 2)
        return _crescent(len(theta), _generator(seed)).to(theta) + _shift(theta)

    def log_likelihood(self, theta: Tensor, x: Tensor) -> Tensor:
        """Log-likelihood log p(x | theta), [N], of parameters [N, 2] and data [N, 2] or [2].

        p(x | theta) = N(r; 0.1, 0.01^2) / (pi r) in polar coordinates around the crescent's centre,
        to the right of it; the factor 1 / (pi r), which sbibm omits, makes it a density of x.
        """
        _check("log_likelihood: theta", theta, 2)
        _check("log_likelihood: x", x, 1 if isinstance(x, Tensor) and x.ndim == 1 else 2)
        good, got = x.ndim == 1 or len(x) == len(theta), f"{len(x):,} rows"
        expected, remedy = f"{len(theta):,} rows, as theta has, or [2]", "give one for each"
        check_argument(good, "TwoMoonsPosterior.log_likelihood: x", expected, got, remedy)
        offset = x - _shift(theta) - x.new_tensor([_CENTRE, 0.0])
        r = torch.linalg.vector_norm(offset, dim=-1)
        normal = -0.5 * ((r - _RADIUS) / _SPREAD).square() - math.log(_SPREAD)
        value = normal - 0.5 * math.log(2 * math.pi) - (math.pi * r).log()
        return value.masked_fill(offset[..., 0] < 0, -math.inf)

    def sample_posterior(self, x: Tensor, count: int, seed: int | torch.Generator = 2) -> Tensor:
        """Exact samples of p(theta | x), float32 [N, 2], for data x [2].

        A point of the crescent is drawn, and the simulator's equation solved for theta with either
        sign of theta_1 + theta_2. That map preserves area and the prior is uniform, so that all
        solutions inside the prior's square have equal weight.

        Raises:
            ArgumentError: data that hardly any parameters of the prior can give.
        """
        _check("sample_posterior: x", x, 1)
        count = _count("sample_posterior", count)
        generator = _generator(seed)
        parts: list[Tensor] = []
        missing, trials = count, 0
        while missing > 0 or not parts:
            tried = max(1000, 2 * missing)
            crescent = _crescent(tried, generator)
            # q = (-|theta_1 + theta_2|, theta_2 - theta_1) / sqrt(2)
            q = x.float().cpu() - crescent
            side = 2.0 * torch.randint(2, (tried,), generator=generator) - 1
            first = -side * q[:, 0]
            theta = torch.stack([first - q[:, 1], first + q[:, 1]], 1) / math.sqrt(2)
            # -q_1 is an absolute value: where it is negative there is no solution.
            inside = (theta.abs() < 1).all(1) & (q[:, 0] <= 0)
            parts.append(theta[inside][:missing])
            missing -= len(parts[-1])
            trials += tried
            if trials > 100_000 and count - missing < 1e-4 * trials:
                raise ArgumentError(
                    "TwoMoonsPosterior.sample_posterior: x: expected data of parameters in (-1, 1),"
                    f" got {x.tolist()}; simulate it"
                )
        return torch.cat(parts)

    def reference(self, number: int, path: str | os.PathLike[str] | None = None) -> Reference:
        """Observation, its parameters and 10,000 samples of its posterior, out of sbibm.

        Args:
            number: of the observation, 1 to 10.
            path: the wheel of sbibm; None for the installed package, which is not imported.

        Raises:
            ImportError: sbibm is not installed and no path is given.
        """
        number = whole("TwoMoonsPosterior.reference: number", number)
        good, expected = 1 <= number <= _OBSERVATIONS, f"1 to {_OBSERVATIONS}"
        where = "TwoMoonsPosterior.reference: number"
        check_argument(good, where, expected, number, "the first is 1")
        folder = f"{_FOLDER}/num_observation_{number}"
        read = [
            package_file("TwoMoonsPosterior.reference", "sbibm", f"{folder}/{name}", path)
            for name in (
                "observation.csv",
                "true_parameters.csv",
                "reference_posterior_samples.csv.bz2",
            )
        ]
        return Reference(_table(read[0])[0], _table(read[1])[0], _table(bz2.decompress(read[2])))


def _crescent(count: int, generator: torch.Generator) -> Tensor:
    angle = math.pi * (torch.rand(count, generator=generator) - 0.5)
    radius = _RADIUS + _SPREAD * torch.randn(count, generator=generator)
    return torch.stack([radius * angle.cos() + _CENTRE, radius * angle.sin()], 1)


def _shift(theta: Tensor) -> Tensor:
    total, difference = theta.sum(-1), theta[..., 1] - theta[..., 0]
    return torch.stack([-total.abs(), difference], -1) / math.sqrt(2)


def _table(content: bytes) -> Tensor:
    """Rows of a comma-separated table with a header, float32."""
    lines = content.decode("ascii").splitlines()[1:]
    return torch.from_numpy(np.loadtxt(lines, np.float32, delimiter=",", ndmin=2))


def _generator(seed: int | torch.Generator) -> torch.Generator:
    if isinstance(seed, torch.Generator):
        return seed
    return torch.Generator().manual_seed(whole("TwoMoonsPosterior: seed", seed))


def _count(method: str, count: int) -> int:
    where = f"TwoMoonsPosterior.{method}: count"
    count = whole(where, count)
    check_argument(count >= 0, where, ">= 0", count, "write 1000")
    return count


def _check(where: str, values: Tensor, axes: int) -> None:
    where = f"TwoMoonsPosterior.{where}"
    got, remedy = type(values).__name__, "write torch.as_tensor(...)"
    check_argument(isinstance(values, Tensor), where, "a tensor", got, remedy)
    good = values.ndim == axes and values.shape[-1] == 2 and values.is_floating_point()
    expected = "floats [2]" if axes == 1 else "floats [N, 2]"
    got = f"{str(values.dtype).removeprefix('torch.')} {list(values.shape)}"
    check_argument(good, where, expected, got, "give two columns")
