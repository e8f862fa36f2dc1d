"""Likelihood by the probability-flow equation, against float64 and against closed forms."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from pyneural.data import toys
from pyneural.models import DDPM, FlowMatching, MLPDenoiser, UNetDenoiser
from pyneural.ode import odeint

M, S = 0.7, 0.4  # of the normal distribution whose best denoiser is known


class LinearDenoiser(MLPDenoiser):
    """The best denoiser of N(M, S^2) in each of D columns, which is linear in x."""

    def __init__(self, schedule, target, features=2):
        super().__init__(features, [4])
        self.schedule, self.target = schedule, target

    def slope_and_offset(self, t):
        place = t * self.schedule.steps - 1
        low = int(place.clamp(0, self.schedule.steps - 2))
        ratios = self.schedule.log_noise_to_signal()
        ratio = ratios[low] + (place - low) * (ratios[low + 1] - ratios[low])
        alpha, sigma = torch.sigmoid(-2 * ratio).sqrt(), torch.sigmoid(2 * ratio).sqrt()
        k = alpha * S**2 / ((alpha * S) ** 2 + sigma**2)
        x0 = k, M - k * alpha * M
        eps = (1 - alpha * x0[0]) / sigma, -alpha * x0[1] / sigma
        return [self.target.of(a, b, alpha, sigma) for a, b in zip(x0, eps, strict=True)]

    def value_and_divergence(self, x, t, c=None):
        slope, offset = self.slope_and_offset(t.double())
        return slope * x + offset, (slope * x.shape[1]).expand(len(x))


@pytest.mark.parametrize("target", ["epsilon", "v", "x0"])
@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_density_of_a_normal_distribution(target, schedule):
    model = DDPM(MLPDenoiser(2, [4]), schedule, target).double()
    model.denoiser = LinearDenoiser(model._schedule, model._target)
    x = torch.tensor([[M, M], [0.0, 1.0], [1.5, -0.3]], dtype=torch.float64)
    ratio = float(model._schedule.sigma[1] / model._schedule.alpha[1])
    data = torch.distributions.Normal(M, math.hypot(S, ratio))  # with the noise of one step
    found = model.log_prob(x, rtol=1e-8, atol=1e-8)
    # What is left of the data at T is the error: alpha_T = 0.006 of the linear schedule.
    torch.testing.assert_close(found, data.log_prob(x).sum(1), rtol=0, atol=0.02)
    torch.testing.assert_close(found.exp(), data.log_prob(x).sum(1).exp(), rtol=0.01, atol=1e-4)


def by_jacobian(model, x):
    """Change of variables with autograd's Jacobian of a fixed-step integration, in float64."""
    ratios = model._schedule.log_noise_to_signal()

    def to_noise(row):
        y = model._schedule.alpha[1] * (row - model.shift) / model.scale

        def velocity(ratio, y):
            place = (torch.searchsorted(ratios, ratio) - 1).clamp(0, len(ratios) - 2)
            t = place + 1 + (ratio - ratios[place]) / (ratios[place + 1] - ratios[place])
            alpha, sigma = torch.sigmoid(-2 * ratio).sqrt(), torch.sigmoid(2 * ratio).sqrt()
            f = model(y, (t / model.steps).expand(1))
            return sigma * (alpha * f + sigma * y - sigma * y)  # of the target v

        times = ratios[[0, -1]].tolist()
        return odeint(velocity, y[None], times, method="rk4", steps=200)[-1][0]

    found = []
    for row in x:
        jacobian = torch.autograd.functional.jacobian(to_noise, row)
        normal = -0.5 * to_noise(row).square().sum() - len(row) / 2 * math.log(2 * math.pi)
        found.append(normal + jacobian.det().abs().log())
    return torch.stack(found).detach()


def test_likelihood_of_a_diffusion_by_the_change_of_variables():
    torch.manual_seed(0)
    model = DDPM(MLPDenoiser(2, [16]), "cosine", "v", steps=20).double()
    model.shift.copy_(torch.tensor([1.0, -2.0]))
    model.scale.copy_(torch.tensor([0.5, 3.0]))
    x = model.shift + model.scale * torch.randn(2, 2, dtype=torch.float64)
    found = model.log_prob(x, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(found, by_jacobian(model, x), rtol=0, atol=1e-3)


@pytest.mark.parametrize("kind", [DDPM, FlowMatching])
def test_float32_within_two_hundredths_of_a_nat_of_float64(kind):
    """Each row, of a model that was trained for a while: its default tolerance and rounding."""
    torch.manual_seed(0)
    x = toys.EightGaussians().sample(4000, 0)
    model = kind(MLPDenoiser(2, [64, 64]))
    model.compile(lambda parameters: torch.optim.Adam(parameters, 5e-3))
    model.fit(x, batch_size=200, epochs=16, verbose=0)
    rows = x[:40]
    exact = copy.deepcopy(model).double().log_prob(rows.double(), rtol=1e-9, atol=1e-9)
    difference = (model.log_prob(rows).double() - exact).abs()
    assert difference.max() < 0.02
    assert exact.mean() > -4.15  # it has learnt something: a Gaussian has -4.26


def test_the_density_integrates_to_one():
    torch.manual_seed(0)
    model = DDPM(MLPDenoiser(2, [16]), "cosine", "v", steps=100)
    line = torch.linspace(-8, 8, 120)
    density = model.log_prob(torch.cartesian_prod(line, line), rtol=1e-4, atol=1e-4).exp()
    assert float(density.sum() * (line[1] - line[0]) ** 2) == pytest.approx(1, abs=0.01)


def test_conditions_and_refusals():
    model = DDPM(MLPDenoiser(2, [8], condition=3), steps=20)
    x = torch.randn(4, 2)
    first, again = (model.log_prob(x, torch.full((4,), k)) for k in (0, 1))
    assert first.shape == (4,)
    assert not torch.equal(first, again)
    images = DDPM(UNetDenoiser((1, 4, 4), width=8, heads=2), steps=20, bounds=(-1, 1))
    with pytest.raises(ValueError, match="log_prob: denoiser: expected an MLPDenoiser"):
        images.log_prob(torch.zeros(1, 1, 4, 4))
    with pytest.raises(ValueError, match="nan or infinite"):
        model.log_prob(x / 0)
