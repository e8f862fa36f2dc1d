"""Figures: what is on them, and what is said where matplotlib is missing."""

import sys

import pytest
import torch

from pyneural import plots

pytest.importorskip("matplotlib")
T, X = torch.linspace(0, 1, 11), torch.linspace(-1, 1, 21)
U = torch.outer(1 - T, torch.sin(3 * X))


def figure(**options):
    return plots.space_time(T, X, U, U + 0.1, slices=[0.2, 0.5, 0.8], **options)


def texts(figure):
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text)]


def test_field_points_losses_and_slices():
    made = figure(
        points=torch.rand(7, 2),
        collocation=torch.rand(1200, 2),
        losses={"residual": [1.0, 0.1, 0.01, 0.002], "initial": [2.0, 0.2, 0.02, 0.001]},
        phases=[(0, "Adam"), (2, "L-BFGS"), (3, "L-BFGS")],
        title="A title",
    )
    shown = texts(made)
    for text in ("A title", "7 initial and boundary points", "1,200 collocation points"):
        assert text in shown
    assert shown.count("L-BFGS") == 1
    assert {"residual", "initial", "exact", "network", "$t$", "$x$"} <= set(shown)
    titles = [axes.get_title(loc="left") for axes in made.axes]
    assert [title for title in titles if title] == ["$t = 0.20$", "$t = 0.50$", "$t = 0.80$"]


def test_slices_show_network_and_exact():
    slices = [axes for axes in figure().axes if "t =" in axes.get_title(loc="left")]
    exact, network = slices[1].lines[:2]
    assert network.get_ydata() == pytest.approx(U[5].numpy())
    assert exact.get_ydata() == pytest.approx(U[5].numpy() + 0.1)


def test_error_without_losses():
    assert "absolute error" in texts(figure())


def test_save_replaces_and_leaves_nothing_else(tmp_path):
    for _ in range(2):
        assert plots.save(figure(), tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_missing_matplotlib_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'pyneural\[plot\]'"):
        figure()
