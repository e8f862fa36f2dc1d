"""The demos of inverse problems and of the three regimes, with small budgets."""

import pytest

from pyneural import cli
from tests.demos.screen import run_demo

pytest.importorskip("matplotlib")


def test_inverse(tmp_path, capsys, monkeypatch):
    out = run_demo("inverse", tmp_path, capsys, "--seeds", "1", "--adam", "2", "--lbfgs", "2")
    rows = [line.split() for line in out.splitlines() if "+-" in line]
    assert [row[0] for row in rows] == ["0%", "1%", "5%", "10%"] * 2
    assert [row[-2:] for row in rows[:4]] == [
        ["0.10", "0.47"], ["0.04", "0.01"], ["0.19", "6.20"], ["0.10", "6.40"],
    ]  # fmt: skip
    for row in rows:
        found, error = float(row[1]), float(row[7])
        assert error == pytest.approx(100 * abs(found - 1), abs=0.02)


def test_regimes(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cli.load_demo("regimes"), "COUNTS", (4, 64))
    monkeypatch.setattr(cli.load_demo("regimes"), "EXAMPLES", (64,))
    out = run_demo("regimes", tmp_path, capsys, "--seeds", "2", "--adam", "80", "--lbfgs", "60")
    rows = [line.split() for line in out.splitlines() if line.strip()[:1].isdigit()]
    assert [row[0] for row in rows] == ["4", "64"]
    data = [float(row[3]) for row in rows]
    assert data[1] < data[0]
