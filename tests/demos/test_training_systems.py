"""The demos of losses, loss curves, the three sets and autoencoders."""

from __future__ import annotations

import pytest

from pyneural import cli
from pyneural.demos.loss_doctor import TRAINING_FAULTS
from tests.demos.screen import run_demo, value

pytest.importorskip("matplotlib")


def test_losses(tmp_path, capsys):
    out = run_demo("losses", tmp_path, capsys, "--epochs", "30")
    rows = [line.split() for line in out.splitlines() if line.endswith(" *")]
    assert len(rows) == 6  # of the table, and each warned of the wrong last layer alone
    for *_, measure, _, right, _, wrong, _ in rows:
        gain = float(wrong) - float(right)
        assert (gain < 0) if measure == "accuracy" else (gain > 0)
    smooth, steps = value(out, "sigmoid  "), value(out, "step  ")
    assert "not at all at 0%" in smooth
    assert float(steps.split()[3]) > 50 * float(smooth.split()[3])
    assert float(value(out, "gradient").split()[0]) < 1e-5


@pytest.mark.filterwarnings("error")
def test_loss_doctor(tmp_path, capsys):
    lines = run_demo("loss-doctor", tmp_path, capsys).splitlines()
    for name in TRAINING_FAULTS:
        after = [line.strip() for line in lines[lines.index(f"  {name}") + 1 :]]
        assert after[0].startswith("nothing wrong:" if name == "good" else f"{name}:")


def test_split_chooses_by_validation_and_tests_once(tmp_path, capsys):
    out = run_demo("split", tmp_path, capsys, "--epochs", "40")
    rows = [line.split() for line in out.splitlines() if line.strip()[:1].isdigit()]
    table = [row for row in rows if len(row) in (3, 5) and row[0].isdigit()]
    (chosen,) = [row for row in table if row[-1] == "chosen"]
    assert float(chosen[2]) == min(float(row[2]) for row in table)
    assert "opened again: expected to be called once" in out
    assert f"total {3 * int(chosen[0]) + 1}, trained" in out


@pytest.mark.parametrize(("name", "count"), [("autoencoder", 218192), ("autoencoder16", 223456)])
def test_autoencoders(name, count, tmp_path, capsys):
    pytest.importorskip("sklearn")
    out = run_demo(name, tmp_path, capsys, "--epochs", "8")
    assert value(out, "network").startswith(f"{count:,} parameters")
    if name == "autoencoder":
        for variant in ("linear + mse", "sigmoid + mse", "sigmoid + bce"):
            its_loss, mse, *_ = value(out, variant).split()
            assert float(mse) < 0.1
            assert (its_loss == mse) == variant.endswith("mse")
    else:
        assert float(value(out, "mse").split()[0]) < 0.1


def test_latent_plane(tmp_path, capsys):
    out = run_demo("latent-plane", tmp_path, capsys, "--epochs", "60")
    by_pca, linear, curved = (
        float(value(out, name).split()[0]) for name in ("PCA", "linear 5-2-5", "5-32-2-32-5")
    )
    assert linear == pytest.approx(by_pca, rel=0.1)
    assert curved < by_pca / 3
    assert float(value(out, "angle").split()[0]) < 5


def test_posterior(tmp_path, capsys, monkeypatch):
    from pyneural.demos import posterior

    monkeypatch.setattr(posterior, "EXACT", 50)
    monkeypatch.setattr(posterior, "NEW", 300)
    options = ("--simulations", "1000", "--epochs", "4", "--observations", "1")
    out = run_demo("posterior", tmp_path, capsys, *options)
    many, few = (value(out, name).split() for name in ("1,000  ", "200  "))
    for c2st, tarp, _, level, corrected, *_ in (many, few):
        assert 0.4 < float(c2st) <= 1
        assert 0 < float(tarp) < 0.3
        assert 0 < float(level.rstrip("%")) <= 100
        assert abs(float(corrected.rstrip("%")) - 90) < 10  # whatever the flow
    assert out.count("uniform with p = ") == 2


@pytest.mark.parametrize("name", ["losses", "split", "latent-plane", "posterior"])
def test_ctrl_c_ends_a_demo(name, tmp_path, monkeypatch):
    from pyneural.demos import _fit

    monkeypatch.setattr(_fit.Bar, "on_epoch_end", lambda self, *_: self.run.stop("interrupted"))
    assert cli.main(["demo", name, "--out", str(tmp_path)]) == cli.INTERRUPTED
    assert not list(tmp_path.iterdir())
