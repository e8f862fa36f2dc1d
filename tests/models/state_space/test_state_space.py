"""The state-space model beside statsmodels, and its estimates beside the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pyneural.models import StateSpaceModel, fit_by_em, fit_by_likelihood
from tests.tolerances import assert_close

NAN = math.nan


def oscillator(dtype=torch.float64):
    """A noisy damped rotation; both states are observed, and once their sum."""
    turn, damping = 0.3, 0.98
    rotation = damping * torch.tensor(
        [[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]], dtype=dtype
    )
    H = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=dtype)
    Q = torch.tensor([[0.05, 0.01], [0.01, 0.04]], dtype=dtype)
    R = torch.tensor([[0.3, 0.05, 0.0], [0.05, 0.2, 0.1], [0.0, 0.1, 0.5]], dtype=dtype)
    return StateSpaceModel(
        rotation, H, Q, R, torch.tensor([1.0, -0.5], dtype=dtype), 0.5 * torch.eye(2, dtype=dtype)
    )


def with_gaps(y):
    y = y.clone()
    y[..., 5:9, :] = NAN
    y[..., 12, 1] = NAN
    y[..., 20:25, ::2] = NAN
    y[..., -1, 0] = NAN
    return y


def by_statsmodels(model, y):
    pytest.importorskip("statsmodels")
    from statsmodels.tsa.statespace.kalman_smoother import KalmanSmoother

    n, p = len(model.transition), len(model.observation)
    theirs = KalmanSmoother(k_endog=p, k_states=n, tolerance=0)
    theirs.bind(np.ascontiguousarray(y.numpy()))
    theirs["design"], theirs["transition"] = model.observation.numpy(), model.transition.numpy()
    theirs["selection"] = np.eye(n)
    theirs["state_cov"], theirs["obs_cov"] = (
        model.process_noise.numpy(),
        model.observation_noise.numpy(),
    )
    theirs.initialize_known(model.initial_mean.numpy(), model.initial_covariance.numpy())
    return theirs.smooth()


@pytest.mark.parametrize("gaps", [False, True])
def test_beside_statsmodels(gaps):
    model = oscillator()
    _, y = model.simulate(60, seed=1)
    y = with_gaps(y) if gaps else y
    theirs = by_statsmodels(model, y)
    filtered, smoothed = model.filter(y), model.smooth(y)
    assert abs(float(filtered.log_likelihood) - theirs.llf) < 1e-8
    pairs = [
        (filtered.mean.mT, theirs.filtered_state),
        (filtered.covariance.permute(1, 2, 0), theirs.filtered_state_cov),
        (filtered.predicted_mean.mT, theirs.predicted_state[:, :-1]),
        (smoothed.mean.mT, theirs.smoothed_state),
        (smoothed.covariance.permute(1, 2, 0), theirs.smoothed_state_cov),
        (
            smoothed.lag_covariance.permute(1, 2, 0),
            theirs.smoothed_state_autocov[:, :, :-1],
        ),
    ]
    for ours, exact in pairs:
        assert_close(ours, torch.from_numpy(np.array(exact)), 1e-9)


def test_forecast_is_the_filter_of_nothing():
    model = oscillator()
    _, y = model.simulate(30, seed=2)
    mean, covariance = model.forecast(y, 4)
    state, P = model.filter(y).mean[-1], model.filter(y).covariance[-1]
    for step in range(4):
        state = model.transition @ state
        P = model.transition @ P @ model.transition.T + model.process_noise
        H = model.observation
        assert_close(mean[step], H @ state, 1e-12)
        assert_close(covariance[step], H @ P @ H.T + model.observation_noise, 1e-12)


def test_series_side_by_side_are_each_alone():
    model = oscillator()
    _, y = model.simulate(25, seed=3, series=4)
    y[1] = with_gaps(y[1])
    together = model.smooth(y)
    for index in range(4):
        alone = model.smooth(y[index])
        assert_close(together.mean[index], alone.mean, 1e-12)
        assert_close(together.covariance[index], alone.covariance, 1e-12)
        assert_close(together.log_likelihood[index], alone.log_likelihood, 1e-12)


def test_intervals_cover_what_they_say():
    model = oscillator()
    x, y = model.simulate(50, seed=4, series=400)
    y = with_gaps(y)
    for found in (model.filter(y), model.smooth(y)):
        deviation = found.covariance.diagonal(dim1=-2, dim2=-1).sqrt()
        inside = ((found.mean - x).abs() < 1.959964 * deviation).double().mean()
        assert abs(float(inside) - 0.95) < 0.005


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_covariances_stay_positive_with_hardly_any_noise(dtype):
    """A constant, observed almost exactly after a prior that knows nothing."""
    n = 3
    model = StateSpaceModel(
        torch.eye(n, dtype=dtype),
        torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 1.1]], dtype=dtype),
        torch.zeros(n, n, dtype=dtype),
        1e-3 * torch.eye(2, dtype=dtype),
        torch.zeros(n, dtype=dtype),
        1e1 * torch.eye(n, dtype=dtype),
    )
    y = torch.ones(200, 2, dtype=dtype)
    for found in (model.filter(y), model.smooth(y)):
        assert found.mean.isfinite().all()
        P = found.covariance
        scale = P.diagonal(dim1=-2, dim2=-1).amax(-1)
        least = torch.linalg.eigvalsh((P + P.mT) / 2)[..., 0]
        assert (least >= -1e2 * torch.finfo(dtype).eps * scale).all()


def test_gradient_of_the_likelihood():
    model = oscillator()
    y = with_gaps(model.simulate(13, seed=5)[1])

    def likelihood(transition, observation, factor):
        changed = StateSpaceModel(
            transition,
            observation,
            model.process_noise,
            factor @ factor.T,
            model.initial_mean,
            model.initial_covariance,
        )
        return changed.filter(y).log_likelihood

    leaves = [model.transition, model.observation, torch.linalg.cholesky(model.observation_noise)]
    assert torch.autograd.gradcheck(likelihood, [leaf.clone().requires_grad_() for leaf in leaves])


def start_of(model):
    n, p = len(model.transition), len(model.observation)
    eye = torch.eye(n, dtype=torch.float64)
    return StateSpaceModel(
        0.5 * eye,
        model.observation,
        0.2 * eye,
        torch.eye(p, dtype=torch.float64),
        model.initial_mean,
        model.initial_covariance,
    )


@pytest.mark.parametrize("gaps", [False, True])
def test_em_never_falls_and_ends_where_the_likelihood_is_largest(gaps):
    model = oscillator()
    _, y = model.simulate(60, seed=6)
    y = with_gaps(y) if gaps else y
    free = "transition", "process_noise", "observation_noise"
    by_em = fit_by_em(start_of(model), y, free, steps=80)
    rises = np.diff(by_em.log_likelihoods)
    assert (rises > -1e-9).all()
    by_likelihood = fit_by_likelihood(start_of(model), y, free, steps=40)
    assert by_likelihood.log_likelihoods[-1] >= by_em.log_likelihoods[-1] - 1e-3
    assert abs(by_likelihood.log_likelihoods[-1] - by_em.log_likelihoods[-1]) < 0.5
    assert by_em.log_likelihoods[-1] > float(model.filter(y).log_likelihood)


def test_em_steps_with_everything_free():
    model = oscillator()
    _, y = model.simulate(60, seed=7, series=3)
    y[1] = with_gaps(y[1])
    found = fit_by_em(start_of(model), y, steps=20)
    assert (np.diff(found.log_likelihoods) > -1e-9).all()


def test_maximum_likelihood_finds_the_truth():
    model = oscillator()
    _, y = model.simulate(60, seed=8, series=80)
    free = "transition", "process_noise", "observation_noise"
    found = fit_by_likelihood(start_of(model), y, free, steps=25).model
    for name in free:
        assert float((getattr(found, name) - getattr(model, name)).abs().max()) < 0.03


GOOD = oscillator()


def changed(**parts):
    from dataclasses import replace

    return replace(GOOD, **parts)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: changed(transition=torch.eye(3).double()), "observation: expected shape .3, 3."),
        (lambda: changed(initial_mean=torch.zeros(2)), "initial_mean: expected torch.float64"),
        (
            lambda: changed(process_noise=torch.diag(torch.tensor([1.0, -0.25])).double()),
            "process_noise: expected a positive semi-definite .* smallest eigenvalue is -0.25",
        ),
        (
            lambda: changed(process_noise=torch.tensor([[1.0, 0.5], [0.0, 1.0]]).double()),
            "process_noise: expected a symmetric",
        ),
        (lambda: GOOD.filter(torch.zeros(5, 2).double()), "y: expected shape .* 3. with T >= 1"),
        (lambda: GOOD.filter(torch.zeros(0, 3).double()), "y: expected shape"),
        (lambda: GOOD.filter(torch.zeros(5, 3)), "y: expected torch.float64"),
        (lambda: GOOD.filter(torch.full((5, 3), math.inf).double()), "expected finite values"),
        (
            lambda: changed(observation_noise=torch.zeros(3, 3).double()).filter(
                torch.zeros(5, 3).double()
            ),
            "observation_noise: .* got a singular one at step 0",
        ),
        (lambda: fit_by_em(GOOD, torch.zeros(5, 3).double(), ("Phi",)), "free: expected some of"),
        (
            lambda: fit_by_likelihood(
                changed(process_noise=torch.zeros(2, 2).double()), torch.zeros(5, 3).double()
            ),
            "process_noise: expected a positive definite",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
