"""Whitening: what fit does, what is in a file, and data that cannot be whitened."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from pyneural.errors import ArgumentError
from pyneural.models import MAF, NSF
from pyneural.models.flows.whitening import Whitening


def correlated(rows=2000, dtype=torch.float32):
    torch.manual_seed(0)
    mix = torch.tensor([[300.0, 0, 0], [299, 1, 0], [0, 0.01, 0.01]], dtype=dtype)
    return torch.randn(rows, 3, dtype=dtype) @ mix.T + 1e3


def test_whitening_is_exact():
    x = correlated(dtype=torch.float64)
    whitening = Whitening(3).double()
    whitening.set_from(x)
    z, ladj = whitening().call_and_ladj(x)
    torch.testing.assert_close(z.T.cov(), torch.eye(3).double(), rtol=0, atol=1e-8)
    torch.testing.assert_close(ladj[0], -0.5 * x.T.cov().logdet())
    torch.testing.assert_close(whitening().inv(z), x, rtol=1e-10, atol=0)


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


def test_whiten_names_itself():
    flow, x = NSF(3), correlated(100)
    flow.compile("adam")
    constant, singular = x.clone(), x.clone()
    constant[:, 1], singular[:, 2] = 4.0, 2 * x[:, 0] - x[:, 1]
    for wrong, message in ((constant, "constant"), (singular, "singular"), (x[:, :2], r"\[N, 3\]")):
        for call, where in ((flow.whiten, "NSF.whiten: x"), (flow.fit, "fit: x")):
            with pytest.raises(ArgumentError, match=f"^{where}: expected .*{message}"):
                call(wrong)


def test_weights_of_a_part_leave_the_whitening():
    x = correlated(100)
    flow = MAF(3, transforms=1)
    plain = flow.state_dict()
    flow.whiten(x)
    mean = flow.whitening.mean.clone()
    part = {key: value for key, value in plain.items() if "hyper.0" in key}
    missing, unexpected = flow.load_state_dict(part, strict=False)
    assert "whitening.mean" in missing
    assert not unexpected
    missing, _ = flow.load_state_dict(plain, strict=False)
    assert missing == ["whitening.mean", "whitening.factor", "whitening.inverse"]
    inside = torch.nn.ModuleDict({"flow": flow, "other": torch.nn.Linear(1, 1)})
    inside.load_state_dict({"other.bias": torch.ones(1)}, strict=False)
    with pytest.raises(RuntimeError, match="Missing key"):
        flow.load_state_dict(part)
    assert torch.equal(flow.whitening.mean, mean)
    flow.load_state_dict(plain)  # of a flow that has none
    assert not flow.whitened
