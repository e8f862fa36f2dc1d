"""The loss of a flow in one call of an op, and where it is its log-densities."""

from __future__ import annotations

from unittest import mock

import pytest
import torch

from pyneural import ops
from pyneural.models import MAF, NCSF, NSF, RealNVP
from pyneural.training import Batch


def compared(flow, calls, x=None, c=None, w=None):
    """That the loss and its gradients are those of log_prob, with so many calls of the op."""
    x = torch.randn(20, 5, dtype=torch.float64) if x is None else x
    batch = Batch(x, c, w, len(x), 1.0)
    parameters = [p for p in flow.parameters() if p.requires_grad]
    with mock.patch.object(ops, "autoregressive_nll", wraps=ops.autoregressive_nll) as op:
        loss = flow.losses(batch)["loss"]
        assert op.call_count == calls
    found = torch.autograd.grad(loss, parameters)
    exact = -((1 if w is None else w) * flow(c).log_prob(x)).mean()
    torch.testing.assert_close(loss, exact)
    torch.testing.assert_close(found, torch.autograd.grad(exact, parameters))


@pytest.mark.parametrize("model", [NSF, MAF, RealNVP])
def test_one_call(model):
    torch.manual_seed(0)
    compared(model(5).double(), 1)


def test_context_whitening_and_bounds():
    torch.manual_seed(0)
    c = torch.randn(20, 2, dtype=torch.float64)
    compared(MAF(5, context=2).double(), 1, c=c)
    flow = RealNVP(5).double()
    flow.whiten(torch.randn(50, 5, dtype=torch.float64))
    compared(flow, 1)
    bounded = MAF(2, bounds=[(0, 1), None]).double()
    compared(bounded, 1, x=torch.rand(20, 2, dtype=torch.float64))


def test_where_it_is_the_log_densities():
    torch.manual_seed(0)
    compared(MAF(5).double(), 0, w=torch.rand(20, dtype=torch.float64))
    moved = MAF(5).double()
    moved.base.loc.fill_(0.5)
    compared(moved, 0)
    compared(NCSF(5).double(), 0, x=torch.rand(20, 5, dtype=torch.float64))
    hooked = RealNVP(5).double()
    hooked.transform.transforms[-1].hyper.register_forward_hook(lambda m, args, phi: 0.5 * phi)
    compared(hooked, 0)
    first = RealNVP(5).double()  # the rest is one call
    first.transform.transforms[0].hyper.register_forward_hook(lambda m, args, phi: 0.5 * phi)
    compared(first, 1)


def test_frozen_layers_have_no_gradient():
    torch.manual_seed(0)
    flow = RealNVP(5).double()
    flow.transform.transforms[0].requires_grad_(False)
    flow.transform.transforms[2].hyper[0].bias.requires_grad_(False)
    compared(flow, 1)
