"""Autoregressive and coupling layers: graphs, orders and masks."""

from __future__ import annotations

import pytest
import torch

from pyneural import models
from pyneural.errors import ArgumentError
from pyneural.models import MAF, NSF, RealNVP
from pyneural.models.flows.autoregressive import MaskedAutoregressiveTransform
from pyneural.models.flows.conditioner import MaskedMLP


def test_masks_that_follow_from_no_degrees_are_kept():
    torch.manual_seed(0)
    flow, x = MAF(3, transforms=1), torch.randn(5, 3)
    layer = flow.transform.transforms[0].hyper[2]
    before = flow().log_prob(x)
    layer.mask[:32] = False  # as a checkpoint may have it
    after = flow().log_prob(x)
    assert not torch.equal(before, after)
    assert flow.transform.transforms[0]().fused is None
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
        models.flows.coupling.GeneralCouplingTransform(2, mask=[True, True])


def test_second_derivatives_of_the_density():
    flow, x = NSF(2, transforms=1).double(), torch.randn(3, 2).double()
    hessian = torch.autograd.functional.hessian(lambda x: flow().log_prob(x).sum(), x)
    assert hessian.isfinite().all()


def test_half_precision_of_a_coupling_flow_samples():
    flow = RealNVP(2).to(torch.bfloat16)
    assert flow().log_prob(flow().sample((3,))).isfinite().all()
