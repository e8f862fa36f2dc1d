"""Marginal Gaussianisation: its density is that of independent histograms."""

from __future__ import annotations

import math

import pytest
import torch

from pyneural.errors import ArgumentError
from pyneural.models import MAF, Flow, Gaussianisation
from pyneural.models.flows.lazy import standard_normal
from pyneural.models.flows.transforms import call_and_ladj

LEVELS = 17


@pytest.fixture
def pixels():
    """Whole numbers, of which the second column has almost one value alone."""
    torch.manual_seed(0)
    mixed = torch.randint(LEVELS, (300,)).float()
    lonely = torch.zeros(300)
    lonely[7] = 16
    return torch.stack([mixed, lonely, mixed], 1)


@pytest.fixture
def layer(pixels):
    layer = Gaussianisation(3, bins=LEVELS)
    layer.set_from((pixels + torch.rand_like(pixels)) / LEVELS)
    return layer


def test_density_is_that_of_the_histograms(pixels, layer):
    counts = (pixels[:, :, None] == torch.arange(LEVELS)).sum(0) + 1.0
    share = counts / counts.sum(1, keepdim=True)
    expected = share.log().gather(1, pixels.long().T).sum(0) + 3 * math.log(LEVELS)
    flow = Flow(layer, standard_normal(3))
    for place in (1e-3, 0.4, 0.999):  # in a bin the density does not change
        torch.testing.assert_close(flow.log_prob((pixels + place) / LEVELS), expected)


def test_the_data_become_normal(pixels, layer):
    x = pixels.repeat(100, 1)
    z = layer()((x + torch.rand_like(x)) / LEVELS)
    assert z[:, 0].mean().abs() < 0.05
    assert (z[:, 0].std() - 1).abs() < 0.05


def test_fit_takes_the_data_as_they_are(pixels, layer):
    network = MAF(3, transforms=1, hidden_features=[16])
    flow = Flow([layer, *network.transform], standard_normal(3))
    flow.compile("adam")
    x = (pixels + torch.rand_like(pixels)) / LEVELS
    loss = flow.fit(x, epochs=20, verbose=0)["loss"]
    assert not flow.whitened
    assert loss[-1] < loss[0] - 0.5  # the first column and the third are the same


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_edges_are_finite_and_come_back(layer, dtype):
    transform = layer.to(dtype)()
    edges = (torch.arange(LEVELS + 1, dtype=dtype) / LEVELS)[:, None].expand(-1, 3)
    z, ladj = call_and_ladj(transform, edges)
    assert z.isfinite().all()
    assert ladj.isfinite().all()
    torch.testing.assert_close(transform.inv(z), edges, atol=1e-5, rtol=0)
    far = torch.tensor([[-40.0] * 3, [40.0] * 3], dtype=dtype)
    x, ladj = call_and_ladj(transform.inv, far)
    torch.testing.assert_close(x, torch.tensor([[0.0] * 3, [1.0] * 3], dtype=dtype))
    assert ladj.isfinite().all()
    _, ladj = call_and_ladj(transform, torch.tensor([[0.5, 0.5, 1.1], [0.5, -0.1, 0.5]]).to(dtype))
    assert (ladj == -math.inf).all()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"bins": 0}, "bins: expected >= 1, got 0"),
        ({"bins": 2.5}, "bins: expected a whole number"),
        ({"bins": 4, "low": 1.0}, "low and high: expected low < high, got 1 and 1"),
        ({"bins": 4, "high": math.nan}, "low and high"),
    ],
)
def test_refused(options, text):
    with pytest.raises(ArgumentError, match=text):
        Gaussianisation(3, **options)


def test_data_outside_are_refused(pixels, layer):
    with pytest.raises(ValueError, match=r"set_from: x: expected numbers in \[0, 1\], got"):
        layer.set_from(pixels)
    with pytest.raises(ValueError, match=r"expected \[N, 3\], got \[300, 2\]"):
        layer.set_from(pixels[:, :2] / LEVELS)
    before = layer.share.clone()
    with pytest.raises(ValueError, match="got 1 others"):
        layer.set_from(torch.tensor([[0.5, 0.5, math.nan]]))
    torch.testing.assert_close(layer.share, before)


def test_a_flow_without_parameters_takes_a_context_and_arrays():
    flow = Flow(Gaussianisation(2, bins=4), standard_normal(2))
    x = torch.rand(5, 2)
    assert flow.log_prob(x.double().numpy(), torch.zeros(5, 1)).shape == (5,)
    flow.whiten(x)
    assert flow.whitened
