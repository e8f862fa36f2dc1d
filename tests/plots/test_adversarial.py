"""Figures of adversarial networks: what is drawn where."""

import pytest
import torch

from pyneural import plots

pytest.importorskip("matplotlib")

CURVES = {"d_real": [0.6, 0.55, 0.5], "d_fake": [0.3, 0.4, 0.5]}


def test_samples_are_coloured_by_their_distance_from_a_mode():
    centres = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    x = torch.tensor([[1.05, 0.0], [0.0, 0.0], [-1.0, 0.02]])
    rows = [plots.SamplesOverTime(name, [3, 9], [x, x + 9]) for name in ("one", "two")]
    measured = plots.Saturations([0.5, 1e-3], [0.8, 1e-3], [0.9, 5.0])
    figure = plots.adversarial_plane(rows, centres, 0.1, measured, {"a": CURVES})
    assert len(figure.axes) == 2 * 2 + 3
    modes, far, near = (c.get_offsets().data.tolist() for c in figure.axes[0].collections)
    assert modes == centres.tolist()
    assert far == [[0.0, 0.0]]
    assert near == x[[0, 2]].tolist()
    assert figure.axes[1].get_title(loc="left") == "step 9"
    low, high = figure.axes[0].get_xlim()
    assert low < -1
    assert high > 1
    slopes, norms, means = figure.axes[-3:]
    assert [line.get_ydata()[-1] for line in slopes.lines] == [1.0, 0.0]
    assert norms.get_xscale() == norms.get_yscale() == "log"
    assert list(norms.lines[1].get_ydata()) == measured.non_saturating
    assert list(means.lines[0].get_ydata()) == CURVES["d_real"]


def test_trainings_that_ended_early_have_fewer_panels():
    x = torch.randn(5, 2)
    rows = [
        plots.SamplesOverTime("long", [1, 2, 3], [x] * 3),
        plots.SamplesOverTime("short", [1, 2], [x] * 2),
    ]
    measured = plots.Saturations([0.5], [0.8], [0.9])
    figure = plots.adversarial_plane(rows, torch.ones(1, 2), 0.1, measured, {"a": CURVES})
    shown = [axes for axes in figure.axes if axes.get_title(loc="left").startswith("step")]
    assert len(shown) == 5


def test_images():
    images = torch.rand(4, 3, 8, 8)
    panels = {"Data": images, "Samples": images}
    over_time = {"step 1": images[0], "step 20": images[1]}
    figure = plots.adversarial_images(CURVES, over_time, panels)
    *pictures, means, rows = figure.axes
    assert [line.get_ydata()[0] for line in means.lines[:2]] == [0.6, 0.3]
    assert [label.get_text() for label in rows.get_yticklabels()] == list(over_time)
    assert rows.images[0].get_array().shape == (17, 26)
    assert [axes.get_title(loc="left") for axes in pictures] == ["Data", "Samples"]
