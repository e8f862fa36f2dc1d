"""Linear state-space model with Gaussian noise: simulation, Kalman filter, smoother, forecast."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyneural import ops
from pyneural.errors import whole, wholes
from pyneural.models.state_space.diffuse import add_diffuse, split


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

        x_t = Phi x_(t-1) + B u_t + w_t,  w_t ~ N(0, Q),   x_1 ~ N(m, P)
        y_t = H x_t + D u_t + v_t,        v_t ~ N(0, R)

    Filter and smoother are kernels, ``ops.kalman_filter`` and ``ops.kalman_smoother``: linear in
    the number of steps, covariances in Joseph's form, which keeps them symmetric and positive
    semi-definite even if R or Q is nearly singular, also in float32. All methods are
    differentiable. Leading dimensions of y are a batch of independent series. Arrays of NumPy and
    frames of pandas are taken as tensors are.

    Phi, H, Q, R, B and D are the same at all steps, or have a leading dimension with one for each
    step; Phi, Q and B of the first step are not read, since x_1 is given. A state of which nothing
    is known in advance has an infinite initial variance (a diffuse start): filter, smoother and
    likelihood are then the exact limits for P_ii to infinity, the log-likelihood that of
    log p(y) + d/2 log P_ii for d such states. Until the observations determine it, its covariances
    are infinite.

    Args:
        transition: Phi, [n, n].
        observation: H, [p, n].
        process_noise: Q, [n, n], symmetric and positive semi-definite.
        observation_noise: R, [p, p], likewise.
        initial_mean: m, [n].
        initial_covariance: P, [n, n]; inf on the diagonal for a diffuse start, with 0 beside it.
        control: B, [n, k], or None without inputs u.
        feedthrough: D, [p, k], or None.

    Raises:
        ValueError: shapes or dtypes that do not match; a covariance that is not symmetric or not
            positive semi-definite.

    Source: Kalman 1960; Rauch, Tung and Striebel 1965; Bucy and Joseph 1968; de Jong, Annals of
        Statistics 19, 1073 (1991), for the diffuse start; Durbin and Koopman, Time Series Analysis
        by State Space Methods (2012).

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
    control: Tensor | None = None
    feedthrough: Tensor | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                object.__setattr__(self, field.name, _tensor(value))
        n, p = self.transition.shape[-1], self.observation.shape[-2]
        inputs = self.control if self.control is not None else self.feedthrough
        k = 0 if inputs is None else inputs.shape[-1]
        shapes = ((n, n), (p, n), (n, n), (p, p), (n,), (n, n), (n, k), (p, k))  # of the fields
        of_steps = None  # a matrix for each of how many
        for field, shape in zip(fields(self), shapes, strict=True):
            tensor = getattr(self, field.name)
            if tensor is None:
                continue
            varies = not field.name.startswith("initial") and tensor.dim() == len(shape) + 1
            if tuple(tensor.shape[varies:]) != shape:
                raise ValueError(
                    f"StateSpaceModel: {field.name}: expected shape {list(shape)} for {n} states "
                    f"and {p} observations, got {list(tensor.shape)}; make the shapes consistent"
                )
            if varies and of_steps not in (None, len(tensor)):
                raise ValueError(
                    f"StateSpaceModel: {field.name}: expected a matrix for each of {of_steps} "
                    f"steps, got {len(tensor)}; give all of them as many"
                )
            of_steps = len(tensor) if varies else of_steps
            if tensor.dtype != self.transition.dtype or not tensor.is_floating_point():
                raise ValueError(
                    f"StateSpaceModel: {field.name}: expected {self.transition.dtype} like the "
                    f"transition, a floating-point one, got {tensor.dtype}; convert it"
                )
        for name in ("process_noise", "observation_noise"):
            _check_covariance(name, getattr(self, name))
        _check_covariance("initial_covariance", self._start()[0])

    @property
    def steps(self) -> int | None:
        """How many steps the model has, None where it is the same at all of them."""
        for field in fields(self):
            matrix = getattr(self, field.name)
            if not field.name.startswith("initial") and matrix is not None and matrix.dim() == 3:
                return len(matrix)
        return None

    def simulate(
        self, steps: int, seed: int = 0, series: int | None = None, u: Any = None
    ) -> tuple[Tensor, Tensor]:
        """Draws states and observations from the model.

        Args:
            steps: number of steps T.
            seed: random seed.
            series: number of independent series; None for a single one without a batch dimension.
            u: inputs, [..., T, k].

        Returns:
            x, [..., T, n], and y, [..., T, p].

        Raises:
            ValueError: inputs that are missing or do not fit; an infinite initial variance.
        """
        start, diffuse = self._start()
        if len(diffuse):
            raise ValueError(
                "StateSpaceModel.simulate: initial_covariance: expected finite variances, got "
                "infinite ones; replace(model, initial_covariance=...) with those to draw from"
            )
        n, p = self.transition.shape[-1], self.observation.shape[-2]
        steps, seed = wholes("StateSpaceModel.simulate", steps=steps, seed=seed)
        generator = torch.Generator().manual_seed(seed)

        def noise(covariance: Tensor, *shape: int) -> Tensor:
            normal = torch.randn(*shape, generator=generator, dtype=torch.float64)
            root = _square_root(covariance).mT
            return (normal.to(covariance.dtype)[..., None, :] @ root)[..., 0, :]

        count = 1 if series is None else series
        shape = count, steps
        moved, seen = self._inputs(u, shape)
        w = noise(self._until(steps, "process_noise"), *shape, n)
        w = w if moved is None else w + moved
        Phi = self._until(steps, "transition")
        x = [self.initial_mean + noise(start, count, n)]
        for t in range(1, steps):
            x.append(x[-1] @ (Phi if Phi.dim() == 2 else Phi[t]).T + w[:, t])
        states = torch.stack(x, 1)
        y = (self._until(steps, "observation") @ states[..., None])[..., 0]
        y = y + noise(self._until(steps, "observation_noise"), *shape, p)
        y = y if seen is None else y + seen
        return (states[0], y[0]) if series is None else (states, y)

    def filter(self, y: Any, u: Any = None) -> Filtered:
        """Kalman filter.

            S = H P H^T + R,  K = P H^T S^-1,  m' = m + K (y - H m - D u)
            P' = (I - K H) P (I - K H)^T + K R K^T

        Args:
            y: [..., T, p], or [T] of a single variable; NaN marks missing observations, single
                components or whole steps.
            u: inputs, [..., T, k], where the model has a control or a feedthrough.

        Raises:
            ValueError: a wrong shape or dtype, no steps, infinite values; a singular S, that is,
                observations that the model predicts without uncertainty; observations that do not
                determine the states of a diffuse start.
        """
        return self._filter(*self._observations(y, u))[0]

    def smooth(self, y: Any, u: Any = None) -> Smoothed:
        """Rauch-Tung-Striebel smoother.

            J = P_t Phi^T (Phi P_t Phi^T + Q)^-1,  s_t = m_t + J (s_(t+1) - Phi m_t - B u_(t+1))
            V_t = (I - J Phi) P_t (I - J Phi)^T + J (V_(t+1) + Q) J^T

        Arguments and errors are those of ``filter``.
        """
        y, moved = self._observations(y, u)
        found, raw, unknown = self._filter(y, moved)
        T, batch = y.shape[-2], y.shape[:-2]
        model = (self._until(T, name) for name in ("transition", "process_noise"))
        s, V, lag = ops.kalman_smoother(*model, *raw)
        if unknown is not None:
            mean, inverse = unknown
            s, V, lag, S = split(s, V, lag, columns=mean.shape[-1])
            s = s + (S @ mean[:, -1:, :, None])[..., 0]
            spread = S @ inverse[:, -1:]
            V = V + spread @ S.mT
            lag = lag + spread[:, 1:] @ S[:, :-1].mT
        moments = (tensor.reshape((*batch, *tensor.shape[1:])) for tensor in (s, V, lag))
        return Smoothed(found.log_likelihood, *moments)

    def forecast(self, y: Any, steps: int, u: Any = None) -> tuple[Tensor, Tensor]:
        """Means [..., steps, p] and covariances [..., steps, p, p] of the next observations.

        u, where the model has inputs, is [..., T + steps, k]; a model that varies has the matrices
        of all T + steps.
        """
        y = self.observed(y)
        steps = whole("StateSpaceModel.forecast: steps", steps)
        unseen = y.new_full((*y.shape[:-2], steps, y.shape[-1]), math.nan)
        y = torch.cat([y, unseen], -2)
        found = self.filter(y, u)
        shown = self._inputs(u, y.shape[:-1])[1]
        H, R = (
            matrix[-steps:] if matrix.dim() == 3 else matrix
            for name in ("observation", "observation_noise")
            for matrix in [self._until(y.shape[-2], name)]
        )
        P = found.predicted_covariance[..., -steps:, :, :]
        mean = (H @ found.predicted_mean[..., -steps:, :, None])[..., 0]
        mean = mean if shown is None else mean + shown[..., -steps:, :]
        return mean, H @ P @ H.mT + R

    def _filter(self, y: Tensor, moved: Tensor | None) -> tuple[Filtered, tuple, tuple | None]:
        """What the kernel found, of the observations less D u and the offsets B u.

        Also its outputs but for the likelihood and, with d states of a diffuse start, their mean
        [N, T, d] and covariance [N, T, d, d] given the observations up to each step. The series are
        then followed by d more each: their means' response to a unit of each such state.

        A finite variance beside the infinite one changes nothing; it keeps S regular where R is 0.
        """
        T, batch = y.shape[-2], y.shape[:-2]
        names = "transition", "observation", "process_noise", "observation_noise"
        Phi, H, Q, R = (self._until(T, name) for name in names)
        start, diffuse = self._start()
        y = y.reshape(-1, *y.shape[-2:])
        moved = None if moved is None else moved.reshape(-1, *moved.shape[-2:])
        m = self.initial_mean.expand(len(y), -1)
        d = len(diffuse)
        if d:
            m = torch.stack([m, *torch.eye(m.shape[-1], dtype=m.dtype, device=m.device)[diffuse]
                             [:, None].expand(-1, len(y), -1)], 1).flatten(0, 1)  # fmt: skip
            y = torch.stack([y, *[torch.where(y.isnan(), y, 0)] * d], 1).flatten(0, 1)
            if moved is not None:
                moved = torch.stack([moved, *[torch.zeros_like(moved)] * d], 1).flatten(0, 1)
        total, *raw = ops.kalman_filter(y, Phi, H, Q, R, m, start, moved)
        unknown = None
        states = raw
        if d:
            total = total.view(-1, 1 + d)[:, 0]
            states, unknown, gained = add_diffuse(y, H, R, raw, d)
            total = total + gained
        found = (tensor.reshape((*batch, *tensor.shape[1:])) for tensor in (total, *states))
        return Filtered(*found), tuple(raw), unknown

    def _start(self) -> tuple[Tensor, Tensor]:
        """The initial covariance with 1 for infinite variances, and the states that have one."""
        P = self.initial_covariance
        infinite = P.diagonal().isposinf()
        return torch.where(torch.diag(infinite), 1, P), infinite.nonzero()[:, 0]

    def _until(self, steps: int, name: str) -> Tensor:
        """A matrix of the model, for the first steps where it varies."""
        matrix = getattr(self, name)
        if matrix.dim() == 2:
            return matrix
        if len(matrix) < steps:
            raise ValueError(
                f"StateSpaceModel: {name}: expected a matrix for each of {steps} steps, got "
                f"{len(matrix)}; give those of all steps, forecasts included"
            )
        return matrix[:steps]

    def _inputs(self, u: Any, shape: tuple[int, ...]) -> tuple[Tensor | None, Tensor | None]:
        """B u and D u for series of a shape [..., T]."""
        given = [m for m in (self.control, self.feedthrough) if m is not None]
        if (u is None) != (not given):
            what = "no inputs, as the model has neither control nor feedthrough"
            raise ValueError(
                f"StateSpaceModel: u: expected {what if not given else 'the inputs of each step'}, "
                f"got {'none' if u is None else 'some'}; give the model and its call both or none"
            )
        if u is None:
            return None, None
        u, k = _tensor(u, like=self.transition), given[0].shape[-1]
        if u.shape[-2:] != (shape[-1], k) or u.dtype != self.transition.dtype:
            raise ValueError(
                f"StateSpaceModel: u: expected {self.transition.dtype} of shape "
                f"{[*shape, k]}, got {u.dtype} of {list(u.shape)}; give the inputs of each step"
            )
        if not u.isfinite().all():
            raise ValueError(
                "StateSpaceModel: u: expected finite values, got others; inputs cannot be missing"
            )
        u = u.expand(*shape, k)

        def times(matrix: Tensor) -> Tensor:
            return (matrix @ u[..., None])[..., 0]

        moved = None if self.control is None else times(self._until(shape[-1], "control"))
        shown = None if self.feedthrough is None else times(self._until(shape[-1], "feedthrough"))
        return moved, shown

    def _observations(self, y: Any, u: Any) -> tuple[Tensor, Tensor | None]:
        """The observations less D u, and B u."""
        y = self.observed(y)
        moved, seen = self._inputs(u, y.shape[:-1])
        return (y if seen is None else y - seen), moved

    def observed(self, y: Any) -> Tensor:
        """The observations as a tensor [..., T, p]."""
        p = self.observation.shape[-2]
        y = _tensor(y, like=self.transition)
        y = y[:, None] if y.dim() == p == 1 else y
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
        return y


def _tensor(values: Any, like: Tensor | None = None) -> Tensor:
    """A tensor as it is; an array or frame as one, of the dtype and device of ``like``."""
    if isinstance(values, Tensor):
        return values
    tensor = torch.from_numpy(np.array(values))
    return tensor if like is None else tensor.to(like)


def _check_covariance(name: str, matrix: Tensor) -> None:
    matrix = matrix.detach()
    scale = float(matrix.abs().max())
    tolerance = 1e2 * torch.finfo(matrix.dtype).eps * max(scale, torch.finfo(matrix.dtype).tiny)
    if not matrix.isfinite().all() or (matrix - matrix.mT).abs().max() > tolerance:
        raise ValueError(
            f"StateSpaceModel: {name}: expected a symmetric matrix of finite values, got "
            f"{matrix.tolist()}; symmetrise it with (A + A.T) / 2"
        )
    least = float(torch.linalg.eigvalsh(matrix)[..., 0].min())
    if least < -tolerance:
        raise ValueError(
            f"StateSpaceModel: {name}: expected a positive semi-definite matrix, got one whose "
            f"smallest eigenvalue is {least:.3g}; variances cannot be negative"
        )


def _square_root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp(min=0).sqrt()[..., None, :]
