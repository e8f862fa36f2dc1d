"""Kalman filter and smoother; their autograd is in ``csrc/kalman/kalman_autograd.cpp``."""

from __future__ import annotations

import torch
from torch import Tensor

from pyneural.ops import reference
from pyneural.ops.registration import register_derivative, register_reference
from pyneural.ops.transforms import is_transformed


def kalman_filter(
    y: Tensor,
    transition: Tensor,
    observation: Tensor,
    process_noise: Tensor,
    observation_noise: Tensor,
    initial_mean: Tensor,
    initial_covariance: Tensor,
    offset: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Kalman filter of N series of T steps, n states and p observations.

        x_t = Phi x_(t-1) + c_t + w_t,  w_t ~ N(0, Q),   x_1 ~ N(m, P)
        y_t = H x_t + v_t,              v_t ~ N(0, R)

    One pass over the steps, in double precision; linear in T, differentiable to any order. The
    covariances are updated in Joseph's form, which keeps them positive semi-definite. Of Q, R and
    P the symmetric part counts. Every matrix is the same at all steps, or has a leading dimension T
    with one for each; those that lead to a state have its index, so that Phi_1, Q_1 and c_1 are not
    read.

    Args:
        y: [N, T, p], float32 or float64; NaN where nothing was observed.
        transition: Phi, [n, n] or [T, n, n].
        observation: H, [p, n] or [T, p, n].
        process_noise: Q, [n, n] or [T, n, n].
        observation_noise: R, [p, p] or [T, p, p].
        initial_mean: m, [N, n].
        initial_covariance: P, [n, n].
        offset: c, [N, T, n], or None for 0.

    Returns:
        log p(y), [N]; mean [N, T, n] and covariance [N, T, n, n] of each state given the
        observations up to it; both given only those before it.

    Raises:
        ValueError: shapes, dtypes or devices that do not match; observations that the model
            predicts without uncertainty (under ``torch.func``, NaN instead).

    Source: Kalman 1960; Bucy and Joseph 1968.

    Example:
        >>> one = torch.ones(1, 1)
        >>> y = torch.tensor([[[1.0], [2.0]]])
        >>> kalman_filter(y, one, one, one, one, torch.zeros(1, 1), one)[1].flatten()
        tensor([0.5000, 1.4000])
    """
    model = transition, observation, process_noise, observation_noise
    arguments = y, offset, *model, initial_mean, initial_covariance
    if is_transformed():
        return reference.kalman_filter(*arguments)
    return torch.ops.pyneural.kalman_filter(*arguments)


def kalman_smoother(
    transition: Tensor,
    process_noise: Tensor,
    mean: Tensor,
    covariance: Tensor,
    predicted_mean: Tensor,
    predicted_covariance: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Rauch-Tung-Striebel smoother, from what ``kalman_filter`` returns.

        J = P_t Phi^T (Phi P_t Phi^T + Q)^-1,  s_t = m_t + J (s_(t+1) - Phi m_t - c)
        V_t = (I - J Phi) P_t (I - J Phi)^T + J (V_(t+1) + Q) J^T

    Args:
        transition: Phi, [n, n] or [T, n, n].
        process_noise: Q, likewise.
        mean: m, [N, T, n], float32 or float64.
        covariance: P, [N, T, n, n].
        predicted_mean: [N, T, n].
        predicted_covariance: [N, T, n, n].

    Returns:
        s [N, T, n] and V [N, T, n, n], mean and covariance of each state given all observations;
        V_(t+1) J^T, the covariance of each next state with this one, [N, T - 1, n, n].

    Raises:
        ValueError: shapes, dtypes or devices that do not match.

    Source: Rauch, Tung and Striebel 1965.

    Example:
        >>> one = torch.ones(1, 1)
        >>> y = torch.tensor([[[1.0], [2.0]]])
        >>> filtered = kalman_filter(y, one, one, one, one, torch.zeros(1, 1), one)
        >>> kalman_smoother(one, one, *filtered[1:])[0].flatten()
        tensor([0.8000, 1.4000])
    """
    arguments = transition, process_noise, mean, covariance, predicted_mean, predicted_covariance
    if is_transformed():
        return reference.kalman_smoother(*arguments)
    return torch.ops.pyneural.kalman_smoother(*arguments)


def _fake_filter(y, offset, transition, observation, process_noise, observation_noise, *initial):
    of_states = (*y.shape[:2], initial[0].shape[-1])
    moments = of_states, (*of_states, of_states[-1])
    return tuple(y.new_empty(shape) for shape in (y.shape[:1], *moments, *moments))


def _fake_smoother(transition, process_noise, mean, covariance, *predicted):
    lag = mean.shape[0], mean.shape[1] - 1, *covariance.shape[2:]
    return tuple(mean.new_empty(shape) for shape in (mean.shape, covariance.shape, lag))


def _fake_backward(count):
    def fake(grads, *tensors):
        given = tensors[:count]
        return [grads[0].new_empty(0 if tensor is None else tensor.shape) for tensor in given]

    return fake


register_reference("kalman_filter", reference.kalman_filter, _fake_filter)
register_reference("kalman_smoother", reference.kalman_smoother, _fake_smoother)
register_derivative(
    "kalman_filter_backward",
    reference.kalman_filter_backward,
    _fake_backward(8),
    constant=("mean", "covariance", "predicted_mean", "predicted_covariance"),
)
register_derivative(
    "kalman_smoother_backward",
    reference.kalman_smoother_backward,
    _fake_backward(6),
    constant=("smoothed_mean", "smoothed_covariance"),
)
