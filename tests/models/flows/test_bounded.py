"""Features in intervals and on half-lines."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pyneural.errors import ArgumentError
from pyneural.models import NSF
from pyneural.models.flows.bounded import Bounded
from tests.tolerances import FLOW

BOUNDS = [(0.0, 1.0), (None, 2.0), (-1.0, None), None]


@pytest.mark.parametrize("dtype", FLOW, ids=str)
def test_bounded_columns_are_finite_up_to_the_edges(dtype):
    transform = Bounded(BOUNDS).to(dtype)()
    tiny = torch.finfo(dtype).tiny
    rows = [[0, 2, -1, 0], [1, 1, 0, 1e6], [tiny, -1e30, 1e30, -1e6], [0.5, 2, -1 + 1e-6, 3]]
    x = torch.tensor(rows, dtype=dtype, requires_grad=True)
    y, ladj = transform.call_and_ladj(x)
    (gradient,) = torch.autograd.grad(y.sum() + ladj.sum(), x)
    assert all(value.isfinite().all() for value in (y, ladj, gradient))
    for z in (-1e4, -50.0, 50.0, 80.0):
        back, _ = transform.inverse_and_ladj(torch.full((4,), z, dtype=dtype)[None])
        assert not back.isnan().any()
        assert transform.domain.check(back).all()


def test_bounds_of_the_samples_and_of_the_data():
    torch.manual_seed(0)
    flow = NSF(4, transforms=2, bounds=BOUNDS)
    x = flow().sample((5000,))
    assert x[:, 0].min() >= 0
    assert x[:, 0].max() <= 1
    assert x[:, 1].max() <= 2
    assert x[:, 2].min() >= -1
    outside = x.clone()
    outside[3, 0] = 1.5
    flow.compile("adam")
    message = r"expected column 0 in \[0, 1\], got 1.5 in 1 rows; correct them, or widen bounds"
    with pytest.raises(ArgumentError, match=message):
        flow().log_prob(outside)
    with pytest.raises(ArgumentError, match="fit: x: " + message):
        flow.fit(outside)
    density = flow()
    density._validate_args = False  # as distributions of torch without validation
    assert torch.equal(density.log_prob(outside).isneginf().nonzero(), torch.tensor([[3]]))
    with pytest.raises(ArgumentError, match="bounds: expected 2, one for each feature, got 4"):
        NSF(2, bounds=BOUNDS)
    with pytest.raises(ArgumentError, match=r"expected low < high, got \(1, 1\) for column 0"):
        NSF(1, bounds=[(1.0, 1.0)])


def test_bounded_density_is_normalised():
    torch.manual_seed(0)
    flow = NSF(1, transforms=2, bounds=[(0.0, 2.0)]).double()
    x = (torch.arange(20000).double()[:, None] + 0.5) / 10000
    assert abs(float(flow().log_prob(x).exp().mean() * 2) - 1) < 1e-3


def test_bounds_are_in_the_file(tmp_path):
    flow = NSF(2, bounds=[(0, 1), None], transforms=1)
    flow.save(tmp_path / "flow.safetensors")
    other = NSF(2, bounds=[(0, 5), None], transforms=1)
    other.load(tmp_path / "flow.safetensors")
    x = torch.rand(5, 2)
    assert other().log_prob(x).equal(flow().log_prob(x))
    with pytest.raises(ValueError, match="bounded"):
        NSF(2, transforms=1).load(tmp_path / "flow.safetensors")


def test_data_on_the_end_of_a_half_line_are_refused():
    """Zero counts and fluxes: a likelihood that grows without bound at one value."""
    torch.manual_seed(0)
    flow = NSF(4, transforms=1, bounds=BOUNDS)
    flow.compile("adam")
    x = flow().sample((2000,))
    zeros = x.clone()
    zeros[:3, 2] = -1.0
    message = r"expected column 2 > -1, which is a bound, got -1 in 3 rows; add uniform noise in"
    with pytest.raises(ArgumentError, match="^fit: x: " + message):
        flow.fit(zeros)
    with pytest.raises(ArgumentError, match=r"^NSF.whiten: x: " + message):
        flow.whiten(zeros)
    zeros[:3, 1], zeros[:3, 2] = 2.0, 0.0
    with pytest.raises(ArgumentError, match=r"expected column 1 < 2, which is a bound"):
        flow.fit(zeros)
    edges = x.clone()
    edges[0, 0], edges[1, 0] = 0.0, 1.0
    flow.fit(edges, verbose=0)  # by rounding
    edges[:10, 0] = 1.0
    with pytest.raises(ArgumentError, match=r"expected column 0 < 1, .* got 1 in 10 rows"):
        flow.fit(edges)
    assert flow().log_prob(zeros).isfinite().all()  # samples may be rounded to it
    assert math.isfinite(flow.evaluate(zeros))


@pytest.mark.parametrize("dtype", FLOW, ids=str)
def test_an_edge_is_one_rounding_error_inside(dtype):
    low = torch.tensor(100.0, dtype=dtype)
    inside = torch.nextafter(low, torch.tensor(math.inf))
    for bounds in ((100.0, None), (100.0, 101.0)):
        transform = Bounded([bounds]).to(dtype)()
        (edge, _), (next_to_it, _) = map(transform.call_and_ladj, (low[None], inside[None]))
        assert abs(edge - next_to_it) < 1


def test_columns_of_a_frame_are_named():
    pandas = pytest.importorskip("pandas")
    flow = NSF(2, bounds=[(0.0, 1.0), (0.0, None)])
    flow.compile("adam")
    frame = pandas.DataFrame({"share": np.linspace(0.1, 2, 9), "flux": np.linspace(1, 2, 9) ** 2})
    with pytest.raises(ArgumentError, match=r"expected column 0 \('share'\) in \[0, 1\]"):
        flow.fit(frame)
    frame["share"] /= 3
    frame.loc[2, "flux"] = 0.0
    with pytest.raises(ArgumentError, match=r"expected column 1 \('flux'\) > 0"):
        flow.fit(frame)


def test_validation_data_out_of_bounds_are_refused_before_the_training():
    flow, x = NSF(1, bounds=[(0.0, 1.0)]), torch.rand(50, 1)
    flow.compile("adam")
    with pytest.raises(ArgumentError, match=r"^fit: validation_data: x: expected column 0 in"):
        flow.fit(x, validation_data=(x + 1, None), verbose=0)
    with pytest.raises(ArgumentError, match=r"^evaluate: x: expected column 0 in"):
        flow.evaluate(x + 1)


def test_bounded_densities_of_rows_that_torch_maps():
    flow, x = NSF(2, bounds=[(0.0, 1.0), None]), torch.rand(5, 2)
    mapped = torch.func.vmap(lambda row: flow().log_prob(row))(x)
    torch.testing.assert_close(mapped, flow().log_prob(x))
