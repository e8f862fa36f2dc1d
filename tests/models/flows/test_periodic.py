"""Features on a circle."""

from __future__ import annotations

import math
from unittest import mock

import pytest
import torch

from pyneural import ops
from pyneural.errors import ArgumentError
from pyneural.models import NCSF, NSF


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


def weather(**options):
    """A direction in degrees, a speed, a temperature, and an hour."""
    bounds = [(0.0, 360.0), (0.0, None), None, (0, 24)]
    torch.manual_seed(0)
    options = {"bounds": bounds, "periodic": [True, False, False, True], **options}
    return NSF(4, hidden_features=[16], **options)


def test_periodic_features_beside_others():
    flow = weather(transforms=3)
    x = flow().sample((2000,))
    assert x[:, 0].min() >= 0
    assert x[:, 0].max() <= 360
    assert x[:, 1].min() > 0
    assert x[:, 2].min() < 0
    assert x[:, 3].max() <= 24
    turned = x + torch.tensor([360.0, 0.0, 0.0, -24.0])
    torch.testing.assert_close(flow().log_prob(turned), flow().log_prob(x), rtol=1e-3, atol=1e-3)
    flow.compile("adam")
    flow.fit(x, epochs=2, verbose=0)
    assert torch.equal(flow.whitening.mean.nonzero().squeeze(1), torch.tensor([1, 2]))
    assert torch.equal(flow.whitening.factor[[0, 3]], torch.eye(4)[[0, 3]])
    z = flow.whitening()(flow.bounded()(x))[:, 1:3]
    torch.testing.assert_close(z.T.cov(), torch.eye(2), rtol=0, atol=1e-3)
    assert flow().log_prob(flow().sample((50,))).isfinite().all()


def test_density_with_a_periodic_feature_is_normalised_and_closes():
    torch.manual_seed(0)
    flow = NSF(2, transforms=1, hidden_features=[16], periodic=[True, False]).double()
    angles = (torch.arange(400).double() + 0.5) / 400 * 2 * math.pi - math.pi
    line = torch.linspace(-9, 9, 400).double()
    x = torch.cartesian_prod(angles, line)
    density = flow().log_prob(x).exp().detach()
    area = float(angles[1] - angles[0]) * float(line[1] - line[0])
    assert abs(float(density.sum()) * area - 1) < 1e-3
    # No jump of the angle's own density where the circle closes, nor opposite to it.
    own = density.view(400, 400).sum(1) * float(line[1] - line[0])
    steps = (own - own.roll(1)).abs()
    assert steps[0] < 2 * steps[1:].max()
    assert own.std() > 1e-3


def test_periods_that_do_not_fit():
    with pytest.raises(ArgumentError, match="NSF: periodic: expected 4, one for each feature, got"):
        weather(periodic=[True])
    with pytest.raises(ArgumentError, match="NSF: bounds: expected 2, one for each feature, got 1"):
        NSF(2, bounds=[None], periodic=[True, False])
    with pytest.raises(
        ArgumentError, match=r"expected the period .* got \(0.0, None\) for column 1"
    ):
        weather(periodic=[True, True, False, False])
    flow, x = weather(), torch.rand(50, 4) * 20
    flow.compile("adam")
    x[3, 3] = 25.0
    with pytest.raises(
        ArgumentError, match=r"column 3 in \[0, 24\], got 25 in 1 rows; write low \+"
    ):
        flow.fit(x)
    circle = NSF(2, periodic=[True, True])
    with pytest.raises(ArgumentError, match=r"NSF.whiten: expected features on the line"):
        circle.whiten(torch.rand(50, 2))
    circle.compile("adam")
    circle.fit(torch.rand(50, 2), verbose=0)
    assert not circle.whitened


def test_layers_with_periodic_features_are_one_call_each():
    flow = weather(transforms=2)
    with mock.patch.object(ops, "autoregressive", wraps=ops.autoregressive) as op:
        flow().log_prob(flow().sample((3,)))
        assert op.call_count == 4


def test_none_periodic_is_the_flow_without():
    torch.manual_seed(0)
    one = NSF(2, bounds=[(0.0, 1.0), None], periodic=[False, False])
    assert list(one.state_dict()) == list(NSF(2, bounds=[(0.0, 1.0), None]).state_dict())
    assert list(NSF(2, periodic=[False, False]).state_dict()) == list(NSF(2).state_dict())
