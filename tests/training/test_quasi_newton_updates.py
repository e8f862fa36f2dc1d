"""The updates of SSBroyden and SSBFGS are the published ones."""

import pytest
import torch

from pyneural.training import SSBFGS, SSBroyden
from pyneural.training.solvers import inverse_hessian
from pyneural.training.solvers.inverse_hessian import Curvature, InverseHessian, ssbfgs, ssbroyden

PHASES = [SSBroyden, SSBFGS]
CPU = torch.device("cpu")


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def published(name, h, s, y, alpha, gradient, first):
    """The update as Urban, Stefanou and Pons write it, with dense matrices."""
    hy, ys, size = h @ y, y @ s, len(s)
    yhy = y @ hy
    b, hk = -alpha * (s @ gradient) / ys, yhy / ys
    a = b * hk - 1
    v = yhy.sqrt() * (s / ys - hy / yhy)
    if name == "ssbfgs":
        tau, phi = (hk if first else torch.clamp(ys / (-alpha * (s @ gradient)), max=1.0)), 1.0
    else:
        c = (a / (1 + a)).sqrt()
        rho = torch.clamp(hk * (1 - c), max=1.0)
        theta = torch.maximum((rho - 1) / a, torch.minimum(1 / rho, (1 - b) / b))
        sigma = 1 + theta * a
        tau1 = torch.clamp(1 / b, max=1.0)
        power = sigma ** (-1 / (size - 1))
        above, below = tau1 * torch.minimum(power, 1 / theta), torch.minimum(tau1 * power, sigma)
        tau = hk / sigma if first else above if theta > 0 else below
        phi = (1 - theta) / (1 + a * theta)
    return (h - torch.outer(hy, hy) / yhy + phi * torch.outer(v, v)) / tau + torch.outer(s, s) / ys


@pytest.mark.parametrize("rule", [ssbfgs, ssbroyden])
@pytest.mark.parametrize("block", [1, 7, 1 << 18])
def test_update_is_the_published_one(rule, block, monkeypatch):
    size = 9
    monkeypatch.setattr(inverse_hessian, "_BLOCK", block * size)
    hessian, h = InverseHessian(size, CPU, rule), torch.eye(size, dtype=torch.float64)
    a = normal(size, size)
    curvature = a @ a.T + 0.01 * torch.eye(size)
    gradient = normal(size, seed=1)
    for number in range(25):
        alpha = [0.1, 1.0, 3.0][number % 3]  # steps too short and too long: b above and below 1
        s = -alpha * (h @ gradient)
        after = gradient + curvature @ s + 0.1 * (s.norm() * normal(size, seed=2 + number))
        y = after - gradient
        if y @ s <= 0:
            y = curvature @ s
            after = gradient + y
        expected = published(rule.__name__, h, s, y, alpha, gradient, number == 0)
        product = hessian.update(s, y, float(-alpha * (s @ gradient)), after)
        torch.testing.assert_close(product, expected @ after, rtol=1e-9, atol=1e-12)
        if number % 4 == 0:  # else it is made in the pass of the next one
            hessian.times()
            torch.testing.assert_close(hessian.matrix, expected, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(expected @ y, s, rtol=1e-9, atol=1e-12)  # the secant equation
        assert torch.linalg.eigvalsh(expected).min() > 0
        h, gradient = expected, after


def test_scale_and_parameter_are_the_published_ones():
    """On all sides of each minimum and maximum."""
    generator = torch.Generator().manual_seed(5)
    seen = set()
    for b, extra in (4 * torch.randn(300, 2, generator=generator, dtype=torch.float64)).exp():
        h = (1 + extra / 50) / b
        a = b * h - 1
        rho = torch.clamp(h * (1 - (a / (1 + a)).sqrt()), max=1.0)
        low, high, middle = (rho - 1) / a, 1 / rho, (1 - b) / b
        theta = torch.maximum(low, torch.minimum(high, middle))
        sigma, least = 1 + theta * a, torch.clamp(1 / b, max=1.0)
        power = sigma ** (-1 / 6)
        above, below = least * torch.minimum(power, 1 / theta), torch.minimum(least * power, sigma)
        tau, phi = ssbroyden(Curvature(float(b), float(h), 7, first=False))
        assert tau == pytest.approx(float(above if theta > 0 else below), rel=1e-6)
        assert phi == pytest.approx(float((1 - theta) / sigma), rel=1e-6)
        assert ssbfgs(Curvature(float(b), float(h), 7, first=False)) == (float(least), 1.0)
        seen.add([low, high, middle].index(theta))
    assert seen == {0, 1, 2}


@pytest.mark.parametrize("rule", [ssbfgs, ssbroyden])
def test_quadratic_ends_in_as_many_exact_searches_as_it_has_dimensions(rule):
    """As with every method of the Broyden family (Nocedal and Wright 2006, theorem 6.4)."""
    size = 8
    a = normal(size, size)
    curvature, hessian = a @ a.T + torch.eye(size), InverseHessian(size, CPU, rule)
    point, sizes = normal(size, seed=3), []
    gradient = curvature @ point
    direction = -gradient
    for _ in range(size):
        sizes.append(float(gradient.norm()))
        alpha = float(-(gradient @ direction) / (direction @ curvature @ direction))
        s = alpha * direction
        point = point + s
        after = curvature @ point
        product = hessian.update(s, after - gradient, float(-alpha * (s @ gradient)), after)
        gradient, direction = after, -product
    assert float(gradient.norm()) < 1e-9 * sizes[0] < sizes[-1]
