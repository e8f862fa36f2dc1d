"""A pendulum from theory, from data, and from both."""

import math

import pytest
import torch

from pyneural.models import Pendulum, model_pendulum
from pyneural.training import LBFGS, Adam

SHORT = Adam(150, lr=1e-2), LBFGS(150)


def grid(pendulum):
    return torch.linspace(0, pendulum.duration, 201, dtype=torch.float64)


def error(pinn, t, expected):
    found = pinn.predict(t[:, None])[:, 0]
    return float((found - expected).norm() / expected.norm())


def small_angles(pendulum, t):
    """The theory's solution in closed form."""
    rate = math.sqrt(pendulum.omega**2 - pendulum.delta**2)
    wave = torch.cos(rate * t) + pendulum.delta / rate * torch.sin(rate * t)
    return pendulum.start * torch.exp(-pendulum.delta * t) * wave


def test_times_that_were_not_integrated_are_refused():
    pendulum = Pendulum(duration=0.1)  # which float32 rounds up
    assert pendulum.angle(torch.tensor([0.0, 0.1])).shape == (2,)
    assert pendulum.angle(torch.empty(0)).shape == (0,)
    for time in (-0.01, 0.11, math.nan):
        with pytest.raises(ValueError, match=r"Pendulum.angle: t: expected times in \[0, 0.1\]"):
            pendulum.angle(torch.tensor([0.05, time]))


def test_the_angle_is_that_of_another_solver():
    scipy = pytest.importorskip("scipy.integrate")
    pendulum = Pendulum(delta=0.2, omega=1.5, start=2.0, duration=7.0)
    t = torch.rand(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 7
    t[0, 0], t[1, 1] = 0.0, 7.0
    order = t.flatten().argsort()
    solved = scipy.solve_ivp(
        lambda _, y: [y[1], -0.4 * y[1] - 2.25 * math.sin(y[0])], (0, 7), [2.0, 0.0],
        t_eval=t.flatten()[order].numpy(), rtol=1e-11, atol=1e-12,
    )  # fmt: skip
    expected = torch.empty(120, dtype=torch.float64)
    expected[order] = torch.from_numpy(solved.y[0])
    torch.testing.assert_close(pendulum.angle(t).flatten(), expected, rtol=0, atol=1e-8)


def test_measurements_have_the_noise_asked_for():
    pendulum = Pendulum()
    t, angles = pendulum.measure(3000, 0.2, seed=1)
    assert t.shape == angles.shape == (3000, 1)
    assert 0 <= float(t.min()) < 0.1 < 19.9 < float(t.max()) <= 20
    assert float((angles - pendulum.angle(t)).std()) == pytest.approx(0.2, rel=0.05)


def test_theory_alone_gives_what_the_theory_says():
    pendulum = Pendulum(duration=6.0)
    t = grid(pendulum)
    pinn = model_pendulum(pendulum, "theory", phases=SHORT)
    assert error(pinn, t, small_angles(pendulum, t)) < 0.02
    assert error(pinn, t, pendulum.angle(t)) > 0.05  # which is not right


def test_data_alone_and_both_come_near_the_truth():
    pendulum = Pendulum(duration=6.0)
    t = grid(pendulum)
    truth = pendulum.angle(t)
    many, few = pendulum.measure(400, 0.02, 0), pendulum.measure(6, 0.02, 0)
    by_data = [model_pendulum(pendulum, "data", m, phases=SHORT) for m in (few, many)]
    assert error(by_data[0], t, truth) > 0.2
    assert error(by_data[1], t, truth) < 0.04
    both = model_pendulum(pendulum, "both", few, phases=SHORT)
    assert error(both, t, truth) < 0.1
    learned = [abs(p.item()) for p in both.equation.parameters()]
    assert learned[1] < 0.98  # a large swing is slower


@pytest.mark.parametrize(
    ("way", "measured", "message"),
    [
        ("guess", None, "way: expected one of theory, data, both, got 'guess'"),
        ("data", None, "measured: expected times and angles for 'data', got none"),
        ("theory", (torch.zeros(1, 1), torch.zeros(1, 1)), "expected none for 'theory', got some"),
    ],
)
def test_what_makes_no_sense_is_refused(way, measured, message):
    with pytest.raises(ValueError, match=message):
        model_pendulum(Pendulum(), way, measured)
    with pytest.raises(ValueError, match="measure: count: expected a whole number >= 1"):
        Pendulum().measure(0, 0.1, 0)
    with pytest.raises(ValueError, match="measure: noise: expected radians >= 0, got -1"):
        Pendulum().measure(5, -1, 0)
