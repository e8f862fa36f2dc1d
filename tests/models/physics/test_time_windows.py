"""Windows of time: each begins where the last has ended, and all together are one solution."""

import math

import numpy as np
import pytest
import torch

from pyneural import models, nn, pde
from pyneural.models.physics.time_windows import State
from pyneural.training import LBFGS, Adam, CheckpointError, callbacks

SPACE = pde.Box(x=(0, math.pi))
TIMES = [0.0, 0.4, 1.0]


class Heat(pde.Equation):
    inputs, outputs = "tx", "u"

    def residual(self, u):
        return u.t - u.xx


def exact(points):
    return (torch.exp(-points[:, 0]) * torch.sin(points[:, 1]))[:, None]


def sine(x):
    return torch.sin(x)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def soft(domain, start, dtype=torch.float64, hidden=(10,)):
    drawing = {"dtype": dtype, "generator": seeded()}
    conditions = {
        "start": pde.Initial(domain, start, 30, **drawing),
        "ends": pde.Dirichlet(domain, 0.0, 30, **drawing),
    }
    network = nn.MLP(2, hidden, 1, input_range=domain.range).to(dtype)
    return models.PINN(
        network, conditions, equation=Heat(), domain=domain, points=60, generator=seeded()
    )


def hard(domain, start, dtype=torch.float64):
    network = nn.MLP(2, [8], 1, input_range=domain.range).to(dtype)
    first = float(domain.low[0])
    built = pde.Hard(network, "tx", start, lambda t, x: (t - first) * x * (math.pi - x))
    return models.PINN(built, {}, equation=Heat(), domain=domain, points=60, generator=seeded())


def march(make=hard, **options):
    torch.manual_seed(0)
    return models.TimeWindows(make, SPACE, TIMES, start=sine, **options)


def points(n=200):
    domain = pde.Box(t=(0, 1), x=(0, math.pi))
    return domain.sample(n, generator=seeded(7), dtype=torch.float64)


@pytest.mark.parametrize(("make", "bound"), [(soft, 3e-2), (hard, 2e-3)])
def test_they_solve_the_heat_equation(make, bound):
    windows = march(make)
    reference = points(), exact(points())
    reports = windows.fit(LBFGS(120), reference=reference, steps_per_epoch=60, progress=False)
    assert len(reports) == len(windows.windows) == 2
    assert windows.relative_l2(*reference) < bound
    early = points()[:, 0] <= 0.4
    first = windows.windows[0].relative_l2(points()[early], exact(points())[early])
    assert reports[0].history["error"][-1] == pytest.approx(first, rel=1e-12)


def test_the_next_window_begins_with_the_state_and_its_derivatives():
    windows = march(hard)
    windows.fit(Adam(5), progress=False)
    first, second = windows.windows
    x = torch.rand(20, 1, dtype=torch.float64, generator=seeded()) * math.pi
    joint = torch.cat([torch.full_like(x, 0.4), x], 1)
    derivatives = [(1,), (1, 1), (1, 1, 1)]
    for mine, expected in zip(
        second.network.jet(joint, derivatives), first.network.jet(joint, derivatives), strict=True
    ):
        torch.testing.assert_close(mine, expected, rtol=1e-10, atol=1e-10)
    before = [p.clone() for p in first.parameters()]
    second.fit(Adam(3), progress=False)
    assert all(torch.equal(*pair) for pair in zip(before, first.parameters(), strict=True))
    torch.testing.assert_close(second.network(joint), first.network(joint), rtol=1e-12, atol=1e-12)


def test_a_network_begins_with_the_course_of_the_last_window():
    windows = march(soft)
    windows.fit(Adam(3), progress=False)
    first = windows.windows[0]
    second = windows._begin(1) if windows.windows.pop() else None
    x = first.domain.sample(10, dtype=torch.float64)
    later = x.clone()
    later[:, 0] = 0.4 + 0.6 * x[:, 0] / 0.4
    torch.testing.assert_close(second.network(later), first.network(x))
    start = second.conditions["start"]
    torch.testing.assert_close(start.target, first.network(start.points).detach())


def test_a_state_stays_what_it_was_and_takes_the_dtype():
    window = soft(SPACE.with_time(0, 1), sine, dtype=torch.float32)
    state = State(window, 0.5)
    x = torch.rand(6, dtype=torch.float64)
    expected = window.network(torch.stack([torch.full_like(x, 0.5), x], 1).float())
    with torch.no_grad():
        next(window.parameters()).add_(1.0)
    value = state(t=torch.zeros(6), x=x)
    assert torch.equal(value, expected)
    assert not value.requires_grad
    initial = pde.Initial(SPACE.with_time(0.5, 1), state, 5)
    assert initial.target.shape == (5, 1)


def test_predictions_come_from_the_window_of_the_time():
    windows = march(soft)
    windows.fit(Adam(2), progress=False)
    x = torch.tensor([[0.9, 1.0], [0.1, 2.0], [0.4, 1.0], [1.0, 0.5], [0.0, 0.5]]).double()
    first, second = (window.network(x).detach() for window in windows.windows)
    expected = torch.where((x[:, :1] <= 0.4), first, second)
    assert torch.equal(windows.predict(x), expected)
    assert np.array_equal(windows.predict(x.numpy()), expected.numpy())
    slopes = windows.predict(x, "u.t", lambda u, t: u.xx * t)
    assert slopes.shape == (5, 2)
    assert torch.equal(slopes[:1], windows.windows[1].predict(x[:1], "u.t", lambda u, t: u.xx * t))
    assert windows.predict(x[:0]).shape == (0, 1)
    with pytest.raises(ValueError, match="predict: x: expected times 0 to 1, got 1 others"):
        windows.predict(torch.tensor([[1.1, 0.0]]).double())
    with pytest.raises(ValueError, match="predict: expected trained windows, got none; call fit"):
        march().predict(x)


@pytest.mark.parametrize("make", [soft, hard])
def test_a_training_is_resumed_bit_by_bit(make, tmp_path):
    def train(pause=None, **options):
        def look(run):
            begins = float(run.model.domain.low[0])
            if pause == (begins, run.steps):
                run.pause("time limit")

        windows = march(make)
        more = [callbacks.AdaptivePoints(2), callbacks.Every(1, look)]
        reports = windows.fit([Adam(3), LBFGS(4)], callbacks=more, progress=False, **options)
        return windows, reports

    whole, _ = train()
    x = points()
    for number, pause in enumerate([(0.0, 5), (0.4, 2), (0.4, 6)]):
        path = {"checkpoint": tmp_path / f"{number}.safetensors"}
        stopped, reports = train(pause, **path)
        assert reports[-1].reason == "time limit"
        assert len(stopped.windows) == (1 if pause[0] == 0 else 2)
        torch.rand(3)
        windows, reports = train(resume=True, **path)
        assert len(reports) == (2 if pause[0] == 0 else 1)
        assert torch.equal(windows.predict(x), whole.predict(x)), pause
    assert sorted(p.name for p in tmp_path.glob("2.?.safetensors")) == [
        "2.1.safetensors", "2.2.safetensors",
    ]  # fmt: skip
    train(checkpoint=tmp_path / "2.safetensors", pause=(0.0, 1))
    assert not (tmp_path / "2.2.safetensors").exists()


def test_the_time_limit_is_that_of_all_windows(capsys):
    windows = march()
    reports = windows.fit(Adam(10_000), time_limit=0.3)
    assert "window 1 of 2: t = 0 to 0.4" in capsys.readouterr().err
    assert [report.reason for report in reports] == ["time limit"]
    assert len(windows.windows) == 1


def test_a_system_in_time_alone():
    class Pendulum(pde.Equation):
        inputs, outputs = "t", ("q", "p")

        def residual(self, q, p):
            return q.t - p, p.t + q

    def make(domain, start):
        network = nn.MLP(1, [12], 2, input_range=domain.range).double()
        first = float(domain.low[0])
        built = pde.Hard(network, "t", start, lambda t: t - first)
        return models.PINN(built, {}, equation=Pendulum(), domain=domain, points=40)

    torch.manual_seed(0)
    start = torch.tensor([1.0, 0.0], dtype=torch.float64)
    windows = models.TimeWindows(make, None, [0, 1, 2, 3, 4], lambda t: start.expand(len(t), 2))
    windows.fit(LBFGS(150), progress=False)
    t = torch.linspace(0, 4, 100, dtype=torch.float64)[:, None]
    assert windows.relative_l2(t, torch.cat([torch.cos(t), -torch.sin(t)], 1)) < 5e-3


@pytest.mark.parametrize("times", [[], [1.0], [0.0, 1.0, 1.0], [1.0, 0.0]])
def test_times_that_do_not_increase_are_refused(times):
    with pytest.raises(ValueError, match="TimeWindows: times: expected two or more that increase"):
        models.TimeWindows(soft, SPACE, times, 0.0)


def test_other_bad_input_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected a domain without t"):
        models.TimeWindows(soft, SPACE.with_time(0, 1), TIMES, 0.0)
    windows = models.TimeWindows(lambda domain, start: None, SPACE, TIMES, 0.0)
    with pytest.raises(TypeError, match="TimeWindows: make: expected a PINN, got NoneType"):
        windows.fit(Adam(1))
    sizes = iter([(4,), (5,)])
    windows = models.TimeWindows(
        lambda domain, start: soft(domain, start, hidden=next(sizes)), SPACE, TIMES, sine
    )
    with pytest.raises(CheckpointError, match="make the network as the source's was made"):
        windows.fit(Adam(1), progress=False)


def test_phases_of_a_pinn_where_none_are_given(monkeypatch):
    monkeypatch.setattr("pyneural.models.physics.default_phases._STEPS", 15)
    windows = march()
    reports = windows.fit(progress=False)
    assert [[phase.name for phase in report.phases] for report in reports] == [
        ["Levenberg-Marquardt"]
    ] * 2
    x = points()
    assert windows.relative_l2(x, exact(x)) < 1e-2
