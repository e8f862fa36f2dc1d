"""The scripts of examples/ run, with fewer steps, and find what they look for."""

import importlib.util
import warnings
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[1] / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def float64():
    """The default while a test runs."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def test_examples_are_short():
    for path in FOLDER.glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) < 60, path.name
    for path in FOLDER.glob("pde/*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 25, path.name


def test_posterior(capsys):
    example = load("posterior")
    samples = example.main(simulations=2000, epochs=8)
    out = capsys.readouterr().out
    assert samples.shape == (2000, 2)
    assert ((samples >= example.LOW) & (samples <= example.HIGH)).all()
    for name, limit in (("frequency", 0.2), ("damping", 0.2)):
        (row,) = [line.split() for line in out.splitlines() if line.startswith(name)]
        assert abs(float(row[1]) - float(row[-1])) < limit, row
    assert (samples.std(0) < (example.HIGH - example.LOW) / 12**0.5 / 2).all()  # of the prior


def test_from_torch(capsys):
    example = load("from_torch")
    damping, frequency = example.main(steps=1000)
    assert abs(damping - example.DAMPING) < 0.03
    assert abs(frequency - example.FREQUENCY) < 0.03
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[2].rstrip(",") in lines[1]  # the same loss
    assert float(lines[2].split()[-1]) < 1e-5


def test_own_pde(float64, capsys):
    example = load("own_pde")
    error, speed = example.main(steps=30, points=500)
    assert error < 1e-3
    assert abs(speed - example.SPEED) < 0.02
    assert f"exact {example.SPEED:.3f}" in capsys.readouterr().out


def test_table(capsys):
    example = load("table")
    g, error = example.main(epochs=30)
    assert abs(g - example.G) < 0.2
    assert error < 0.006
    assert "the factor is right to" in capsys.readouterr().out


# Steps of a quick look, and the error that it reaches.
PDE = {
    "annulus": (8, 0.05),
    "clamped_beam": (15, 1e-3),
    "fourier_features": (8, 1e-3),
    "inverse_source": (8, 0.02),
    "l_shape": (6, 0.1),
    "lorenz": (20, 1e-3),
    "network_per_output": (20, 1e-3),
    "integro_differential": (8, 0.05),
    "parametric_heat": (6, 0.05),
    "robin_rod": (8, 1e-3),
}


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("pde/[!_]*.py")))
def test_pde(name, float64):
    steps, limit = PDE[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # none of them falls back to nested autograd
        error, seconds = load(f"pde/{name}").main(steps)
    assert 0 < error < limit
    assert seconds > 0
