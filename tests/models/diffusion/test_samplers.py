"""Schedules, targets and samplers against closed forms."""

import math

import pytest
import torch

from pyneural.models.diffusion.samplers import ddim_steps
from pyneural.models.diffusion.schedule import NoiseSchedule
from pyneural.models.diffusion.targets import TARGETS

SCHEDULES = {"linear": NoiseSchedule.linear(), "cosine": NoiseSchedule.cosine()}
for_all_targets = pytest.mark.parametrize("target", TARGETS)
for_all_schedules = pytest.mark.parametrize("name", SCHEDULES)


@for_all_schedules
def test_signal_and_noise_share_the_variance(name):
    schedule = SCHEDULES[name]
    total = schedule.alpha.square() + schedule.sigma.square()
    torch.testing.assert_close(total, torch.ones_like(total))
    assert schedule.alpha[0] == 1
    assert schedule.alpha[-1] < 0.01
    assert schedule.alpha.dtype == torch.float64


def test_linear_schedule_of_the_paper():
    """Variances from 1e-4 to 0.02 in 1,000 steps, as in section 4 of the paper."""
    beta = 1e-4 + (0.02 - 1e-4) * torch.arange(1000, dtype=torch.float64) / 999
    expected = (1 - beta).log().sum().exp()
    torch.testing.assert_close(SCHEDULES["linear"].alpha[-1] ** 2, expected)


def test_cosine_schedule_of_the_paper():
    t = 500
    f = [math.cos((s / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for s in (t, 0)]
    assert float(SCHEDULES["cosine"].alpha[t] ** 2) == pytest.approx(f[0] / f[1], rel=1e-12)


@for_all_targets
def test_a_target_tells_sample_and_noise(target):
    x0, eps = torch.randn(2, 7, dtype=torch.float64)
    alpha, sigma = 0.6, 0.8
    f = TARGETS[target].of(x0, eps, torch.tensor(alpha), torch.tensor(sigma))
    x = alpha * x0 + sigma * eps
    (u, w), (p, q) = TARGETS[target].sample_and_noise(alpha, sigma)
    torch.testing.assert_close(u * x + w * f, x0)
    torch.testing.assert_close(p * x + q * f, eps)


@for_all_targets
@for_all_schedules
def test_all_targets_give_the_same_steps(target, name):
    schedule = SCHEDULES[name]
    times = schedule.times(10)
    x0, eps, xi = torch.randn(3, dtype=torch.float64)
    results = []
    for eta in (0.0, 0.5, 1.0):
        steps = ddim_steps(schedule, TARGETS[target], times, eta)
        assert steps.dtype == torch.float64
        for (a, b, c), t, s in zip(steps, times, [*times[1:], 0], strict=True):
            alpha, sigma = schedule.alpha[t], schedule.sigma[t]
            f = TARGETS[target].of(x0, eps, alpha, sigma)
            found = a * (alpha * x0 + sigma * eps) + b * f + c * xi
            # Eq. 12 of Song, Meng and Ermon, as they write it.
            ratio = (schedule.alpha[t] / schedule.alpha[s]) ** 2
            noise = eta * schedule.sigma[s] / sigma * (1 - ratio).sqrt()
            rest = (schedule.sigma[s] ** 2 - noise**2).clamp(min=0).sqrt()
            results.append((found, schedule.alpha[s] * x0 + rest * eps + noise * xi))
    found, expected = map(torch.stack, zip(*results, strict=True))
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


@for_all_schedules
def test_with_all_times_it_is_the_posterior_of_the_paper(name):
    """Eq. 7 of Ho, Jain and Abbeel."""
    schedule = SCHEDULES[name]
    steps = ddim_steps(schedule, TARGETS["x0"], schedule.times(), eta=1.0)
    for t in (1, 2, 500, 1000):
        a, b, c = steps[schedule.steps - t]
        bar, bar_before = schedule.alpha[t] ** 2, schedule.alpha[t - 1] ** 2
        alpha = bar / bar_before
        beta = 1 - alpha
        torch.testing.assert_close(a, alpha.sqrt() * (1 - bar_before) / (1 - bar))
        torch.testing.assert_close(b, bar_before.sqrt() * beta / (1 - bar))
        torch.testing.assert_close(c**2, (1 - bar_before) / (1 - bar) * beta)


@for_all_targets
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_samples_of_a_normal_distribution(target, eta):
    """What a perfect denoiser of N(m, s^2) says is linear in x, so mean and variance are known."""
    m, s = 0.7, 0.4
    schedule = NoiseSchedule.cosine(400)
    times = schedule.times()
    mean, variance = torch.zeros(()), torch.ones(())
    for (a, b, c), t in zip(ddim_steps(schedule, TARGETS[target], times, eta), times, strict=True):
        alpha, sigma = schedule.alpha[t], schedule.sigma[t]
        total = (alpha * s) ** 2 + sigma**2
        # E[x_0 | x] = m + k (x - alpha m), and the noise with it.
        k = alpha * s**2 / total
        x0 = torch.stack([k, m - k * alpha * m])
        eps = (torch.tensor([1.0, 0.0]) - alpha * x0) / sigma
        slope, offset = TARGETS[target].of(x0, eps, alpha, sigma)
        mean = (a + b * slope) * mean + b * offset
        variance = (a + b * slope) ** 2 * variance + c**2
    assert float(mean) == pytest.approx(m, abs=2e-3)
    assert float(variance.sqrt()) == pytest.approx(s, rel=0.02)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: NoiseSchedule(torch.tensor([0.9, 0.95])), "expected values that fall"),
        (lambda: NoiseSchedule(torch.tensor([0.9, 0.0])), "above 0"),
        (lambda: NoiseSchedule.linear(0), "steps: expected a whole number"),
        (lambda: NoiseSchedule.linear(10, 0.5, 0.1), "0 < first <= last"),
        (lambda: NoiseSchedule.cosine(10).times(11), "from 1 to 10"),
        (lambda: ddim_steps(NoiseSchedule.cosine(10), TARGETS["v"], [1, 2]), "falling times"),
        (lambda: ddim_steps(NoiseSchedule.cosine(10), TARGETS["v"], []), "falling times"),
        (lambda: ddim_steps(NoiseSchedule.cosine(10), TARGETS["v"], [11]), "falling times"),
        (lambda: ddim_steps(NoiseSchedule.cosine(10), TARGETS["v"], [3], 1.5), "eta"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
