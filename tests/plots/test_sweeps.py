"""Sweeps: what is drawn of lower bounds."""

import pytest
import torch

pytest.importorskip("matplotlib")
from pyneural.plots import SweepPanel, sweeps


def test_lower_bounds_are_triangles_of_their_own():
    times = {"an epoch": torch.rand(3, 2) + 1, "to the target": torch.rand(3, 2) + 2}
    never = torch.tensor([[False, True], [False, False], [False, True]])
    panel = SweepPanel("Batch", "size", "s", ["4", "100"], times, bounds={"to the target": never})
    (axes,) = sweeps([panel]).axes
    (triangles,) = [
        line for line in axes.lines if line.get_marker() == "^" and len(line.get_xdata())
    ]
    assert triangles.get_label() == "at least"
    assert list(triangles.get_xdata()) == [1, 1]
    assert triangles.get_ydata().tolist() == times["to the target"][never].tolist()
    dots = [len(line.get_xdata()) for line in axes.lines if line.get_marker() == "o"]
    assert dots == [6, 4]
