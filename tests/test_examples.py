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


@pytest.fixture
def float64():
    """The default while a test runs."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("pde/[!_]*.py")))
def test_pde(name, float64):
    steps, limit = PDE[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # none of them falls back to nested autograd
        error, seconds = load(f"pde/{name}").main(steps)
    assert 0 < error < limit
    assert seconds > 0
