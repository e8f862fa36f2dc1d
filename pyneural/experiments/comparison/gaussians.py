"""One Gaussian, and a mixture of them whose number is chosen on validation rows."""

from __future__ import annotations

import time
import warnings
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyneural.experiments.comparison.fitting import Fitted, Fitting

_COMPONENTS = (2, 4, 8, 16, 32, 64, 128)
_FULL = 64  # principal components with full covariances; further ones are independent
_FLOOR = 1e-6  # added to variances, of rows with a variance of the order of one
_PATIENCE, _ENOUGH = 3, 1e-4  # iterations, and the gain in nats a row, at which EM has ended
_ROUNDS = 500  # iterations of EM at most


class _Rotated:
    """Rows as their principal components, with the variances of those."""

    def __init__(self, rows: Tensor) -> None:
        rows = rows.double()
        self.mean = rows.mean(0)
        self.values, self.axes = torch.linalg.eigh((rows - self.mean).T.cov())
        self.values = self.values.clamp(min=0) + _FLOOR * self.values.mean()
        self.full = min(_FULL, rows.shape[1])  # of the largest variance, which stand last

    def forward(self, rows: Tensor) -> Tensor:
        return (rows.double() - self.mean) @ self.axes

    def rest_log_prob(self, z: Tensor) -> Tensor:
        """Log-density of the components that are independent, [N]."""
        values = self.values[: -self.full]
        normal = torch.distributions.Normal(0.0, values.sqrt(), validate_args=False)
        return normal.log_prob(z[:, : -self.full]).sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        """Rows of the last components z, the others being drawn."""
        rest = torch.randn(len(z), len(self.values) - self.full).double()
        scaled = rest * self.values[: -self.full].sqrt()
        return self.mean + torch.cat([scaled, z], 1) @ self.axes.T


def fit_gaussian(fitting: Fitting) -> Fitted:
    """The normal distribution with mean and covariance of the training rows."""
    rows = fitting.preparation.forward(fitting.train, fitting.seed).rows
    rotated = _Rotated(rows)
    normal = torch.distributions.Normal(0.0, rotated.values.sqrt(), validate_args=False)

    def draw(count: int) -> Tensor:
        z = torch.randn(count, rows.shape[1]).double() * rotated.values.sqrt()
        return fitting.preparation.inverse(rotated.mean + z @ rotated.axes.T)

    fitting.spent.seconds = time.perf_counter() - fitting.began
    log_prob = fitting.density(lambda z: normal.log_prob(rotated.forward(z)).sum(1))
    columns = rows.shape[1]
    return Fitted(draw, log_prob, columns + columns * (columns + 1) // 2)


def fit_mixture(fitting: Fitting) -> Fitted:
    """A mixture of Gaussians by EM, of 2, 4, 8 ... of which the number is chosen.

    It is that with the highest likelihood of validation rows, found within the budget.
    """
    rows = fitting.preparation.forward(fitting.fitted, fitting.seed).rows
    new = fitting.preparation.forward(fitting.validation, fitting.seed + 1).rows
    rotated = _Rotated(rows)
    z, held_out = (rotated.forward(part)[:, -rotated.full :].numpy() for part in (rows, new))
    best, highest = None, -np.inf
    for components in _COMPONENTS:
        if components > len(z) // 10:
            break
        found, ended = _by_em(fitting, z, components)
        score = found.score(held_out) if found is not None else -np.inf
        if score > highest:
            best, highest = found, score
        if not ended or score < highest:
            break
    fitting.spent.seconds = time.perf_counter() - fitting.began
    mixture: Any = best
    count = rotated.full

    def draw(number: int) -> Tensor:
        # The generator of torch decides, as for all other models.
        mixture.random_state = int(torch.randint(2**31 - 1, ()))
        parts = torch.from_numpy(mixture.sample(number)[0])
        parts = parts[torch.randperm(number)]
        return fitting.preparation.inverse(rotated.inverse(parts))

    def log_prob(some: Tensor) -> Tensor:
        z = rotated.forward(some)
        full = torch.from_numpy(mixture.score_samples(z[:, -count:].numpy()))
        return full + rotated.rest_log_prob(z)

    each = 1 + count + count * (count + 1) // 2
    return Fitted(draw, fitting.density(log_prob), mixture.n_components * each - 1)


def _by_em(fitting: Fitting, z: np.ndarray, components: int) -> tuple[Any, bool]:
    """The mixture, and whether EM ended before the budget did; None where it never began."""
    mixture_module = import_module("sklearn.mixture")
    mixture = mixture_module.GaussianMixture(
        components, reg_covar=_FLOOR, warm_start=True, max_iter=1, tol=0.0,
        init_params="k-means++", random_state=fitting.seed,
    )  # fmt: skip
    before, waited, longest = -np.inf, 0, 0.0
    for rounds in range(_ROUNDS):
        start = time.perf_counter()
        # A step more that would end beyond the budget is not begun, but for the very first.
        late = fitting.steps is None and start - fitting.began + longest > fitting.seconds
        if late and (rounds or components > 2):
            return (mixture if rounds else None), False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of one iteration, that it has not converged
            mixture.fit(z)
        fitting.spent.steps += 1
        longest = max(longest, time.perf_counter() - start)
        waited = waited + 1 if mixture.lower_bound_ - before < _ENOUGH else 0
        before = mixture.lower_bound_
        if waited >= _PATIENCE:
            break
    return mixture, True


def check_sklearn() -> None:
    """ImportError with the remedy where scikit-learn is missing."""
    try:
        import_module("sklearn.mixture")
    except ImportError as error:
        raise ImportError(
            "compare: expected scikit-learn for the mixture of Gaussians, got none; pip install "
            "'pyneural[data]'"
        ) from error
