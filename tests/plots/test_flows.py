"""Figures of flows: what is drawn where."""

import pytest
import torch

from pyneural import plots

pytest.importorskip("matplotlib")


def test_densities_are_drawn_upright_and_on_one_scale():
    exact, found = torch.zeros(4, 6), torch.full((4, 6), 0.5)
    exact[3, 0] = 2.0  # top left
    points = torch.randn(30, 2)
    panel = plots.PlaneDensity((-3.0, 3.0, -2.0, 2.0), exact, found, points, points + 1)
    figure = plots.densities({"one": panel, "two": panel})
    assert len(figure.axes) == 8
    first, second, base, samples = figure.axes[:4]
    (image,), (other,) = first.images, second.images
    assert image.origin == "lower"
    assert image.get_array()[3, 0] == 2.0
    assert tuple(image.get_extent()) == panel.window
    assert image.get_clim() == other.get_clim()
    assert image.get_clim()[0] == 0
    assert image.get_clim()[1] >= 2
    drawn = [torch.tensor(axes.collections[0].get_offsets().data) for axes in (base, samples)]
    torch.testing.assert_close(drawn[1] - drawn[0], torch.ones(30, 2), check_dtype=False)
    assert first.get_ylabel() == "one"


def test_pairs_share_frame_and_scale():
    torch.manual_seed(0)
    x = torch.randn(5000, 3)
    x[:, 1] = 2 * torch.rand(5000).square()  # most are small
    figure = plots.pairwise({"data": x, "model": 0.5 * x}, ["a", "b", "c"], [(0, 1), (2, 0)])
    of_data, other, of_model, _ = figure.axes
    assert (of_data.get_xlabel(), of_data.get_ylabel()) == ("a", "b")
    assert (other.get_xlabel(), other.get_ylabel()) == ("c", "a")
    assert of_data.get_xlim() == of_model.get_xlim()
    data, model = of_data.collections[0], of_model.collections[0]
    assert data.norm is model.norm
    shares = torch.tensor(data.get_array())
    assert 0.99 < float(shares.sum()) <= 1
    places = torch.linspace(-1, 1, len(shares))
    across, along = (float((shares.sum(i) * places).sum()) for i in (0, 1))  # means of a, b
    assert abs(across) < 0.15
    assert along < -0.25


def test_images_with_the_loss_and_other_models():
    images = torch.rand(2, 3, 8, 8)
    levels = {"uniform": 4.0, "histograms": 2.4}
    figure = plots.image_density([3.0, 2.2], [3.1, 2.3], levels, {"data": images, "flow": images})
    curve, data, flow = figure.axes
    assert [text.get_text() for text in curve.texts] == list(levels)
    low, high = curve.get_ylim()
    assert low < 2.2
    assert high > 4.0
    assert data.images[0].get_array().shape == (17, 26)
    assert flow.get_title(loc="left") == "flow"
