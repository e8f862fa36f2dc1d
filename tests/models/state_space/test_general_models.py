"""Matrices of each step, inputs and a diffuse start, beside statsmodels and beside the limit."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from pyneural.models import StateSpaceModel, fit_by_em, fit_by_likelihood
from tests.models.state_space.test_state_space import NAN, oscillator
from tests.tolerances import assert_close

MOMENTS = "mean", "covariance"


def trend(initial=(math.inf, math.inf, 0.5)):
    """A level with a slope of its own, and a component that dies away; two readings."""
    Phi = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.7]], dtype=torch.float64)
    return StateSpaceModel(
        Phi,
        torch.tensor([[1.0, 0.0, 1.0], [0.5, -1.0, 0.3]], dtype=torch.float64),
        torch.diag(torch.tensor([0.1, 0.05, 0.3], dtype=torch.float64)),
        torch.tensor([[0.5, 0.1], [0.1, 0.4]], dtype=torch.float64),
        torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64),
        torch.diag(torch.tensor(initial, dtype=torch.float64)),
    )


def observations(T=40, p=2, series=()):
    y = torch.randn(*series, T, p, dtype=torch.float64).cumsum(-2)
    y[..., 0, -1] = NAN
    y[..., 5, :] = NAN
    return y


def varying(T):
    model = oscillator()
    scale = 1 + 0.3 * torch.rand(T, 1, 1, dtype=torch.float64)
    names = "transition", "observation", "process_noise", "observation_noise"
    return replace(model, **{name: getattr(model, name) * scale for name in names})


def with_inputs(model, k=2):
    n, p = model.transition.shape[-1], model.observation.shape[-2]
    B, D = torch.randn(n, k, dtype=torch.float64), torch.randn(p, k, dtype=torch.float64)
    return replace(model, control=B, feedthrough=D)


@pytest.mark.filterwarnings("ignore")
def test_diffuse_start_beside_statsmodels():
    pytest.importorskip("statsmodels")
    from statsmodels.tsa.statespace.initialization import Initialization
    from statsmodels.tsa.statespace.kalman_smoother import KalmanSmoother

    model, y = trend(), observations()
    theirs = KalmanSmoother(k_endog=2, k_states=3, tolerance=0)
    theirs.bind(np.ascontiguousarray(y.numpy()))
    theirs["design"], theirs["transition"] = model.observation.numpy(), model.transition.numpy()
    theirs["selection"], theirs["state_cov"] = np.eye(3), model.process_noise.numpy()
    theirs["obs_cov"] = model.observation_noise.numpy()
    start = Initialization(3)
    start.set((0, 2), "diffuse")
    start.set((2, 3), "known", constant=np.array([1.0]), stationary_cov=np.array([[0.5]]))
    theirs.initialize(start)
    exact = theirs.smooth()
    filtered, smoothed = model.filter(y), model.smooth(y)
    assert abs(float(filtered.log_likelihood) - exact.llf) < 1e-8
    pairs = [
        (filtered.mean[3:].mT, exact.filtered_state[:, 3:]),
        (filtered.covariance[3:].permute(1, 2, 0), exact.filtered_state_cov[:, :, 3:]),
        (smoothed.mean.mT, exact.smoothed_state),
        (smoothed.covariance.permute(1, 2, 0), exact.smoothed_state_cov),
    ]
    for ours, expected in pairs:
        assert_close(ours, torch.from_numpy(np.array(expected)), 1e-9)


@pytest.mark.parametrize("inputs", [False, True])
def test_diffuse_start_is_the_limit(inputs):
    model, y, u = trend(), observations(series=(3,)), None
    if inputs:
        model, u = with_inputs(model), torch.randn(3, 40, 2, dtype=torch.float64)
    large = 1e6
    finite = replace(model, initial_covariance=trend((large, large, 0.5)).initial_covariance)
    found, near = model.filter(y, u), finite.filter(y, u)
    assert_close(found.log_likelihood, near.log_likelihood + math.log(large), 1e-5)
    for name in (*MOMENTS, *(f"predicted_{name}" for name in MOMENTS)):
        exact, ours = getattr(near, name), getattr(found, name)
        # Until the slope is known, variances are as large as its first one.
        assert torch.equal(ours.isinf(), exact.abs() > large / 100)
        known = ~ours.isinf()
        assert_close(ours[known], exact[known], 1e-5)
    found, near = model.smooth(y, u), finite.smooth(y, u)
    for name in (*MOMENTS, "lag_covariance"):
        assert_close(getattr(found, name), getattr(near, name), 1e-5)


def test_diffuse_start_without_measurement_noise():
    """A random walk that is read exactly: the first reading says all of it."""
    one = torch.ones(1, 1, dtype=torch.float64)
    walk = StateSpaceModel(one, one, one, 0 * one, 0 * one[0], math.inf * one)
    y = torch.tensor([[3.0], [4.0], [6.0]], dtype=torch.float64)
    found = walk.filter(y)
    assert_close(found.mean, y, 1e-12)
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(torch.tensor([1.0, 2.0])).sum()
    assert_close(found.log_likelihood, expected - math.log(2 * math.pi) / 2, 1e-6)


def test_diffuse_start_has_a_gradient():
    y = observations(T=7)

    def call(observation, root):
        model = replace(trend(), observation=observation, process_noise=root @ root.mT)
        return model.filter(y).log_likelihood, model.smooth(y).mean

    leaves = trend().observation.requires_grad_(), trend().process_noise.sqrt().requires_grad_()
    assert torch.autograd.gradcheck(call, leaves)


def test_matrices_of_each_step_beside_statsmodels():
    T = 25
    model = varying(T)
    y = torch.randn(T, 3, dtype=torch.float64)
    y[4, 1] = NAN
    pytest.importorskip("statsmodels")
    from statsmodels.tsa.statespace.kalman_smoother import KalmanSmoother

    theirs = KalmanSmoother(k_endog=3, k_states=2, tolerance=0)
    theirs.bind(np.ascontiguousarray(y.numpy()))
    # Theirs lead from a step to the next, ours from the one before to it.
    after = lambda m: np.roll(m.numpy(), -1, 0).transpose(1, 2, 0)  # noqa: E731
    at = lambda m: np.ascontiguousarray(m.numpy().transpose(1, 2, 0))  # noqa: E731
    theirs["selection"] = np.eye(2)
    theirs["transition"], theirs["state_cov"] = after(model.transition), after(model.process_noise)
    theirs["design"], theirs["obs_cov"] = at(model.observation), at(model.observation_noise)
    theirs.initialize_known(model.initial_mean.numpy(), model.initial_covariance.numpy())
    exact = theirs.smooth()
    filtered, smoothed = model.filter(y), model.smooth(y)
    assert abs(float(filtered.log_likelihood) - exact.llf) < 1e-8
    assert_close(filtered.mean.mT, torch.from_numpy(np.array(exact.filtered_state)), 1e-9)
    assert_close(smoothed.mean.mT, torch.from_numpy(np.array(exact.smoothed_state)), 1e-9)
    lag = torch.from_numpy(np.array(exact.smoothed_state_autocov[:, :, :-1]))
    assert_close(smoothed.lag_covariance.permute(1, 2, 0), lag, 1e-9)


def test_equal_matrices_of_each_step_are_the_constant_model():
    model, y = oscillator(), torch.randn(2, 12, 3, dtype=torch.float64)
    names = "transition", "observation", "process_noise", "observation_noise"
    repeated = {name: getattr(model, name).expand(12, -1, -1) for name in names}
    assert_close(replace(model, **repeated).smooth(y).mean, model.smooth(y).mean, 1e-12)
    x, z = replace(model, **repeated).simulate(12, seed=3)
    for one, other in zip((x, z), model.simulate(12, seed=3), strict=True):
        assert_close(one, other, 1e-12)
    forecast = replace(model, **repeated).forecast(y[:, :8], 4)
    for one, other in zip(forecast, model.forecast(y[:, :8], 4), strict=True):
        assert_close(one, other, 1e-12)


def test_inputs_are_what_they_add():
    """States and readings less the response to the inputs follow the model without them."""
    model, T = with_inputs(oscillator()), 15
    u = torch.randn(T, 2, dtype=torch.float64)
    y = torch.randn(T, 3, dtype=torch.float64)
    response = [torch.zeros(2, dtype=torch.float64)]
    for t in range(1, T):
        response.append(model.transition @ response[-1] + model.control @ u[t])
    response = torch.stack(response)
    shown = response @ model.observation.T + u @ model.feedthrough.T
    plain = replace(model, control=None, feedthrough=None)
    for call in ("filter", "smooth"):
        found, expected = getattr(model, call)(y, u), getattr(plain, call)(y - shown)
        assert_close(found.mean, expected.mean + response, 1e-11)
        assert_close(found.log_likelihood, expected.log_likelihood, 1e-11)
    mean, _ = model.forecast(y[:10], 5, u)
    expected, _ = plain.forecast((y - shown)[:10], 5)
    assert_close(mean, expected + shown[10:], 1e-11)
    (x, z), (x_0, z_0) = model.simulate(T, 1, u=u), plain.simulate(T, 1)
    assert_close(x, x_0 + response, 1e-11)
    assert_close(z, z_0 + shown, 1e-11)


def test_control_is_estimated():
    u = torch.randn(400, 2, dtype=torch.float64)
    model = with_inputs(oscillator())
    _, y = model.simulate(400, seed=2, u=u)
    start = replace(model, control=0 * model.control)
    found = fit_by_likelihood(start, y, ("control",), u=u)
    assert found.converged
    assert float((found.model.control - model.control).abs().max()) < 0.1
    assert not fit_by_likelihood(start, y, ("control",), steps=1, u=u).converged


def test_arrays_and_frames():
    pandas = pytest.importorskip("pandas")
    model, y = oscillator(), torch.randn(9, 3, dtype=torch.float64)
    expected = model.filter(y).mean
    frame = pandas.DataFrame(y.numpy(), index=range(100, 109), columns=list("abc"))
    for given in (y.numpy(), frame, y.numpy().astype("float32").astype("float64")):
        assert model.filter(given).mean.shape == expected.shape
    assert torch.equal(model.filter(frame).mean, expected)
    arrays = {name: getattr(model, name).numpy() for name in ("transition", "initial_mean")}
    assert torch.equal(replace(model, **arrays).filter(y).mean, expected)
    one = torch.ones(1, 1, dtype=torch.float64)
    walk = StateSpaceModel(one, one, one, one, one[0], one)
    series = pandas.Series([1.0, NAN, 2.0], index=[7, 8, 9])
    assert torch.equal(
        walk.filter(series).mean, walk.filter(torch.tensor([[1.0], [NAN], [2.0]]).double()).mean
    )


def test_no_series_of_the_batch_disturbs_another():
    y = observations(series=(2, 3))
    together = trend().smooth(y)
    assert together.mean.shape == (2, 3, 40, 3)
    assert_close(together.mean[1, 2], trend().smooth(y[1, 2]).mean, 1e-11)
    assert_close(together.log_likelihood[1, 0], trend().smooth(y[1, 0]).log_likelihood, 1e-11)


INPUTS = torch.randn(5, 2, dtype=torch.float64)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda y: with_inputs(oscillator()).filter(y), "u: expected the inputs .* got none"),
        (lambda y: oscillator().filter(y, INPUTS), "u: expected no inputs"),
        (lambda y: with_inputs(oscillator()).filter(y, INPUTS[:4]), "u: expected torch.float64 of"),
        (lambda y: with_inputs(oscillator()).filter(y, INPUTS * NAN), "u: expected finite"),
        (lambda y: varying(4).filter(y), "transition: expected a matrix for each of 5 steps"),
        (
            lambda y: replace(varying(4), process_noise=varying(3).process_noise),
            "process_noise: expected a matrix for each of 4 steps, got 3",
        ),
        (
            lambda y: trend().filter(y[:1, :2] * torch.tensor([1.0, NAN])),
            "too few; give these states a finite one",
        ),
        (lambda y: trend().simulate(5), "initial_covariance: expected finite variances"),
        (
            lambda y: trend((-math.inf, 1.0, 1.0)),
            "initial_covariance: expected a symmetric matrix of finite",
        ),
        (lambda y: fit_by_em(with_inputs(oscillator()), y), "takes no inputs"),
        (lambda y: fit_by_likelihood(varying(5), y, ("transition",)), "the same at all steps"),
        (lambda y: fit_by_likelihood(oscillator(), y, ("control",)), "of which the model has none"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.randn(5, 3, dtype=torch.float64))
