"""Kalman filter and smoother in plain torch, step by step."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pyneural.ops.transforms import is_transformed
from pyneural.ops.vjp import gradients


def kalman_filter(
    y: Tensor, offset: Tensor | None, transition: Tensor, observation: Tensor,
    process_noise: Tensor, observation_noise: Tensor, initial_mean: Tensor,
    initial_covariance: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """(log-likelihood, mean, covariance, predicted mean, predicted covariance)."""
    seen = ~y.isnan()
    values = y.masked_fill(~seen, 0)
    identity = torch.eye(initial_mean.shape[-1], dtype=y.dtype, device=y.device)
    m, P = initial_mean, symmetric(initial_covariance)
    total = y.new_zeros(len(y))
    steps = []
    for t in range(y.shape[1]):
        if t > 0:
            Phi = _at(transition, t)
            m = m @ Phi.mT if offset is None else m @ Phi.mT + offset[:, t]
            P = symmetric(Phi @ P @ Phi.mT + symmetric(_at(process_noise, t)))
        predicted = m, P.expand(*m.shape, -1)
        # A missing component is replaced by an observation 0 of variance 1, independent of x.
        mask = seen[:, t].to(y.dtype)
        H = _at(observation, t) * mask[..., None]
        R = symmetric(_at(observation_noise, t)) * mask[..., None] * mask[..., None, :]
        R = R + torch.diag_embed(1 - mask)
        v = values[:, t] - (H @ m[..., None])[..., 0]
        HP = H @ P
        L = _cholesky(HP @ H.mT + R, t)
        K = torch.cholesky_solve(HP, L).mT
        m = m + (K @ v[..., None])[..., 0]
        A = identity - K @ H
        P = symmetric(A @ P @ A.mT + K @ R @ K.mT)
        white = torch.linalg.solve_triangular(L, v[..., None], upper=False)[..., 0]
        log_determinant = 2 * L.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        count = mask.sum(-1) * math.log(2 * math.pi)
        total = total - 0.5 * (white.square().sum(-1) + log_determinant + count)
        steps.append((m, P, *predicted))
    a, b, c, d = (torch.stack(of_steps, 1) for of_steps in zip(*steps, strict=True))
    return total, a, b, c, d


def kalman_filter_backward(grads: Sequence[Tensor], *arguments: Tensor | None) -> list[Tensor]:
    """Gradients for the arguments of ``kalman_filter``, that of no offset empty.

    What the forward saved, which follows these, is not read.
    """
    inputs = arguments[:8]
    wanted = [tensor is not None for tensor in inputs]
    return gradients(kalman_filter, inputs, grads, wanted, grads[0].new_empty(0))


def kalman_smoother(
    transition: Tensor, process_noise: Tensor, mean: Tensor, covariance: Tensor,
    predicted_mean: Tensor, predicted_covariance: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """(mean, covariance, covariance of each next state with this one)."""
    Phi, Q = (m[1:] if m.dim() == 3 else m for m in (transition, symmetric(process_noise)))
    P = symmetric(covariance[:, :-1])
    # A pseudo-inverse: directions without variance need no correction.
    inverse = torch.linalg.pinv(symmetric(predicted_covariance[:, 1:]), hermitian=True)
    J = P @ Phi.mT @ inverse
    A = torch.eye(P.shape[-1], dtype=P.dtype, device=P.device) - J @ Phi
    known = A @ P @ A.mT + J @ Q @ J.mT
    s, V = mean[:, -1], symmetric(covariance[:, -1])
    means, covariances, lags = [s], [V], []
    for t in reversed(range(mean.shape[1] - 1)):
        lags.append(V @ J[:, t].mT)
        s = mean[:, t] + (J[:, t] @ (s - predicted_mean[:, t + 1])[..., None])[..., 0]
        V = symmetric(known[:, t] + J[:, t] @ V @ J[:, t].mT)
        means.append(s)
        covariances.append(V)
    lag = torch.stack(lags[::-1], 1) if lags else covariance[:, :0]
    return torch.stack(means[::-1], 1), torch.stack(covariances[::-1], 1), lag


def kalman_smoother_backward(grads: Sequence[Tensor], *arguments: Tensor) -> list[Tensor]:
    """Gradients for the arguments of ``kalman_smoother``; what it returned is not read."""
    return gradients(kalman_smoother, arguments[:6], grads, [True] * 6)


def symmetric(matrix: Tensor) -> Tensor:
    """The symmetric part of each matrix."""
    return (matrix + matrix.mT) / 2


def _at(matrix: Tensor, t: int) -> Tensor:
    return matrix[t] if matrix.dim() == 3 else matrix


def _cholesky(S: Tensor, t: int) -> Tensor:
    factor, failed = torch.linalg.cholesky_ex(S)
    if is_transformed():  # where no value can be asked for
        return factor.masked_fill((failed > 0)[..., None, None], math.nan)
    if failed.any():
        raise ValueError(
            "kalman_filter: observation_noise: expected a positive definite covariance of the "
            f"predicted observations, got a singular one at step {t}; increase the variances in R"
        )
    return factor
