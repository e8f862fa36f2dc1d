"""The demos of attention and transformers."""

from __future__ import annotations

import pytest

from pyneural import cli
from tests.demos.screen import run_demo, value

pytest.importorskip("matplotlib")


def test_attention(tmp_path, capsys):
    out = run_demo("attention", tmp_path, capsys)
    for mask in ("no mask", "causal", "window of 3", "padding"):
        elsewhere, change = map(float, value(out, mask).split()[1:])
        assert elsewhere == 0
        assert change < 1e-12
    assert float(value(out, "weights").split()[-1]) < 1e-12
    assert float(value(out, "kernel").split()[-1]) < 1e-12


def test_transformer(tmp_path, capsys, monkeypatch):
    demo = cli.load_demo("transformer")
    for name, smaller in (("DATES", 300), ("REVERSALS", 300), ("HELD_OUT", 40)):
        monkeypatch.setattr(demo, name, smaller)
    out = run_demo("transformer", tmp_path, capsys, "--epochs", "1")
    assert value(out, "greedy").endswith("held-out dates correct")
    for variant in demo.VARIANTS:
        assert 0 <= float(value(out, variant).rstrip("%")) <= 100
