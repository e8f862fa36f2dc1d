"""load_model: flows from their files alone."""

from __future__ import annotations

import copy
import json
import pickle
from functools import partial

import numpy as np
import pytest
import torch

from pyneural import models
from pyneural.models import CNF, MAF, NCSF, NICE, NSF, ActNorm, Flow, RealNVP
from pyneural.models.flows.affine import AdditiveTransform
from pyneural.models.flows.lazy import standard_normal
from pyneural.training import CheckpointError

SMALL = {"transforms": 2, "hidden_features": (8, 8)}
GRAPH = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 1, 1]]).bool()
FLOWS = {
    "NSF": partial(NSF, 3, 2, 5, transforms=2, slope=1e-2, passes=2),
    "bounds": partial(NSF, 3, bounds=[(0, 1), None, (np.float32(-1.0), None)], **SMALL),
    "periods": partial(NSF, 2, bounds=[(0, 360), (0, None)], periodic=[True, False], transforms=2),
    "bounds of an array": partial(MAF, 3, bounds=np.array([[-9.0, 9]] * 3), **SMALL),
    "NCSF": partial(NCSF, 3, context=np.int64(1), **SMALL),
    "MAF": partial(MAF, 3, 0, 2, True, activation=torch.nn.ELU, residual=False),
    "order": partial(MAF, 3, adjacency=GRAPH, hidden_features=np.array([8])),
    "RealNVP": partial(RealNVP, 3, randmask=True, **SMALL),
    "NICE": partial(NICE, 3, univariate=AdditiveTransform, shapes=[()], **SMALL),
    "CNF": partial(CNF, 3, 1, hidden_features=[8], atol=1e-4, exact=True, activation=torch.nn.Tanh),
    "one feature": partial(NSF, 1, transforms=2),
}


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("name", FLOWS)
def test_load_model_makes_it_from_its_file(name, whiten, tmp_path):
    torch.manual_seed(0)
    flow = FLOWS[name]().double()
    c = torch.randn(50, flow.context).double() if flow.context else None
    x = flow(c).sample(() if flow.context else (50,))
    if whiten and not flow.periodic:
        flow.whiten(x)
    before = torch.get_rng_state()
    flow.save(tmp_path / "flow.safetensors")
    other = models.load_model(tmp_path / "flow.safetensors")
    assert torch.equal(torch.get_rng_state(), before)
    assert type(other) is type(flow)
    assert other.whitened == flow.whitened
    assert torch.equal(other(c).log_prob(x), flow(c).log_prob(x))
    assert repr(other) == repr(flow)
    other.save(tmp_path / "again.safetensors")
    assert models.load_model(tmp_path / "again.safetensors").get_config() == other.get_config()
    for copied in (copy.deepcopy(flow), pickle.loads(pickle.dumps(flow))):
        assert json.dumps(copied.architecture()) == json.dumps(flow.architecture())


def test_what_takes_code_is_refused_with_a_remedy(tmp_path):
    path = tmp_path / "flow.safetensors"
    by_hand = Flow([ActNorm(2), *MAF(2).transform], standard_normal(2))
    function = MAF(2, activation=lambda: torch.nn.LeakyReLU(0.1))
    for flow in (by_hand, function):
        flow.save(path)
        with pytest.raises(CheckpointError, match=r"make the model and use its load\(\)"):
            models.load_model(path)
        flow.load(path)
    assert pickle.loads(pickle.dumps(MAF(2, activation=lambda: torch.nn.ReLU()))).features == 2


class Steep(torch.nn.Softplus):
    """Not of pyneural."""


class Own(NSF):
    """A flow of the user."""

    def __init__(self, width: int) -> None:
        super().__init__(2, hidden_features=[width])


@pytest.mark.parametrize("make", [partial(MAF, 2, activation=Steep), partial(Own, 8)])
def test_classes_of_others_are_not_made(make, tmp_path):
    path = tmp_path / "flow.safetensors"
    make().save(path)
    with pytest.raises(CheckpointError, match=r"got .*(Steep|Own); make the model yourself"):
        models.load_model(path)


def test_a_file_that_names_another_class_is_refused(tmp_path):
    """A class of torch.nn may be an activation, but no flow, and no function is called."""
    flow = MAF(2, **SMALL)
    config = flow.architecture()
    for arguments in ({"activation": {"class": "os.system"}}, {"nothing": 1}, {"features": "2"}):
        wrong = copy.deepcopy(config)
        wrong["arguments"] |= arguments
        flow.architecture = lambda wrong=wrong: wrong
        flow.save(tmp_path / "flow.safetensors")
        with pytest.raises(CheckpointError):
            models.load_model(tmp_path / "flow.safetensors")


def test_signatures_are_those_of_the_constructors():
    import inspect

    names = list(inspect.signature(NSF).parameters)
    assert names[:4] == ["features", "context", "bins", "slope"]
    assert names[-1] == "flow"


def test_a_flow_as_prior_is_made_with_its_model(tmp_path):
    model = models.VariationalAutoencoder([4, 8, 2], "gaussian", prior=NSF(2, **SMALL))
    model.prior.whiten(torch.randn(50, 2))
    model.save(tmp_path / "vae.safetensors")
    other = models.load_model(tmp_path / "vae.safetensors")
    drawn = []
    for one in (model, other):
        torch.manual_seed(0)
        drawn.append(one.sample(5))
    assert torch.equal(*drawn)
