"""Error bars: exact for linear models, and intervals that cover for an inverse problem."""

import math

import pytest
import torch

from pyneural import models, nn, pde
from pyneural.metrics import expected_coverage
from pyneural.models.physics import posterior as module
from pyneural.models.physics.posterior import Estimate
from pyneural.training import LevenbergMarquardt

BOX = pde.Box(x=(-1, 1), y=(-1, 1))
TIMES = pde.Box(t=(0, 2))


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def linear(noise=0.3, weight=1.0, count=40, seed=1):
    """A fit of w . x + b, whose covariance the textbooks have."""
    x = draw(count, 2).clamp(-1, 1)
    values = (x @ torch.tensor([[1.0], [-2.0]]).double()) + 0.5 + noise * draw(count, 1, seed=seed)
    network = nn.MLP(2, [], 1).double()
    data = {"data": pde.Data(x, values, domain=BOX)}
    pinn = models.PINN(network, data, domain=BOX, weights={"data": weight})
    pinn.fit(LevenbergMarquardt(4, order=1, damping=1e-9, momentum=0), progress=False)
    design = torch.cat([x, torch.ones(count, 1)], 1).double()
    return pinn, design, values


@pytest.mark.parametrize("weight", [1.0, 7.0])
def test_linear_regression(weight):
    pinn, design, values = linear(weight=weight)
    found = pinn.posterior()
    best = torch.linalg.lstsq(design, values).solution
    square = float((values - design @ best).square().sum()) / (40 - 3)
    covariance = square * torch.linalg.inv(design.T @ design)
    assert found.count == pytest.approx(3, rel=1e-9)
    assert found.noise == pytest.approx(math.sqrt(square), rel=1e-9)
    layer = pinn.network.layers[0]

    def theta():
        return torch.cat([layer.weight[0], layer.bias])

    torch.testing.assert_close(found.covariance(theta), covariance, rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(
        found.deviation(theta), covariance.diagonal().sqrt(), rtol=1e-8, atol=0
    )
    x = draw(9, 2, seed=4)
    rows = torch.cat([x, torch.ones(9, 1)], 1).double()
    expected = torch.einsum("np,pq,nq->n", rows, covariance, rows).sqrt()[:, None]
    torch.testing.assert_close(found.predict(x), expected, rtol=1e-8, atol=0)
    slope = found.predict(x, "u.x")
    torch.testing.assert_close(slope, covariance[0, 0].sqrt().expand(9, 1), rtol=1e-8, atol=0)


def test_intervals_of_a_linear_fit_cover_as_often_as_they_say():
    """And those of half the width as often as they should not."""
    levels, narrow = [], []
    for seed in range(100):
        layer = (pinn := linear(seed=1000 + seed)[0]).network.layers[0]
        posterior = pinn.posterior(noise=0.3)
        for parameter, truth in ((layer.bias, 0.5), (layer.weight[0, :1], 1.0)):
            found = posterior.estimate(lambda parameter=parameter: parameter * 1)
            levels.append(found.credible_level(truth))
            half = Estimate(found.value, found.deviation / 2)
            narrow.append(half.credible_level(truth))
    coverage = expected_coverage(torch.tensor(levels)).coverage[95]
    assert abs(float(coverage) - 0.95) < 3 * math.sqrt(0.95 * 0.05 / 100)
    coverage = expected_coverage(torch.tensor(narrow)).coverage[95]
    assert abs(float(coverage) - 0.673) < 0.14  # erf(1.96 / 2 / sqrt(2)), three deviations
    low, high = Estimate(2.0, 0.5).interval(0.8)
    assert Estimate(2.0, 0.5).credible_level(low) == pytest.approx(0.8, rel=1e-12)
    assert Estimate(2.0, 0.5).credible_level(high) == pytest.approx(0.8, rel=1e-12)


def test_noise_that_is_known():
    pinn, design, _ = linear(weight=3.0)
    found = pinn.posterior(noise=0.1)
    covariance = 0.01 * torch.linalg.inv(design.T @ design)
    bias = pinn.network.layers[0].bias
    assert found.noise == 0.1
    assert float(found.deviation(lambda: bias * 1)) == pytest.approx(float(covariance[2, 2].sqrt()))


def test_parts_of_a_gradient_at_a_time(monkeypatch):
    pinn, _, _ = linear()
    found, x = pinn.posterior(), draw(9, 2)
    whole = found.predict(x)
    monkeypatch.setattr(module, "_CHUNK", 6)
    torch.testing.assert_close(found.predict(x), whole)


class Decay(pde.Equation):
    """u_t + rate u = 0."""

    inputs, outputs = "t", "u"

    def __init__(self, rate=1.0):
        super().__init__()
        self.rate = torch.nn.Parameter(torch.tensor(rate, dtype=torch.float64))
        self.log_scale = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))

    def residual(self, u):
        return u.t + self.rate * u


T = torch.linspace(0, 2, 30, dtype=torch.float64)[:, None]


def inverse(seed, noise=0.02, weight=10.0, like=None, steps=25):
    torch.manual_seed(3)
    values = torch.exp(-1.5 * T) + noise * draw(30, 1, seed=seed)
    data, equation = {"data": pde.Data(T, values, domain=TIMES)}, Decay()
    network = nn.MLP(1, [5], 1, input_range=TIMES.range).double()
    pinn = models.PINN(
        network, data, equation=equation, domain=TIMES, points=T, weights={"residual": weight}
    )
    if like is not None:
        pinn.warm_start(like, ("network", "equation"))
    pinn.fit(LevenbergMarquardt(steps, order=2), progress=False)
    return pinn


def test_coefficients_are_marginalised_over_the_network():
    """By the Schur complement, of derivatives that autograd takes of the residuals."""
    pinn = inverse(0)
    found = pinn.posterior()
    parameters = [*pinn.network.parameters(), pinn.equation.rate]

    def residuals():
        u = pinn.network
        parts = pinn.conditions["data"].residuals(u)[0].flatten() / 30**0.5
        inside = pinn.equation.residuals(u, T)[0] * (10 / 30) ** 0.5
        return torch.cat([parts, inside])

    rows = []
    for r in residuals():
        grads = torch.autograd.grad(r, parameters, retain_graph=True, materialize_grads=True,
                                    allow_unused=True)  # fmt: skip
        rows.append(torch.cat([g.reshape(-1) for g in grads]))
    j = torch.stack(rows)
    a = j.T @ j
    inner = a[:-1, :-1] + 1e-13 * torch.linalg.eigvalsh(a)[-1] * torch.eye(len(a) - 1).double()
    schur = a[-1, -1] - a[-1, :-1] @ torch.linalg.solve(inner, a[:-1, -1])
    square = float(residuals()[:30].detach().square().sum()) / (30 - found.count)
    rate = found.coefficients["equation.rate"]
    assert rate.deviation == pytest.approx(math.sqrt(square / float(schur)), rel=1e-2)
    assert rate.value == pinn.equation.rate.item()
    assert 1.5 < found.count < 8
    assert found.estimate(lambda: pinn.equation.rate.exp()).deviation == pytest.approx(
        math.exp(rate.value) * rate.deviation, rel=1e-9
    )


def test_what_nothing_determines_is_wide():
    found = inverse(0).posterior().coefficients
    assert set(found) == {"equation.rate", "equation.log_scale[0]", "equation.log_scale[1]"}
    assert found["equation.log_scale[1]"].deviation > 1e3 * found["equation.rate"].deviation


def test_intervals_cover():
    """90 % intervals of the rate and of the solution contain the truth about as often."""
    count, inside, fields, clean = 40, 0, [], inverse(0, noise=0.0)
    for seed in range(count):
        pinn = inverse(100 + seed, like=clean, steps=6)
        found = pinn.posterior()
        low, high = found.coefficients["equation.rate"].interval(0.9)
        inside += low < 1.5 < high
        error = (pinn.predict(T) - torch.exp(-1.5 * T)).abs() / found.predict(T)
        fields.append(float((error < 1.645).double().mean()))
    spread = 3 * math.sqrt(0.09 / count)
    assert abs(inside / count - 0.9) < spread
    assert abs(sum(fields) / count - 0.9) < 2 * spread  # neighbours err together


def test_frozen_parameters_are_known():
    pinn = inverse(0)
    wide = pinn.posterior().coefficients["equation.rate"].deviation
    pinn.network.requires_grad_(False)
    found = pinn.posterior().coefficients
    assert found["equation.rate"].deviation < wide
    pinn.equation.rate.requires_grad_(False)
    pinn.network.requires_grad_(True)
    assert "equation.rate" not in pinn.posterior().coefficients


def test_bad_arguments(monkeypatch):
    pinn, _, _ = linear()
    for data in ("wall", ()):
        with pytest.raises(ValueError, match=r"PINN.posterior: data: expected .*; name the meas"):
            pinn.posterior(data)
    with pytest.raises(ValueError, match=r"posterior: noise: expected a finite number > 0, got 0"):
        pinn.posterior(noise=0.0)
    with pytest.raises(ValueError, match=r"estimate: function: expected one number, got \[2\]"):
        pinn.posterior().estimate(lambda: pinn.network.layers[0].weight[0])
    with pytest.raises(ValueError, match="that depends on what is trained"):
        pinn.posterior().deviation(lambda: torch.ones(2))
    with pytest.raises(ValueError, match=r"interval: level: expected a number in \(0, 1\), got 90"):
        Estimate(1.0, 0.1).interval(90)
    exact = linear()[0]
    with torch.no_grad():
        exact.network.layers[0].weight.zero_()
        exact.network.layers[0].bias.zero_()
        exact.conditions["data"].target.zero_()
    with pytest.raises(ValueError, match=r"data: expected residuals that are not all 0, got 0"):
        exact.posterior(noise=0.1)
    with pytest.raises(ValueError, match=r"parameters: expected torch.float64, got torch.float32"):
        linear()[0].float().posterior()
    few, _, _ = linear(count=3)
    with pytest.raises(ValueError, match=r"more measurements than the 3.0 parameters .* got 3"):
        few.posterior()
    monkeypatch.setattr(module, "available_memory", lambda device: 100)
    with pytest.raises(MemoryError, match=r"0\.\d .B for 3 of them; use a smaller network"):
        pinn.posterior()
