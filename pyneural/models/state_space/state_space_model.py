"""Linear state-space model with Gaussian noise: simulation, Kalman filter, smoother, forecast."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class Filtered:
    """Posterior of the state at each step, given the observations up to that step.

    Shapes: T steps, n state variables, p observed variables; ``...`` is a batch of series.
    """

    log_likelihood: Tensor  # [...], of the whole series
    mean: Tensor  # [..., T, n], E(x_t | y_1 .. y_t)
    covariance: Tensor  # [..., T, n, n]
    predicted_mean: Tensor  # [..., T, n], E(x_t | y_1 .. y_(t-1))
    predicted_covariance: Tensor  # [..., T, n, n]


@dataclass(frozen=True)
class Smoothed:
    """Posterior of the state at each step, given all observations."""

    log_likelihood: Tensor  # [...]
    mean: Tensor  # [..., T, n], E(x_t | y_1 .. y_T)
    covariance: Tensor  # [..., T, n, n]
    lag_covariance: Tensor  # [..., T - 1, n, n], Cov(x_(t+1), x_t | y_1 .. y_T)


@dataclass(frozen=True)
class StateSpaceModel:
    """Linear state-space model with Gaussian noise.

        x_t = Phi x_(t-1) + w_t,  w_t ~ N(0, Q),   x_1 ~ N(m, P)
        y_t = H x_t + v_t,        v_t ~ N(0, R)

    Filter and smoother update covariances in Joseph's form, which keeps them symmetric and positive
    semi-definite even if R or Q is nearly singular, also in float32. All methods are
    differentiable. Leading dimensions of y are a batch of independent series.

    Args:
        transition: Phi, [n, n].
        observation: H, [p, n].
        process_noise: Q, [n, n], symmetric and positive semi-definite.
        observation_noise: R, [p, p], likewise.
        initial_mean: m, [n].
        initial_covariance: P, [n, n].

    Raises:
        ValueError: shapes or dtypes that do not match; a covariance that is not symmetric or not
            positive semi-definite.

    Source: Kalman 1960; Rauch, Tung and Striebel 1965; Bucy and Joseph 1968; Durbin and Koopman,
        Time Series Analysis by State Space Methods (2012).

    >>> one = torch.ones(1, 1)
    >>> walk = StateSpaceModel(one, one, one, one, torch.zeros(1), one)  # a random walk, observed
    >>> x, y = walk.simulate(100, seed=0)
    >>> filtered, smoothed = walk.filter(y), walk.smooth(y)
    >>> bool((filtered.mean - x).square().mean() < (y - x).square().mean())
    True
    >>> bool((smoothed.mean - x).square().mean() < (filtered.mean - x).square().mean())
    True
    """

    transition: Tensor
    observation: Tensor
    process_noise: Tensor
    observation_noise: Tensor
    initial_mean: Tensor
    initial_covariance: Tensor

    def __post_init__(self) -> None:
        n, p = self.transition.shape[-1], self.observation.shape[0]
        shapes = ((n, n), (p, n), (n, n), (p, p), (n,), (n, n))  # in the order of the fields
        for field, shape in zip(fields(self), shapes, strict=True):
            tensor = getattr(self, field.name)
            if tuple(tensor.shape) != shape:
                raise ValueError(
                    f"StateSpaceModel: {field.name}: expected shape {list(shape)} for {n} states "
                    f"and {p} observations, got {list(tensor.shape)}; make the shapes consistent"
                )
            if tensor.dtype != self.transition.dtype or not tensor.is_floating_point():
                raise ValueError(
                    f"StateSpaceModel: {field.name}: expected {self.transition.dtype} like the "
                    f"transition, a floating-point one, got {tensor.dtype}; convert it"
                )
        for name in ("process_noise", "observation_noise", "initial_covariance"):
            _check_covariance(name, getattr(self, name))

    def simulate(
        self, steps: int, seed: int = 0, series: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draws states and observations from the model.

        Args:
            steps: number of steps T.
            seed: random seed.
            series: number of independent series; None for a single one without a batch dimension.

        Returns:
            x, [..., T, n], and y, [..., T, p].
        """
        n, p = len(self.transition), len(self.observation)
        generator = torch.Generator().manual_seed(seed)

        def noise(covariance: Tensor, *shape: int) -> Tensor:
            normal = torch.randn(*shape, generator=generator, dtype=torch.float64)
            return normal.to(covariance.dtype) @ _square_root(covariance).T

        count = 1 if series is None else series
        w = noise(self.process_noise, count, steps, n)
        x = [self.initial_mean + noise(self.initial_covariance, count, n)]
        for t in range(1, steps):
            x.append(x[-1] @ self.transition.T + w[:, t])
        states = torch.stack(x, 1)
        y = states @ self.observation.T + noise(self.observation_noise, count, steps, p)
        return (states[0], y[0]) if series is None else (states, y)

    def filter(self, y: Tensor) -> Filtered:
        """Kalman filter.

            S = H P H^T + R,  K = P H^T S^-1,  m' = m + K (y - H m)
            P' = (I - K H) P (I - K H)^T + K R K^T

        Args:
            y: [..., T, p]; NaN marks missing observations, single components or whole steps.

        Raises:
            ValueError: a wrong shape or dtype, no steps, infinite values; a singular S, that is,
                observations that the model predicts without uncertainty.
        """
        self._check_observations(y)
        seen = ~y.isnan()
        values = y.nan_to_num()
        Phi = self.transition
        identity = torch.eye(len(Phi), dtype=y.dtype, device=y.device)
        m, P = self.initial_mean.expand(*y.shape[:-2], -1), self.initial_covariance
        total = y.new_zeros(y.shape[:-2])
        reached, predicted = [], []  # means and covariances of each step
        for t in range(y.shape[-2]):
            predicted.append((m, P.expand(*m.shape, -1)))
            # A missing component is replaced by an observation 0 of variance 1, independent of x.
            mask = seen[..., t, :].to(y.dtype)
            H = self.observation * mask[..., None]
            R = self.observation_noise * mask[..., None] * mask[..., None, :]
            R = R + torch.diag_embed(1 - mask)
            v = values[..., t, :] - (H @ m[..., None])[..., 0]
            HP = H @ P
            L = _cholesky(HP @ H.mT + R)
            K = torch.cholesky_solve(HP, L).mT
            m = m + (K @ v[..., None])[..., 0]
            A = identity - K @ H
            P = symmetric(A @ P @ A.mT + K @ R @ K.mT)  # else rounding errors grow
            white = torch.linalg.solve_triangular(L, v[..., None], upper=False)[..., 0]
            log_determinant = 2 * L.diagonal(dim1=-2, dim2=-1).log().sum(-1)
            count = mask.sum(-1) * math.log(2 * math.pi)
            total = total - 0.5 * (white.square().sum(-1) + log_determinant + count)
            reached.append((m, P))
            m, P = m @ Phi.T, Phi @ P @ Phi.T + self.process_noise
        return Filtered(total, *_stacked(reached), *_stacked(predicted))

    def smooth(self, y: Tensor) -> Smoothed:
        """Rauch-Tung-Striebel smoother.

            J = P_t Phi^T (Phi P_t Phi^T + Q)^-1,  s_t = m_t + J (s_(t+1) - Phi m_t)
            V_t = (I - J Phi) P_t (I - J Phi)^T + J (V_(t+1) + Q) J^T

        Arguments and errors are those of ``filter``.
        """
        found = self.filter(y)
        P, steps = found.covariance, y.shape[-2]
        # A pseudo-inverse: directions without variance need no correction.
        inverse = torch.linalg.pinv(found.predicted_covariance[..., 1:, :, :], hermitian=True)
        J = P[..., :-1, :, :] @ self.transition.T @ inverse
        A = torch.eye(P.shape[-1], dtype=P.dtype, device=P.device) - J @ self.transition
        known = A @ P[..., :-1, :, :] @ A.mT + J @ self.process_noise @ J.mT
        s, V = found.mean[..., -1, :], P[..., -1, :, :]
        smoothed, lags = [(s, V)], []
        for t in reversed(range(steps - 1)):
            gain = J[..., t, :, :]
            lags.append(V @ gain.mT)
            correction = s - found.predicted_mean[..., t + 1, :]
            s = found.mean[..., t, :] + (gain @ correction[..., None])[..., 0]
            V = known[..., t, :, :] + gain @ V @ gain.mT
            smoothed.append((s, V))
        lag = torch.stack(lags[::-1], -3) if lags else P[..., :0, :, :]
        return Smoothed(found.log_likelihood, *_stacked(smoothed[::-1]), lag)

    def forecast(self, y: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """Means [..., steps, p] and covariances [..., steps, p, p] of the next observations."""
        unseen = y.new_full((*y.shape[:-2], steps, y.shape[-1]), math.nan)
        found = self.filter(torch.cat([y, unseen], -2))
        H = self.observation
        P = found.predicted_covariance[..., -steps:, :, :]
        mean = found.predicted_mean[..., -steps:, :] @ H.T
        return mean, H @ P @ H.T + self.observation_noise

    def _check_observations(self, y: Tensor) -> None:
        p = len(self.observation)
        if y.dim() < 2 or y.shape[-1] != p or y.shape[-2] < 1:
            raise ValueError(
                f"StateSpaceModel: y: expected shape [..., T, {p}] with T >= 1, got "
                f"{list(y.shape)}; the last dimension holds the observations of a step"
            )
        if y.dtype != self.transition.dtype:
            raise ValueError(
                f"StateSpaceModel: y: expected {self.transition.dtype} like the model, got "
                f"{y.dtype}; convert it with .to(dtype)"
            )
        if y.isinf().any():
            raise ValueError(
                "StateSpaceModel: y: expected finite values, or NaN where nothing was observed, "
                "got infinite ones; mark them as missing with NaN"
            )


def _check_covariance(name: str, matrix: Tensor) -> None:
    matrix = matrix.detach()
    scale = float(matrix.abs().max())
    tolerance = 1e2 * torch.finfo(matrix.dtype).eps * max(scale, torch.finfo(matrix.dtype).tiny)
    if not matrix.isfinite().all() or (matrix - matrix.T).abs().max() > tolerance:
        raise ValueError(
            f"StateSpaceModel: {name}: expected a symmetric matrix of finite values, got "
            f"{matrix.tolist()}; symmetrise it with (A + A.T) / 2"
        )
    least = float(torch.linalg.eigvalsh(matrix)[0])
    if least < -tolerance:
        raise ValueError(
            f"StateSpaceModel: {name}: expected a positive semi-definite matrix, got one whose "
            f"smallest eigenvalue is {least:.3g}; variances cannot be negative"
        )


def _stacked(states: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Means [..., T, n] and covariances [..., T, n, n] of the steps."""
    means, covariances = zip(*states, strict=True)
    return torch.stack(means, -2), torch.stack(covariances, -3)


def symmetric(matrix: Tensor) -> Tensor:
    """The symmetric part."""
    return (matrix + matrix.mT) / 2


def _cholesky(S: Tensor) -> Tensor:
    factor, failed = torch.linalg.cholesky_ex(S)
    if failed.any():
        least = float(torch.linalg.eigvalsh(S.detach()).min())
        raise ValueError(
            "StateSpaceModel: observation_noise: expected a positive definite covariance of the "
            f"predicted observations, got one whose smallest eigenvalue is {least:.3g}; increase "
            "the variances in R"
        )
    return factor


def _square_root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp(min=0).sqrt()
