"""The demos of attention and transformers."""

from __future__ import annotations

import pytest

from pyneural import cli
from tests.demos.screen import run_demo, value

pytest.importorskip("matplotlib")


def test_transformer(tmp_path, capsys, monkeypatch):
    demo = cli.load_demo("transformer")
    for name, smaller in (("DATES", 300), ("REVERSALS", 300), ("HELD_OUT", 40)):
        monkeypatch.setattr(demo, name, smaller)
    monkeypatch.setattr(demo, "EPOCHS", {"dates": 1, "reversals": 1})
    out = run_demo("transformer", tmp_path, capsys)
    assert value(out, "greedy").endswith("held-out dates right")
    for variant in demo.VARIANTS:
        assert 0 <= float(value(out, variant).rstrip("%")) <= 100
