"""The demo of adversarial networks, with short trainings."""

import pytest
import torch

from pyneural import cli, data
from pyneural.demos import _gan_images, _gan_mixtures
from pyneural.demos._gan import Recipe, shown_steps
from tests.demos.screen import run_demo, value

pytest.importorskip("matplotlib")


def test_ring(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(_gan_mixtures, "BATCHES", 5)
    monkeypatch.setattr(_gan_mixtures, "ALONE", 10)
    monkeypatch.setattr(_gan_mixtures, "AFTERWARDS", Recipe(3, 256, (5e-3, 1e-3), weight=0.0))
    out = run_demo("gan", tmp_path, capsys, "--epochs", "1")
    rows = {kind: value(out, kind).split() for kind in ("recipe", "minimax", "non-saturating")}
    for row in rows.values():
        covered, _, all_modes, share, *_ = row
        assert 0 <= int(covered) <= int(all_modes) == 8
        assert 0 <= float(share) < 0.9
    assert float(value(out, "data").split()[3]) == pytest.approx(0.989, abs=0.004)
    words = value(out, "gradients").split()
    minimax, other = (float(words[words.index(k) - 1]) for k in ("(minimax),", "(non-sat.)"))
    assert minimax < 0.2 * other
    assert float(rows["minimax"][6]) < float(rows["non-saturating"][6])  # means of D(G(z))


def test_digits(tmp_path, capsys):
    pytest.importorskip("sklearn")
    out = run_demo("gan", tmp_path, capsys, "--data", "digits", "--epochs", "1")
    assert value(out, "images") == "1,437 for training, 8 x 8"
    assert "0." in value(out, "mean of D")


def test_mnist_on_images_that_stand_for_it(tmp_path, capsys, monkeypatch):
    x, y = torch.rand(200, 28, 28), torch.arange(200) % 10
    monkeypatch.setattr(data, "mnist", lambda: ((x, y), (x[:10], y[:10])))
    out = run_demo("gan", tmp_path, capsys, "--data", "mnist", "--epochs", "1")
    assert value(out, "images") == "200 for training, 28 x 28"


def test_it_is_looked_at_more_often_at_the_beginning():
    for steps in (1, 3, 20, 3500):
        shown = shown_steps(steps)
        assert shown[-1] == steps
        assert shown == sorted(set(shown))
        assert len(shown) <= 5


def test_networks_fit_the_data():
    for mixture in _gan_mixtures.MIXTURES.values():
        assert mixture.model().sample(2).shape == mixture.toy.sample(2).shape
    for images in _gan_images.SETS.values():
        side = 8 if images is _gan_images.SETS["digits"] else 28
        assert images.model((1, side, side)).sample(2).shape == (2, 1, side, side)


def test_unknown_data_are_refused(capsys):
    with pytest.raises(SystemExit):
        cli.main(["demo", "gan", "--data", "spiral"])
    assert "invalid choice: 'spiral'" in capsys.readouterr().err
