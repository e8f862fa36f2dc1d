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


def test_field_points_slices_and_errors():
    made = figure(
        points=torch.rand(7, 2),
        collocation=torch.rand(1200, 2),
        errors={"order 4": ([1.0, 10.0], [1e-3, 1e-7]), "Adam": ([1.0, 20.0], [0.3, 0.1])},
        title="A title",
    )
    shown = texts(made)
    for text in ("A title", "7 initial and boundary points", "1,200 collocation points"):
        assert text in shown
    assert {"order 4", "Adam", "exact", "network", "$t$", "$x$", "absolute error"} <= set(shown)
    titles = [axes.get_title(loc="left") for axes in made.axes]
    assert [t for t in titles if t.startswith("$t")] == [
        "$t = 0.20$", "$t = 0.50$", "$t = 0.80$",
    ]  # fmt: skip
    (panel,) = [axes for axes in made.axes if "relative" in axes.get_title(loc="left")]
    assert panel.lines[0].get_xydata().tolist() == [[1.0, 1e-3], [10.0, 1e-7]]


def test_slices_show_network_and_exact():
    slices = [axes for axes in figure().axes if "t =" in axes.get_title(loc="left")]
    exact, network = slices[1].lines[:2]
    assert network.get_ydata() == pytest.approx(U[5].numpy())
    assert exact.get_ydata() == pytest.approx(U[5].numpy() + 0.1)


def test_the_error_is_drawn_and_may_be_zero():
    def colours(exact):
        made = plots.space_time(T, X, U, exact, slices=[0.5])
        (panel,) = [axes for axes in made.axes if "error" in axes.get_title(loc="left")]
        return panel.collections[0].get_array()

    assert colours(U + 0.1).max() == pytest.approx(0.1)
    assert colours(U).max() < 1e-19


def test_save_replaces_and_leaves_nothing_else(tmp_path):
    for _ in range(2):
        assert plots.save(figure(), tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_notebook_shows_a_figure():
    """IPython asks for it by this name; where pyplot was not imported it knows no other way."""
    assert figure()._repr_png_().startswith(b"\x89PNG")


def test_missing_matplotlib_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'pyneural\[plot\]'"):
        figure()
