"""The scripts of examples/ run, with fewer steps, and find what they look for."""

import importlib.util
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_examples_are_short():
    for path in FOLDER.glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) < 60, path.name


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
