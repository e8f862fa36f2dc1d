"""Flows with the weights of zuko, both ways."""

from __future__ import annotations

import pytest
import torch

from pyneural import models
from tests.tolerances import FLOW

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


@pytest.mark.parametrize("dtype", FLOW, ids=str)
@pytest.mark.parametrize(("features", "context"), [(1, 2), (3, 2), (7, 0)])
@pytest.mark.parametrize(("name", "options"), CASES.values(), ids=CASES)
def test_equal_to_zuko_with_the_same_weights_both_ways(name, options, features, context, dtype):
    zuko = pytest.importorskip("zuko")
    if features == 1:
        options = {k: v for k, v in options.items() if k != "residual"}
    torch.manual_seed(0)
    ours = getattr(models, name)(features, context, **options).to(dtype)
    theirs = getattr(zuko.flows, name)(features, context, **options).to(dtype)
    limit = FLOW[dtype]
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


def test_a_transform_of_zuko_alone_and_beside_ours():
    zuko = pytest.importorskip("zuko")
    torch.manual_seed(0)
    theirs, ours = (
        part.MaskedAutoregressiveTransform(3, 2, hidden_features=[8])
        for part in (zuko.flows, models.flows)
    )
    x, c = torch.randn(6, 3), torch.randn(6, 2)
    for transform, layers in ((theirs, [theirs]), ([theirs, ours], [theirs, ours])):
        flow = models.flows.Flow(transform, models.flows.standard_normal(3), context=2)
        z, total = x, 0
        for layer in layers:
            z, ladj = layer(c).call_and_ladj(z)
            total = total + ladj
        exact = flow.base().log_prob(z) + total
        torch.testing.assert_close(flow(c).log_prob(x), exact)
