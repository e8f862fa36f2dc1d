"""The demos of recurrent networks."""

from __future__ import annotations

import pytest

from pyneural import cli
from tests.demos.screen import run_demo, value

pytest.importorskip("matplotlib")


def test_long_lag(tmp_path, capsys, monkeypatch):
    demo = cli.load_demo("long-lag")
    monkeypatch.setattr(demo, "TRAINING", 4_800)
    monkeypatch.setattr(demo, "HELD_OUT", 500)
    out = run_demo("long-lag", tmp_path, capsys, "--lag", "12", "--epochs", "5")
    error = {
        name: float(value(out, name).split()[1])
        for name in ("simple RNN", "LSTM", "GRU", "transformer", "always the mean")
    }
    assert error["GRU"] < 0.05 * error["always the mean"]
    mean = error.pop("always the mean")
    assert all(found < mean for found in error.values())


def test_rnn(tmp_path, capsys):
    out = run_demo("rnn", tmp_path, capsys, "--epochs", "15")
    names = ("Kalman filter, true model", "recurrent network", "the last reading")
    best, ours, last = (float(value(out, name)) for name in names)
    assert best < ours < 0.5 * (best + last)
    assert float(value(out, "rolled").split()[-1]) < 1e-12
    assert float(value(out, "gradient").split()[-1]) < 1e-6


def test_kalman(tmp_path, capsys):
    out = run_demo("kalman", tmp_path, capsys, "--iterations", "8")
    rows = ("truth", "first guess", "maximum likelihood", "EM")
    truth, guess, by_likelihood, by_em = (float(value(out, row).split()[-1]) for row in rows)
    assert guess < min(by_likelihood, by_em)
    assert by_likelihood > truth
    errors = [float(value(out, row)) for row in ("readings", "filter", "smoother")]
    assert errors == sorted(errors, reverse=True)
    assert abs(float(value(out, "95 %").split()[-1].rstrip("%")) - 95) < 1


def test_rnn_apps(tmp_path, capsys, monkeypatch):
    demo = cli.load_demo("rnn-apps")
    for name, smaller in (("DATES", 400), ("VIDEOS", 600), ("HELD_OUT", 200), ("HIDDEN", 64)):
        monkeypatch.setattr(demo, name, smaller)
    monkeypatch.setattr(demo, "EPOCHS", {"captions": 12, "sentences": 4, "dates": 1, "videos": 12})
    out = run_demo("rnn-apps", tmp_path, capsys)
    for task in ("name of a digit   GRU", "sentiment         LSTM", "motion of a frame GRU"):
        ours, *_, baseline, _, _ = value(out, task).split()
        assert float(ours.rstrip("%")) > 15 + float(baseline.rstrip("%"))
    assert value(out, "dates").startswith("GRU")
