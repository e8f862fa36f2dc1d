"""The exact diffuse start of a state-space model, by the filter's response to the unknown states.

Source: de Jong, Annals of Statistics 19, 1073 (1991).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def add_diffuse(
    y: Tensor, H: Tensor, R: Tensor, raw: list[Tensor], d: int
) -> tuple[list[Tensor], tuple[Tensor, Tensor], Tensor]:
    """From responses to the d states of a diffuse start to the moments of all states.

    With innovations v + E delta of covariance S, delta has the posterior precision
    Lambda = sum E^T S^-1 E and the mean -Lambda^-1 sum E^T S^-1 v.

    Returns:
        Moments as the kernel returns them; mean [N, T, d] and covariance of delta given the
        observations up to each step; what the log-likelihood gains, [N].
    """
    mean, covariance, predicted_mean, predicted_covariance = raw
    mask = (~y.isnan()).view(-1, 1 + d, *y.shape[1:])[:, 0].to(y.dtype)
    H = H * mask[..., None]
    P = predicted_covariance.view(-1, 1 + d, *predicted_covariance.shape[1:])[:, 0]
    S = H @ P @ H.mT + R * mask[..., None] * mask[..., None, :] + torch.diag_embed(1 - mask)
    values = y.nan_to_num().view(-1, 1 + d, *y.shape[1:])
    means = predicted_mean.view(-1, 1 + d, *predicted_mean.shape[1:])
    innovations = values - (H[:, None] @ means[..., None])[..., 0]
    v, E = innovations[:, 0, :, :, None], innovations[:, 1:].permute(0, 2, 3, 1)
    weighted = torch.cholesky_solve(E, torch.linalg.cholesky(S))
    precision = (E.mT @ weighted).cumsum(1)
    right = -(weighted.mT @ v)[..., 0].cumsum(1)
    rounding = _rounding(y)
    factor, failed = torch.linalg.cholesky_ex(precision[:, -1])
    pivots = factor.diagonal(dim1=-2, dim2=-1).square()
    if failed.any() or (pivots <= rounding * precision[:, -1].diagonal(dim1=-2, dim2=-1)).any():
        raise ValueError(
            "StateSpaceModel: y: expected observations that determine the states of infinite "
            "initial variance, got too few; give these states a finite one"
        )
    inverse = torch.linalg.pinv(precision, hermitian=True, rtol=rounding)
    delta = (inverse @ right[..., None])[..., 0]
    log_determinant = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    gained = ((right[:, -1] * delta[:, -1]).sum(-1) - log_determinant) / 2

    known = delta, inverse, precision
    before = [torch.cat([torch.zeros_like(k[:, :1]), k[:, :-1]], 1) for k in known]
    now = _with_diffuse(mean, covariance, *known)
    then = _with_diffuse(predicted_mean, predicted_covariance, *before)
    return [*now, *then], (delta, inverse), gained


def _with_diffuse(
    mean: Tensor, covariance: Tensor, delta: Tensor, inverse: Tensor, precision: Tensor
) -> tuple[Tensor, Tensor]:
    """Moments of the states, from their responses to delta and its moments."""
    d, rounding = delta.shape[-1], _rounding(delta)
    mean, covariance, X = split(mean, covariance, columns=d)
    mean = mean + (X @ delta[..., None])[..., 0]
    # What of delta the observations do not determine yet.
    identity = torch.eye(d, dtype=delta.dtype, device=delta.device)
    unknown = identity - inverse @ precision
    unknown = unknown.masked_fill(unknown.detach().abs() < rounding**0.5, 0)
    spread = (X @ unknown @ X.mT).detach()
    covariance = covariance + X @ inverse @ X.mT
    infinite = spread.abs() > rounding**0.5 * X.detach().square().amax((-2, -1), keepdim=True)
    return mean, torch.where(infinite, spread.sign() * math.inf, covariance)


def split(mean: Tensor, *others: Tensor, columns: int) -> tuple[Tensor, ...]:
    """Of the first series each, and the responses of the means as columns [N, T, n, d]."""
    means = mean.view(-1, 1 + columns, *mean.shape[1:])
    first = (tensor.view(-1, 1 + columns, *tensor.shape[1:])[:, 0] for tensor in others)
    return means[:, 0], *first, means[:, 1:].permute(0, 2, 3, 1)


def _rounding(tensor: Tensor) -> float:
    """What is 0 beside 1."""
    return 1e2 * torch.finfo(tensor.dtype).eps
