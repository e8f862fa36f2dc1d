"""The demo of flow matching, with short trainings."""

from __future__ import annotations

import os
from functools import partial
from importlib.util import find_spec

import pytest

from pyneural import cli, metrics
from pyneural.demos import _diffusion_vectors
from tests.demos.screen import run_demo, value

pytest.importorskip("matplotlib")

ENTROPIES = {"8-gaussians": 2.832, "two-moons": 1.008, "checkerboard": 3.466}
WHEEL = os.environ.get("PZFLOW_WHEEL")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    for name, size in {
        "SAMPLES": 10_000, "HELD_OUT": 1000, "TESTED": 500, "GALAXIES_TESTED": 500,
        "MEASURED": 200, "SHOWN": 500, "PATHS": 5, "GRID": 20, "TOY_HIDDEN": (32, 32),
        "GALAXY_HIDDEN": (32, 32), "DECAY": 0.9, "c2st": partial(metrics.c2st, epochs=10),
    }.items():  # fmt: skip
        monkeypatch.setattr(_diffusion_vectors, name, size)


def test_a_toy(tmp_path, capsys):
    pytest.importorskip("scipy")
    options = ("--data", "two-moons", "--epochs", "4", "--coupling", "optimal_transport")
    out = run_demo("flow-matching", tmp_path, capsys, *options)
    score, best, found, exact, entropy, _ = map(
        float, value(out, "two-moons").removesuffix("s").split()
    )
    assert entropy == ENTROPIES["two-moons"]
    assert exact == pytest.approx(entropy, abs=0.1)
    assert exact < found < 1.97  # that of a Gaussian
    assert 0.45 < score < best + 0.05
    assert best < 0.8


def test_all_toys_on_one_picture(tmp_path, capsys):
    out = run_demo("flow-matching", tmp_path, capsys, "--epochs", "1")
    assert [name for name in ENTROPIES if f"\n  {name} " in out] == list(ENTROPIES)


@pytest.mark.skipif(not WHEEL and not find_spec("pzflow"), reason="the data are in pzflow")
def test_galaxies(tmp_path, capsys):
    options = ("--data", "galaxies", "--epochs", "2", *(["--wheel", WHEEL] if WHEEL else []))
    out = run_demo("flow-matching", tmp_path, capsys, *options)
    rows = ("C2ST against test galaxies", "C2ST of validation galaxies", "of 50 Gaussians")
    score, floor, mixture = (float(value(out, name).split()[0]) for name in rows)
    assert 0.45 < floor < 0.55
    assert 0.45 < score < 0.9
    assert mixture == 5.20
    assert float(value(out, "nats a test galaxy").split()[0]) > -2.26  # one Gaussian


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--wheel", "pzflow.whl"], "--wheel: expected --data galaxies, got --data toys"),
        (["--data", "galaxies", "--wheel", "none.whl"], "path: expected a file, got none.whl"),
    ],
)
def test_refused(options, text, tmp_path, capsys):
    assert cli.main(["demo", "flow-matching", "--out", str(tmp_path), *options]) == 2
    assert text in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
