"""The demos of inverse problems and of the three regimes, with small budgets."""

import functools
import re

import pytest

from pyneural import cli
from pyneural.models import identify
from tests.demos.screen import run_demo

pytest.importorskip("matplotlib")


def test_inverse(tmp_path, capsys, monkeypatch):
    demo = cli.load_demo("inverse")
    for stages in ("CLEAN", "STAGES"):
        monkeypatch.setattr(demo, stages, [(1.0, 1)])
    small = functools.partial(identify, hidden=(4,), points=10)
    monkeypatch.setattr(demo, "identify", small)
    monkeypatch.setattr(demo, "known_start_deviations", lambda equation, noise: (noise, 2 * noise))
    out = run_demo("inverse", tmp_path, capsys, "--seeds", "1")
    lines = [line for line in out.splitlines() if re.match(r"\s+(\d+%)?\s+lambda_", line)]
    rows = [line[line.index("lambda_") :].split() for line in lines]
    noisy = ([False] * 2 + [True] * 6) * 2
    assert [row[-1] in {"0/1", "1/1"} for row in rows] == noisy
    burgers = rows[2:8]
    assert [row[-2] for row in burgers] == ["0.04", "0.01", "0.19", "6.2", "0.1", "6.4"]
    for row in rows[::2]:
        assert row[0] == "lambda_1"
        mean, error = float(row[1]), float(row[3])
        assert error == pytest.approx(100 * abs(mean - 1), rel=0.06)
    bounds = [float(row[-3]) for row in burgers]
    assert bounds[4] == pytest.approx(10 * bounds[0], rel=0.1)  # in proportion to the noise
    assert out.count("bound at 10%, were u known at t = 0 and at the ends: 6.7, 13\n") == 2
    counted = re.findall(r"(\d+) of (\d+) intervals of 95% contain", out)
    assert [total for _, total in counted] == ["6", "6"]
    inside = [sum(row[-1] == "1/1" for row in each) for each in (burgers, rows[10:])]
    assert [int(count) for count, _ in counted] == inside


def test_regimes(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cli.load_demo("regimes"), "COUNTS", (4, 64))
    monkeypatch.setattr(cli.load_demo("regimes"), "EXAMPLES", (64,))
    out = run_demo("regimes", tmp_path, capsys, "--seeds", "2", "--adam", "80", "--lbfgs", "60")
    rows = [line.split() for line in out.splitlines() if line.strip()[:1].isdigit()]
    assert [row[0] for row in rows] == ["4", "64"]
    data = [float(row[3]) for row in rows]
    assert data[1] < data[0]
