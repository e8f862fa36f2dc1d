"""Flows: equal to zuko's, whitening, bounds, angles, ActNorm, masks, and what they refuse."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from pyneural import models
from pyneural.errors import ArgumentError
from pyneural.models import MAF, NCSF, NSF, ActNorm, RealNVP
from pyneural.models.flows.autoregressive import MaskedAutoregressiveTransform
from pyneural.models.flows.bounded import Bounded
from pyneural.models.flows.conditioner import MaskedMLP
from pyneural.models.flows.coupling import GeneralCouplingTransform
from pyneural.models.flows.whitening import Whitening
from pyneural.training import Adam, TensorBatches, Trainer

CASES = {
    "NSF": ("NSF", {}),
    "NSF of two passes": ("NSF", {"passes": 2, "bins": 5}),
    "NCSF": ("NCSF", {"transforms": 2}),
    "MAF": ("MAF", {"activation": torch.nn.ELU}),
    "MAF, random order": ("MAF", {"randperm": True, "passes": 2, "hidden_features": [24, 8]}),
    "MAF, residual": ("MAF", {"residual": True, "hidden_features": [16, 16]}),
    "RealNVP": ("RealNVP", {"randmask": True}),
    "NICE": ("NICE", {"normalize": True}),
}
TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-10}


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize(("features", "context"), [(1, 2), (3, 2), (7, 0)])
@pytest.mark.parametrize(("name", "options"), CASES.values(), ids=CASES)
def test_equal_to_zuko_with_the_same_weights_both_ways(name, options, features, context, dtype):
    zuko = pytest.importorskip("zuko")
    if features == 1:
        options = {k: v for k, v in options.items() if k != "residual"}
    torch.manual_seed(0)
    ours = getattr(models, name)(features, context, **options).to(dtype)
    theirs = getattr(zuko.flows, name)(features, context, **options).to(dtype)
    limit = TOLERANCES[dtype]
    for a, b in ((ours, theirs), (theirs, ours)):
        with torch.no_grad():
            for parameter in a.parameters():
                parameter.copy_(torch.randn_like(parameter) / 10)
        b.load_state_dict(a.state_dict(), strict=True)
        c = torch.randn(6, context, dtype=dtype) if context else None
        x = 2 * torch.randn(6, features, dtype=dtype)
        exact = theirs(c).log_prob(x)
        torch.testing.assert_close(ours(c).log_prob(x), exact, rtol=limit, atol=limit)
        found = []
        for flow in (ours, theirs):
            torch.manual_seed(1)
            found.append(flow(c).rsample_and_log_prob((4,)))
        for mine, exact in zip(*found, strict=True):
            torch.testing.assert_close(mine, exact, rtol=10 * limit, atol=10 * limit)


def test_masks_that_follow_from_no_degrees_are_kept():
    torch.manual_seed(0)
    flow, x = MAF(3, transforms=1), torch.randn(5, 3)
    layer = flow.transform.transforms[0].hyper[2]
    before = flow().log_prob(x)
    layer.mask[:32] = False  # as a checkpoint may have it
    after = flow().log_prob(x)
    assert not torch.equal(before, after)
    assert flow.transform.transforms[0]().layer is None
    torch.testing.assert_close(flow().log_prob(flow().sample((9,))).isfinite().all().item(), True)


def test_jacobian_has_the_graph_that_was_given():
    adjacency = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 1, 1]]).bool()
    transform = MaskedAutoregressiveTransform(3, adjacency=adjacency)
    assert transform.passes == 3
    jacobian = torch.autograd.functional.jacobian(transform(), torch.randn(3))
    assert torch.equal(jacobian != 0, adjacency)
    x = torch.randn(5, 3)
    torch.testing.assert_close(transform().inv(transform()(x)), x, rtol=1e-4, atol=1e-5)


def test_graphs_orders_and_masks_that_do_not_fit():
    with pytest.raises(ArgumentError, match="a graph without cycles"):
        MaskedAutoregressiveTransform(2, adjacency=torch.ones(2, 2))
    with pytest.raises(ArgumentError, match="ones on the diagonal"):
        MaskedAutoregressiveTransform(2, adjacency=torch.zeros(2, 2))
    with pytest.raises(ArgumentError, match=r"order: expected \[3\], got \[2\]"):
        MaskedAutoregressiveTransform(3, order=[0, 1])
    with pytest.raises(ValueError, match="an edge from an input"):
        MaskedMLP(torch.zeros(2, 2).bool())
    with pytest.raises(ArgumentError, match="features of both kinds"):
        GeneralCouplingTransform(2, mask=[True, True])


def correlated(rows=2000, dtype=torch.float32):
    torch.manual_seed(0)
    mix = torch.tensor([[300.0, 0, 0], [299, 1, 0], [0, 0.01, 0.01]], dtype=dtype)
    return torch.randn(rows, 3, dtype=dtype) @ mix.T + 1e3


def test_fit_whitens_and_finds_a_gaussian():
    x = correlated(dtype=torch.float64)
    entropy = torch.distributions.MultivariateNormal(x.mean(0), x.T.cov()).entropy()
    torch.manual_seed(0)
    flow = NSF(3, transforms=2, hidden_features=[16]).double()
    flow.compile("adam")
    history = flow.fit(x, batch_size=200, epochs=10, verbose=0)
    assert flow.whitened
    assert abs(history.history["loss"][-1] - float(entropy)) < 0.1
    assert abs(flow.evaluate(x) + float(flow.log_prob(x).mean())) < 1e-9
    found = flow().sample((4000,))
    torch.testing.assert_close(found.T.cov(), x.T.cov(), rtol=0.2, atol=10)


def test_whitening_is_in_the_file_and_stays_in_a_second_fit(tmp_path):
    x, flow = correlated(200), MAF(3, transforms=1)
    flow.compile("adam")
    flow.fit(x, verbose=0)
    mean = flow.whitening.mean.clone()
    flow.fit(x + 5, verbose=0)
    assert torch.equal(flow.whitening.mean, mean)
    other = MAF(3, transforms=1)
    other.load_state_dict(flow.state_dict())
    assert torch.equal(other().log_prob(x), flow().log_prob(x))
    other.load_state_dict({k: v for k, v in flow.state_dict().items() if "whitening" not in k})
    assert not other.whitened
    inside = torch.nn.ModuleDict({"prior": MAF(3, transforms=1)})
    inside.load_state_dict({f"prior.{k}": v for k, v in flow.state_dict().items()})
    assert inside["prior"].whitened
    assert copy.deepcopy(flow).whitened


def test_without_whitening_the_keys_are_those_of_zuko_after_fit():
    zuko = pytest.importorskip("zuko")
    flow = MAF(3, transforms=2)
    keys = list(flow.state_dict())
    flow.compile("adam")
    flow.fit(torch.randn(50, 3), whiten=False, verbose=0)
    flow.fit(torch.randn(50, 3), verbose=0)  # what was trained without stays without
    assert list(flow.state_dict()) == keys
    zuko.flows.MAF(3, transforms=2).load_state_dict(flow.state_dict())
    loaded = MAF(3, transforms=2)
    loaded.load_state_dict(zuko.flows.MAF(3, transforms=2).state_dict())
    loaded.compile("adam")
    loaded.fit(torch.randn(50, 3), verbose=0)  # what was given weights keeps what they came with
    assert list(loaded.state_dict()) == keys


def test_data_that_cannot_be_whitened_are_named():
    flow, x = MAF(3), correlated(100)
    flow.compile("adam")
    constant, holes, singular = x.clone(), x.clone(), x.clone()
    constant[:, 1], holes[7, 2], singular[:, 2] = 4.0, torch.nan, 2 * x[:, 0] - x[:, 1]
    with pytest.raises(ValueError, match="column 1 constant, 4 in all 100 rows; leave it out"):
        flow.fit(constant)
    with pytest.raises(ValueError, match=r"got 1 that are nan .* in column 2 \(first in row 7\)"):
        flow.fit(holes)
    with pytest.raises(ValueError, match="singular covariance of 100 rows: column 2 follows from"):
        flow.fit(singular)
    with pytest.raises(ValueError, match="give more than 3 rows, or write fit"):
        flow.fit(x[:3])
    with pytest.raises(ValueError, match=r"expected \[N, 3\], got \[100, 2\]"):
        flow.fit(x[:, :2])
    assert not flow.whitened
    flow.fit(singular, whiten=False, verbose=0)


def test_columns_of_a_frame_are_named():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"r": np.arange(9.0), "u": np.ones(9)})
    flow = MAF(2)
    flow.compile("adam")
    with pytest.raises(ValueError, match=r"column 1 \('u'\) constant"):
        flow.fit(frame)


def test_a_data_loader_is_whitened_before():
    x = torch.randn(40, 2)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, x[:, :1]), batch_size=8)
    flow = MAF(2, 1)
    flow.compile("adam")
    with pytest.raises(ValueError, match=r"call flow\.whiten\(rows\) before"):
        flow.fit(loader)
    flow.whiten(x)
    assert len(flow.fit(loader, verbose=0).history["loss"]) == 1


def test_a_trainer_trains_it_with_a_context():
    torch.manual_seed(0)
    c = torch.randn(400, 1)
    x = c * torch.tensor([2.0, -1.0]) + 0.1 * torch.randn(400, 2)
    flow = MAF(2, 1, transforms=2)
    batches = TensorBatches(x, c, batch_size=100, seed=0)
    report = Trainer(flow, [Adam(150, lr=1e-2)], batches=batches, progress=False).fit()
    losses = report.history.history["loss"]
    assert losses[-1] < losses[0] - 2
    torch.testing.assert_close(flow(c[:5]).sample((99,)).mean(0), x[:5], atol=0.5, rtol=0)


def test_weights_of_samples_weigh_the_likelihood():
    flow, x = MAF(2), torch.randn(10, 2)
    w = torch.rand(10)
    batch = next(iter(TensorBatches(x, None, w, batch_size=10).epoch(0)))
    loss = flow.losses(batch)["loss"]
    torch.testing.assert_close(loss, -(w * flow().log_prob(x)).mean())


BOUNDS = [(0.0, 1.0), (None, 2.0), (-1.0, None), None]


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
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


def test_act_norm_takes_its_first_batch_alone():
    norm, x = ActNorm(3), 5 * torch.randn(200, 3) + torch.tensor([1.0, 2.0, 3.0])
    norm.eval()
    assert torch.equal(norm()(x), x)
    norm.train()
    y = norm()(x)
    torch.testing.assert_close(y.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(y.std(0), torch.ones(3))
    assert torch.equal(norm()(x[:50]), y[:50])
    other = ActNorm(3)
    other.load_state_dict(norm.state_dict())
    assert torch.equal(other()(10 * x), norm()(10 * x))
    with pytest.raises(ValueError, match=r"ActNorm: first batch: .* column 0 constant"):
        ActNorm(3)()(torch.ones(5, 3))


def test_whitening_is_exact():
    x = correlated(dtype=torch.float64)
    whitening = Whitening(3).double()
    whitening.set_from(x)
    z, ladj = whitening().call_and_ladj(x)
    torch.testing.assert_close(z.T.cov(), torch.eye(3).double(), rtol=0, atol=1e-8)
    torch.testing.assert_close(ladj[0], -0.5 * x.T.cov().logdet())
    torch.testing.assert_close(whitening().inv(z), x, rtol=1e-10, atol=0)


def test_second_derivatives_of_the_density():
    flow, x = NSF(2, transforms=1).double(), torch.randn(3, 2).double()
    hessian = torch.autograd.functional.hessian(lambda x: flow().log_prob(x).sum(), x)
    assert hessian.isfinite().all()


def test_half_precision_of_a_coupling_flow_samples():
    flow = RealNVP(2).to(torch.bfloat16)
    assert flow().log_prob(flow().sample((3,))).isfinite().all()


def test_predict_says_what_there_is():
    with pytest.raises(NotImplementedError, match=r"write flow\.log_prob\(x\)"):
        MAF(2).predict(torch.zeros(1, 2))


def test_arrays_give_arrays():
    flow, x = MAF(2, 1), np.zeros((4, 2))
    found = flow.log_prob(x, np.zeros((4, 1)))
    assert isinstance(found, np.ndarray)
    assert found.shape == (4,)


def test_angles_take_neither_bounds_nor_a_whitening():
    """Both would change what a full turn is."""
    with pytest.raises(ArgumentError, match=r"NCSF: bounds: expected none, as its features are"):
        NCSF(2, bounds=[(0, 6), None])
    with pytest.raises(ValueError, match=r"NCSF.whiten: expected features on the line"):
        NCSF(2).whiten(torch.rand(50, 2))


def test_bounds_are_in_the_file(tmp_path):
    flow = NSF(2, bounds=[(0, 1), None], transforms=1)
    flow.save(tmp_path / "flow.safetensors")
    other = NSF(2, bounds=[(0, 5), None], transforms=1)
    other.load(tmp_path / "flow.safetensors")
    x = torch.rand(5, 2)
    assert other().log_prob(x).equal(flow().log_prob(x))
    with pytest.raises(ValueError, match="bounded"):
        NSF(2, transforms=1).load(tmp_path / "flow.safetensors")


def test_what_was_trained_is_not_whitened_later():
    x = torch.randn(200, 2) * 5 + 3
    flow = MAF(2, transforms=1)
    (-flow().log_prob(x).mean()).backward()
    flow.compile("adam")
    flow.fit(x, epochs=1, verbose=0)
    assert not flow.whitened


def test_a_file_that_does_not_fit_leaves_the_flow_as_it_was(tmp_path):
    x = torch.randn(200, 2) * 5 + 3
    flow = MAF(2, transforms=1)
    flow.whiten(x)
    expected = flow().log_prob(x)
    MAF(3, transforms=1).save(tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="other"):
        flow.load(tmp_path / "other.safetensors")
    assert flow.whitened
    assert flow().log_prob(x).equal(expected)


def test_mixed_precision_is_refused():
    with pytest.raises(ValueError, match=r"MAF.compile: mixed_precision: expected None"):
        MAF(2).compile("adam", mixed_precision=torch.bfloat16)
