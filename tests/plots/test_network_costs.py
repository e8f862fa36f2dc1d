"""The names of the networks lie within the axes of their picture, also at its left edge."""

import re

import pytest

from pyneural import plots

pytest.importorskip("matplotlib")

# Accuracies of two seeds, operations, parameters; the cheapest of the best lies far to the left.
NETWORKS = {
    "linear": ([0.830, 0.842], 1280, 650),
    "MLP 16": ([0.765, 0.790], 2368, 1210),
    "MLP 128": ([0.870, 0.872], 18944, 9610),
    "sparse MLP": ([0.836, 0.864], 21504, 11274),
    "autoencoder": ([0.420, 0.460], 5440, 2778),
    "MLP 3 x 256": ([0.900, 0.920], 300032, 150794),
    "CNN": ([0.914, 0.916], 3708160, 121994),
}


@pytest.mark.parametrize("best", NETWORKS)
def test_names_lie_within_the_axes(best):
    networks = {
        name: plots.NetworkCost(name, accuracies, operations, parameters, [1e-3], [1e4])
        for name, (accuracies, operations, parameters) in NETWORKS.items()
    }
    figure = plots.network_costs(networks, [1], [1], best, "Which network?")
    figure.canvas.draw()
    axes = figure.axes[0]
    names = {re.sub(r" \(.*", "", text.get_text()): text for text in axes.texts}
    assert names.keys() == NETWORKS.keys()
    room = axes.bbox.expanded(1.02, 1.02)
    for name, text in names.items():
        box = text.get_window_extent()
        assert room.x0 <= box.x0 < box.x1 <= room.x1, name
        assert room.y0 <= box.y0 < box.y1 <= room.y1, name
