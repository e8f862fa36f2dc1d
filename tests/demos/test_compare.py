"""The demo that compares generative models."""

import pytest

from pyneural.demos import compare
from tests.demos.screen import run_demo

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")


def test_compare(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(compare, "EPOCHS", 3)
    monkeypatch.setattr(compare, "MEASURED", 150)
    monkeypatch.setattr(compare, "ROWS", 800)
    out = run_demo("compare", tmp_path, capsys, "--budget", "0.1", "--seeds", "2")
    for model in (*compare.MODELS, "real rows"):
        assert any(line.strip().startswith(model) for line in out.splitlines())
    assert "  take " in out
    assert "a GAN collapses: " in out
    assert "diffusion is slow: " in out
