"""How sure a trained PINN is: Laplace's approximation to the posterior of all that is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from pyneural.memory import as_text, available_memory
from pyneural.training.checks import check
from pyneural.training.least_squares import least_squares
from pyneural.training.least_squares.parameter_map import batched_gradients, unit_vectors
from pyneural.training.solvers.objective import Objective

_WHERE = "PINN.posterior"
_CHUNK = 1 << 22  # numbers of a batch of gradients
_ROUNDING = 1e-13  # of eigenvalues, in parts of the largest


class Estimate(NamedTuple):
    """A number that was learned, and its standard deviation."""

    value: float
    deviation: float

    def interval(self, level: float = 0.9) -> tuple[float, float]:
        """Where the number lies with that probability.

        >>> low, high = Estimate(1.0, 0.1).interval(0.95)
        >>> round(low, 3), round(high, 3)
        (0.804, 1.196)
        """
        check(0 < level < 1, "interval: level", "a number in (0, 1)", level)
        two_sided = torch.erfinv(torch.tensor(level, dtype=torch.float64))
        wide = self.deviation * math.sqrt(2) * float(two_sided)
        return self.value - wide, self.value + wide

    def credible_level(self, truth: float) -> float:
        """That of the smallest interval with the truth in it, for ``metrics.expected_coverage``.

        >>> round(Estimate(1.0, 0.1).credible_level(1.196), 3)
        0.95
        """
        return math.erf(abs(self.value - truth) / (math.sqrt(2) * self.deviation))


class Posterior:
    """A Gaussian about the trained parameters theta, [T].

        covariance = s^2 (J^T J + delta I)^-1,   s^2 = |r_d|^2 / (R_d - nu)
        nu = tr (J_d^T J_d (J^T J + delta I)^-1)

    J = dr/dtheta of all weighted residuals r, of which the loss is the sum of squares, and r_d
    those of the measurements, R_d of them: s is their standard deviation, ``noise`` that of the
    measurements themselves. All other terms are knowledge that is as sure, by their weights.
    delta is 1e-13 of the largest eigenvalue: what nothing determines is left wide, not infinite.

    Coefficients are marginalised over the network: their block of the covariance is the inverse of
    the Schur complement A_cc - A_cn A_nn^-1 A_nc of A = J^T J. With uniform noise in the
    measurements and a residual that is zero of the truth it is the Cramer-Rao bound.

    Attributes:
        noise: standard deviation of the measurements.
        count: nu, the number of parameters that the measurements determine.
        coefficients: all that is trained and no part of the network, by name, [] each or the
            elements as "name[0]".
    """

    def __init__(self, pinn: Any, data: Sequence[str], noise: float | None) -> None:
        self._pinn = pinn
        self._parameters = Objective(pinn).parameters
        kinds = sorted({str(p.dtype) for p in self._parameters} - {"torch.float64"})
        remedy = "call pinn.double() and train on"  # eigenvalues of 1e-13 are beyond float32
        check(not kinds, f"{_WHERE}: parameters", "torch.float64", ", ".join(kinds), remedy)
        size, device = sum(p.numel() for p in self._parameters), self._parameters[0].device
        needed, available = 40 * size**2, available_memory(device)
        check(
            available is None or needed <= available, f"{_WHERE}: parameters",
            f"matrices that fit into the {as_text(available or 0)} of memory that are free",
            f"{as_text(needed)} for {size:,} of them", "use a smaller network, or freeze layers",
            MemoryError,
        )  # fmt: skip
        terms = {term.name: term for term in least_squares(pinn, self._parameters)}
        for name in data:
            expected = f"terms of weight above 0, of {', '.join(terms)}"
            check(name in terms, f"{_WHERE}: data", expected, repr(name), "name the measurements")
        measured = [terms[name] for name in data]
        grams = {name: term.gram()[2] for name, term in terms.items()}
        values, self._vectors = torch.linalg.eigh(sum(grams.values()))
        good = bool(values.isfinite().all()) and float(values[-1]) > 0
        check(good, f"{_WHERE}: model", "finite residuals that depend on parameters", "others")
        self._values = values.clamp_min(0) + _ROUNDING * values[-1]  # [T]
        of_data = cast(Tensor, sum(grams[name] for name in data))
        diagonal = (self._vectors * (of_data @ self._vectors)).sum(0)
        self.count = float((diagonal / self._values).sum())
        residuals = torch.cat([term.residuals() for term in measured])
        unweighted = self._unweighted(data)
        if noise is None:
            free = len(residuals) - self.count
            expected = f"more measurements than the {self.count:.1f} parameters that they determine"
            check(free >= 1, f"{_WHERE}: data", expected, len(residuals), "give noise=...")
            self._square = float(residuals.square().sum()) / free
            self.noise = math.sqrt(float(unweighted.square().sum()) / free)
        else:
            check(0 < noise < math.inf, f"{_WHERE}: noise", "a finite number > 0", noise)
            square, expected = float(unweighted.square().sum()), "residuals that are not all 0"
            remedy = "give measurements that the network does not repeat exactly"
            check(square > 0, f"{_WHERE}: data", expected, square, remedy)
            self.noise = float(noise)
            self._square = noise**2 * float(residuals.square().sum()) / square

    @cached_property
    def coefficients(self) -> dict[str, Estimate]:
        """Estimates by the names of ``named_parameters``."""
        own = {id(p) for p in self._pinn.network.parameters()}
        trained = {id(p) for p in self._parameters}
        found = {}
        for name, parameter in self._pinn.named_parameters():
            if id(parameter) in trained and id(parameter) not in own:
                values = parameter.detach().flatten().tolist()
                deviations = self.deviation(partial(parameter.mul, 1.0)).flatten().tolist()
                for number, pair in enumerate(zip(values, deviations, strict=True)):
                    key = name if parameter.dim() == 0 else f"{name}[{number}]"
                    found[key] = Estimate(*pair)
        return found

    def estimate(self, function: Callable[[], Tensor]) -> Estimate:
        """Of a function of what is trained that gives one number, as ``lambda: equation.nu``."""
        with torch.no_grad():
            value = function()
        got = list(value.shape)
        check(
            value.numel() == 1, "Posterior.estimate: function", "one number", got, "use deviation"
        )
        return Estimate(float(value), float(self.deviation(function)))

    def deviation(self, function: Callable[[], Tensor]) -> Tensor:
        """Standard deviations of a function of what is trained, in the shape of its values.

        sqrt(diag(G covariance G^T)),   G = d function / d theta
        """
        value, parts = self._gradients(function)
        squares = [part.square() @ (1 / self._values) for part in parts]
        found = (self._square * torch.cat(squares)).sqrt()
        return found.view(value.shape).to(value.dtype)

    def covariance(self, function: Callable[[], Tensor]) -> Tensor:
        """G covariance G^T of a function that gives K numbers, [K, K]."""
        _, parts = self._gradients(function)
        rows = torch.cat(list(parts))
        return self._square * (rows / self._values) @ rows.T

    def predict(self, x: Any, *expressions: Any) -> Tensor:
        """Standard deviations of ``PINN.predict`` with the same arguments, [N, K].

        Args:
            x: points, [N, D].
            expressions: as ``PINN.predict``; those of the outputs where there are none.
        """
        points = torch.as_tensor(x)
        return self.deviation(lambda: self._pinn.predict(points, *expressions, requires_grad=True))

    def _gradients(self, function: Callable[[], Tensor]) -> tuple[Tensor, Iterator[Tensor]]:
        """The values of a function, and G U some rows at a time, U the eigenvectors."""
        with torch.enable_grad():
            value = function()
            flat = value.reshape(-1)
        kind = "a tensor that depends on what is trained"
        got, remedy = "none that requires a gradient", "compute it of the model in the function"
        check(flat.requires_grad, "Posterior: function", kind, got, remedy)
        numbers = torch.arange(len(flat), device=flat.device)
        chunks = numbers.split(max(1, _CHUNK // len(self._values)))
        return value.detach(), (
            batched_gradients(flat, self._parameters, unit_vectors(rows, flat)).double()
            @ self._vectors
            for rows in chunks
        )

    def _unweighted(self, data: Sequence[str]) -> Tensor:
        """Residuals of the measurements themselves, in the units of the outputs."""
        conditions = dict(self._pinn.named_conditions())
        with torch.no_grad():
            parts = [conditions[name].residuals(self._pinn.network) for name in data]
        return torch.cat([part.double().flatten() for of_one in parts for part in of_one])


class Inferring:
    """Gives a PINN ``posterior``."""

    def posterior(
        self, data: str | Sequence[str] = "data", noise: float | None = None
    ) -> Posterior:
        """Standard deviations of what was learned, by Laplace's approximation; see ``Posterior``.

        It says how far noise in the measurements has moved coefficients and solution, if the loss
        is at its minimum (train with ``LevenbergMarquardt``) and the network can represent the
        truth. It takes a matrix of parameters by parameters.

        Args:
            data: names of the conditions that are measurements.
            noise: their standard deviation; None to take it from their residuals.

        Raises:
            ValueError: unknown names, parameters that are not float64, or fewer measurements than
                parameters that they determine; with ``noise``, residuals that are all 0.
            MemoryError: matrices that do not fit into the memory.

        >>> from pyneural import nn, pde
        >>> from pyneural.models import PINN
        >>> from pyneural.training import LevenbergMarquardt
        >>> class Decay(pde.Equation):
        ...     inputs, outputs = "t", "u"
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.rate = torch.nn.Parameter(torch.tensor(1.0, dtype=torch.float64))
        ...     def residual(self, u):
        ...         return u.t + self.rate * u
        >>> t = torch.linspace(0, 2, 50, dtype=torch.float64)[:, None]
        >>> measured = torch.exp(-1.5 * t) + 0.01 * torch.randn_like(t)
        >>> domain = pde.Box(t=(0, 2))
        >>> data = pde.Data(t, measured, domain=domain)
        >>> decay, network = Decay(), nn.MLP(1, [6], 1, input_range=domain.range).double()
        >>> pinn = PINN(network, {"data": data}, equation=decay, domain=domain, points=50)
        >>> report = pinn.fit(LevenbergMarquardt(20), progress=False)
        >>> posterior = pinn.posterior()
        >>> rate = posterior.coefficients["equation.rate"]
        >>> abs(rate.value - 1.5) < 0.2, 0 < rate.deviation < 0.1
        (True, True)
        >>> posterior.predict(t).shape
        torch.Size([50, 1])
        """
        names = (data,) if isinstance(data, str) else tuple(data)
        check(bool(names), f"{_WHERE}: data", "at least one name", "none", "name the measurements")
        known = list(cast(nn.ModuleDict, self.conditions))  # type: ignore[attr-defined]
        for name in names:
            expected = f"names of conditions, of {', '.join(known) or 'which there are none'}"
            check(name in known, f"{_WHERE}: data", expected, repr(name), "name the measurements")
        return Posterior(self, names, noise)
