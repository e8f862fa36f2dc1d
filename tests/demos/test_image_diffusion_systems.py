"""The demos of diffusion models of images."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pyneural import data
from pyneural.demos import _ddpm_images, _image_samples, latent_diffusion
from tests.demos.screen import run_demo, value

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Few samples, few steps, a small classifier."""
    (x, y), (new, of_new) = data.digits_8x8()
    monkeypatch.setattr(data, "digits_8x8", lambda: ((x[:200], y[:200]), (new[:50], of_new[:50])))
    (x28, y28), (new28, of_new28) = data.digits()
    mnist = (x28[:45], y28[:45]), (new28[:20], of_new28[:20])
    monkeypatch.setattr(data, "mnist", lambda: mnist)
    monkeypatch.setattr(_image_samples, "MOST", 20)
    monkeypatch.setattr(_image_samples, "HALVINGS", 2)
    monkeypatch.setattr(_ddpm_images, "STEPS", 8)
    monkeypatch.setattr(_ddpm_images, "FEWER", (4, 2))
    for name, recipe in _ddpm_images.RECIPES.items():
        monkeypatch.setitem(_ddpm_images.RECIPES, name, replace(recipe, judge=2, width=8))
    for name, recipe in latent_diffusion.RECIPES.items():
        monkeypatch.setitem(latent_diffusion.RECIPES, name, replace(recipe, judge=2, encoding=10))
    monkeypatch.setattr(latent_diffusion, "HIDDEN", (32,))
    monkeypatch.setattr(latent_diffusion, "STEPS", 20)


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_ddpm(name, tmp_path, capsys):
    out = run_demo("ddpm", tmp_path, capsys, "--data", name, "--epochs", "3")
    size = {"digits": "8 x 8", "mnist": "28 x 28"}[name]
    assert value(out, "images").endswith(size)
    assert float(value(out, "two halves of data").split()[0]) > 0
    for row in ("all 8 steps", "DDIM, 4 steps", "DDIM, 2 steps", "guidance 1, 4 steps"):
        distance, classes, confident, asked, *_ = value(out, row).split()
        assert float(distance) > 0
        assert 1 <= int(classes) <= 10
        assert confident.endswith("%")
        assert asked.endswith("%")
    assert 0 <= float(value(out, "copies").partition("%")[0]) <= 100


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_latent_diffusion(name, tmp_path, capsys):
    out = run_demo("latent-diffusion", tmp_path, capsys, "--data", name, "--epochs", "3")
    error, held_out = (float(word) for word in value(out, "square error").split()[::3][:2])
    assert 0 < error < 0.1
    assert 0 < held_out < 0.1
    rows = ("reconstructions", "samples, 20 steps", "DDIM, 20 steps", "guidance 0.5")
    distances = [float(value(out, row).split()[0]) for row in rows]
    assert min(distances) > 0
    if name == "digits":
        assert min(distances) == distances[0]
    assert 0 <= float(value(out, "copies").partition("%")[0]) <= 100
