"""The demo of normalizing flows, with short trainings."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

from pyneural import cli
from tests.demos.screen import run_demo, value

pytest.importorskip("matplotlib")

ENTROPIES = {"8-gaussians": 2.832, "two-moons": 1.008, "checkerboard": 3.466}
WHEEL = os.environ.get("PZFLOW_WHEEL")


def run(tmp_path, capsys, data, *options):
    return run_demo("flow", tmp_path, capsys, "--data", data, "--epochs", "1", *options)


def toy_rows(out):
    """The numbers of each toy: flow, exact density, entropy, Gaussian; and the time."""
    return {n: value(out, n).removesuffix("s").split() for n in ENTROPIES if f"\n  {n} " in out}


def check_toy(name, row):
    found, exact, entropy, gaussian, _ = map(float, row)
    assert entropy == ENTROPIES[name]
    assert exact == pytest.approx(entropy, abs=0.02)  # of 50,000 samples
    assert exact < found < gaussian - 0.05


def test_a_toy(tmp_path, capsys):
    rows = toy_rows(run(tmp_path, capsys, "two-moons"))
    assert list(rows) == ["two-moons"]
    check_toy("two-moons", rows["two-moons"])
    assert float(rows["two-moons"][0]) < ENTROPIES["two-moons"] + 0.2


def test_all_toys_on_one_picture(tmp_path, capsys, monkeypatch):
    from pyneural.demos import _flow_toys

    monkeypatch.setattr(_flow_toys, "SAMPLES", 20_000)
    rows = toy_rows(run_demo("flow", tmp_path, capsys, "--epochs", "2"))
    assert list(rows) == list(ENTROPIES) == list(_flow_toys.TOYS)
    for name, row in rows.items():
        check_toy(name, row)


@pytest.mark.skipif(not WHEEL and not find_spec("pzflow"), reason="the data are in pzflow")
def test_galaxies(tmp_path, capsys):
    out = run(tmp_path, capsys, "galaxies", *(["--wheel", WHEEL] if WHEEL else []))
    rows = ("flow  ", "50 Gaussians", "one Gaussian")
    found, mixture, gaussian = (float(value(out, name).split()[0]) for name in rows)
    assert gaussian == -2.26
    assert mixture == 5.20
    assert 0 < found < mixture  # after one pass; at its end the training is beyond the mixture


def test_digits(tmp_path, capsys, monkeypatch):
    pytest.importorskip("sklearn")
    from pyneural.demos import _flow_digits

    monkeypatch.setattr(_flow_digits, "SEEDS", 1)
    out = run(tmp_path, capsys, "digits")
    rows = ("flow, mean of 1 seed", "independent histograms", "mixture of Gaussians")
    found, independent, mixture = (float(value(out, name).split()[0]) for name in rows)
    assert independent == pytest.approx(2.391, abs=0.002)  # as the probability of whole numbers
    assert mixture == 2.615
    assert found < independent - 0.05


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--wheel", "pzflow.whl"], "--wheel: expected --data galaxies, got --data toys"),
        (["--data", "galaxies", "--wheel", "none.whl"], "path: expected a file, got none.whl"),
    ],
)
def test_refused(options, text, tmp_path, capsys):
    assert cli.main(["demo", "flow", "--out", str(tmp_path), *options]) == 2
    assert text in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_unknown_data_are_refused(capsys):
    with pytest.raises(SystemExit):
        cli.main(["demo", "flow", "--data", "spiral"])
    assert "invalid choice: 'spiral'" in capsys.readouterr().err
