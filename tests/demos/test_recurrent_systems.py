"""The demos of recurrent networks."""

from __future__ import annotations

import pytest

from tests.demos.screen import run_demo, value

pytest.importorskip("matplotlib")


def test_long_lag(tmp_path, capsys):
    out = run_demo("long-lag", tmp_path, capsys, "--lag", "16", "--epochs", "5")
    error = {
        name: float(value(out, name).split()[1])
        for name in ("simple RNN", "LSTM", "GRU", "always the mean")
    }
    assert error["GRU"] < 0.05 * error["always the mean"]
    assert all(found < error["always the mean"] for found in (error["LSTM"], error["simple RNN"]))
