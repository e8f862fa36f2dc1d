"""The picture of a domain: all points and normals are on it."""

import numpy as np
import pytest
import torch

from pyneural import pde, plots

pytest.importorskip("matplotlib")


def test_points_and_normals_of_a_domain():
    from matplotlib.quiver import Quiver

    g = torch.Generator().manual_seed(0)
    channel = pde.Box(x=(0, 4), y=(0, 1)) - pde.Disk(x=1, y=0.5, radius=0.2, name="cylinder")
    boundary = {part: channel.boundary(9, part=part, generator=g) for part in channel.parts}
    inside = channel.sample(50, generator=g)
    made = plots.domain(inside, boundary, names=channel.names, title="A channel")
    (axes,) = made.axes
    assert axes.get_title(loc="left") == "A channel"
    labels = [text.get_text() for text in made.legends[0].get_texts()]
    assert labels[0] == "50 points inside"
    assert labels[1:] == [f"{part}: 9 points" for part in channel.parts]
    arrows = axes.findobj(Quiver)
    assert len(arrows) == 5
    for arrow, (points, normals) in zip(arrows, boundary.values(), strict=True):
        np.testing.assert_allclose(arrow.XY, points.numpy())
        along = np.stack([arrow.U, arrow.V], 1)
        along /= np.hypot(*along.T)[:, None]
        np.testing.assert_allclose(along, normals.numpy(), atol=1e-6)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    assert left < 0
    assert right > 4
    assert bottom < 0
    assert top > 1
