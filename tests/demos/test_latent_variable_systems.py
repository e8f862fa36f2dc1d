"""The demos of variational autoencoders."""

from __future__ import annotations

from functools import partial

import pytest

from pyneural import data, metrics
from pyneural.demos import _vae, vae_flow
from tests.demos.screen import run_demo, value

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")


@pytest.fixture(autouse=True)
def coarse_measures(monkeypatch):
    """They take most of the time."""
    monkeypatch.setattr(_vae, "BOUND", 20)
    monkeypatch.setattr(vae_flow, "TESTED", 60)
    monkeypatch.setattr(vae_flow, "DRAWN", 2000)
    monkeypatch.setattr(vae_flow, "c2st", partial(metrics.c2st, epochs=10))


def test_vae(tmp_path, capsys):
    out = run_demo("vae", tmp_path, capsys, "--epochs", "12")
    names = ("independent pixels", "ELBO,  2 latent", "ELBO, 12 latent", "K = 20, 12 latent")
    flat, plane, deep, tighter = (float(value(out, name).split()[0]) for name in names)
    assert -240 < plane < deep < tighter
    assert flat == pytest.approx(-106.1, abs=0.1)
    assert 0 < float(value(out, "ELBO, 12 latent").split()[2]) < 10  # of three seeds


def rows(out):
    """Words of each row of the table, by its first two."""
    split = [line.replace(" +- ", "+-").split() for line in out.splitlines()]
    return {tuple(row[:2]): row[2:] for row in split if len(row) == 6}


def test_vae_flow(tmp_path, capsys):
    out = run_demo("vae-flow", tmp_path, capsys, "--epochs", "3")
    table = rows(out)
    of_seeds = {
        prior: [[float(x) for x in table[seed, prior]] for seed in "012"]
        for prior in ("normal", "flow")
    }
    for column in (0, 1, 2):  # bounds, which are to rise, and the divergence
        sign = -1 if column == 2 else 1
        pairs = zip(of_seeds["flow"], of_seeds["normal"], strict=True)
        won = sum(sign * flow[column] > sign * normal[column] for flow, normal in pairs)
        assert won == 3
        text = f"{won} of 3"
        assert text in value(out, "flow won")
    for prior, found in of_seeds.items():
        mean = float(table["mean", prior][0].partition("+-")[0])
        assert mean == pytest.approx(sum(row[0] for row in found) / 3, abs=0.1)
        assert all(0.4 < row[3] <= 1 for row in found)


@pytest.mark.parametrize("name", ["vae", "vae-flow"])
def test_mnist_where_it_is_at_hand(name, tmp_path, capsys, monkeypatch):
    (x, classes), (held_out, others) = data.digits()
    images = (x[:300], classes[:300]), (held_out[:60], others[:60])
    monkeypatch.setattr(data, "mnist", lambda: images)
    out = run_demo(name, tmp_path, capsys, "--data", "mnist", "--epochs", "1")
    assert value(out, "images") == "300 for training, 60 held out, 28 x 28"
