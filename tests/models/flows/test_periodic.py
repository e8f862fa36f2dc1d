"""Features on a circle."""

from __future__ import annotations

import math

import pytest
import torch

from pyneural.errors import ArgumentError
from pyneural.models import NCSF


def test_circular_density_is_periodic_and_normalised():
    torch.manual_seed(0)
    flow = NCSF(1, transforms=3).double()
    x = (torch.arange(20000).double()[:, None] + 0.5) / 10000 * math.pi - math.pi
    density = flow().log_prob(x).exp()
    assert abs(float(density.mean() * 2 * math.pi) - 1) < 1e-3
    torch.testing.assert_close(density[0], density[-1], rtol=1e-2, atol=0)
    torch.testing.assert_close(flow().log_prob(x + 2 * math.pi), flow().log_prob(x))
    flow.compile("adam")
    with pytest.raises(ValueError, match=r"expected angles in \[-pi, pi\[, got 180; write"):
        flow.fit(torch.linspace(-90, 180, 50)[:, None])
    flow.fit(x[::100], verbose=0)
    assert not flow.whitened


def test_angles_take_neither_bounds_nor_a_whitening():
    """Both would change what a full turn is."""
    with pytest.raises(ArgumentError, match=r"NCSF: bounds: expected none, as its features are"):
        NCSF(2, bounds=[(0, 6), None])
    with pytest.raises(ValueError, match=r"NCSF.whiten: expected features on the line"):
        NCSF(2).whiten(torch.rand(50, 2))
