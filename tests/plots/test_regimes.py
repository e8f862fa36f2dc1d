"""Where each way is the best is said once for each, so that the names do not meet."""

from itertools import pairwise

import pytest
import torch

from pyneural import plots

pytest.importorskip("matplotlib")

COUNTS = [4, 8, 16, 32, 64, 128, 512, 2048, 8192]
# Medians by the number of measurements: theory, then both, for once data, then both again.
ERRORS = {
    "theory alone": torch.tensor([[0.3] * 9]),
    "data alone": torch.tensor([[3.0, 6.0, 4.0, 0.9, 0.11, 0.08, 0.07, 0.04, 0.068]]),
    "both": torch.tensor([[1.4, 0.24, 0.19, 0.15, 0.08, 0.06, 0.02, 0.045, 0.067]]),
}


def test_names_of_the_best_do_not_meet():
    t = torch.linspace(0, 1, 5)
    fits = plots.Fits("8", t, t, torch.stack([t, t]), dict.fromkeys(ERRORS, t))
    figure = plots.regimes(COUNTS, ERRORS, [fits])
    figure.canvas.draw()
    texts = figure.axes[0].texts
    assert sorted(text.get_text() for text in texts) == [
        "both best",
        "data alone best",
        "theory alone best",
    ]
    boxes = sorted((box.x0, box.x1) for box in (text.get_window_extent() for text in texts))
    assert all(left[1] < right[0] for left, right in pairwise(boxes))
