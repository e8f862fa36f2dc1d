"""CNF under torch.func: for each row, and for each member of an ensemble."""

from __future__ import annotations

import pytest
import torch
from torch.func import grad, jvp, vmap

from pyneural.models.flows.continuous import CNF
from tests.models.flows.test_continuous import TIGHT, data, make
from tests.tolerances import assert_close

TANH = {"activation": torch.nn.Tanh, **TIGHT}
ROUGH = {"activation": torch.nn.Tanh, "atol": 1e-3, "rtol": 1e-3}
NETWORKS = {  # where there is no kernel the steps are the same, so is what they leave
    "kernel": {"hidden_features": [8, 8], **TANH},
    "three hidden layers": {"hidden_features": [8, 8, 8], **ROUGH},
    "normalised": {"hidden_features": [8], "normalize": True, **ROUGH},
}


@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize("options", NETWORKS.values(), ids=NETWORKS.keys())
def test_score_of_each_row(options, context):
    flow = make(3, context, **options).double()
    x, c = data(3, context, dtype=torch.float64)

    def log_prob(x, c):
        return flow(c).log_prob(x)

    leaf = x.clone().requires_grad_()
    expected = log_prob(leaf, c)
    (score,) = torch.autograd.grad(expected.sum(), leaf)
    dims = (0, 0 if context else None)
    assert_close(vmap(log_prob, dims)(x, c), expected, 1e-7)
    assert_close(vmap(grad(log_prob), dims)(x, c), score, 1e-6)
    _, along = jvp(lambda x: log_prob(x, c), (x,), (torch.ones_like(x),))
    assert_close(along, score.sum(1), 1e-6)


def test_values_of_each_row():
    flow = make(3, 0, **NETWORKS["kernel"]).double()
    x, _ = data(3, 0, dtype=torch.float64)
    assert_close(vmap(lambda x: flow.transform()(x))(x), flow.transform()(x), 1e-7)
    assert_close(vmap(lambda x: flow.transform().inv(x))(x), flow.transform().inv(x), 1e-7)


def test_an_estimated_trace():
    """Of the field w x + b, where the estimate is w e^2: the values are exact, whatever e is."""
    flow = CNF(1, freqs=0, exact=False, hidden_features=[], **TANH).double()
    x, _ = data(1, 0, dtype=torch.float64)
    transform, w = flow.transform(), flow.transform.ode[0].weight.detach()
    y, ladj = vmap(transform.call_and_ladj, randomness="different")(x)
    assert_close(y, transform(x), 1e-8)
    squares = ladj / w.squeeze()
    assert (squares > 0).all()
    assert len(squares.unique()) == len(x)
