"""Figure of models that make samples of noise: what is drawn where."""

import pytest
import torch

from pyneural import plots

pytest.importorskip("matplotlib")


def test_data_samples_densities_and_ways():
    torch.manual_seed(0)
    exact, found = torch.zeros(4, 6), torch.full((4, 6), 0.5)
    exact[3, 0] = 2.0  # top left
    data, ways = torch.rand(30, 2), torch.rand(9, 7, 2)
    window = (-3.0, 3.0, -2.0, 2.0)
    panel = plots.PlaneSamples(window, data, data + 1, exact, found, ways)
    figure = plots.plane_samples({"one": panel, "two": panel})
    assert len(figure.axes) == 10
    of_data, of_samples, first, second, of_ways = figure.axes[:5]
    drawn = [torch.tensor(axes.collections[0].get_offsets().data) for axes in (of_data, of_samples)]
    torch.testing.assert_close(drawn[1] - drawn[0], torch.ones(30, 2), check_dtype=False)
    assert of_data.get_xlim() == of_samples.get_xlim() == window[:2]
    (image,), (other,) = first.images, second.images
    assert image.origin == "lower"
    assert image.get_array()[3, 0] == 2.0
    assert tuple(image.get_extent()) == window
    assert image.get_clim() == other.get_clim()
    assert len(of_ways.lines) == 7
    torch.testing.assert_close(
        torch.tensor(of_ways.lines[2].get_xydata()), ways[:, 2], check_dtype=False
    )
    assert of_data.get_ylabel() == "one"
