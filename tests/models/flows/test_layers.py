"""Autoregressive and coupling transforms: in one call of an op, and by network and transforms."""

from __future__ import annotations

from functools import partial
from unittest import mock

import pytest
import torch

from pyneural import ops
from pyneural.models import MAF, NSF, RealNVP
from pyneural.models.flows.autoregressive import MaskedAutoregressiveTransform
from pyneural.models.flows.coupling import GeneralCouplingTransform
from pyneural.models.flows.splines import MonotonicRQSTransform
from pyneural.models.flows.transforms import AdditiveTransform, call_and_ladj

TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-10}


@pytest.mark.parametrize("model", [NSF, MAF, RealNVP])
def test_layers_are_one_call_each_forwards_and_backwards(model):
    flow, x = model(5, transforms=3), torch.randn(4, 5)
    with mock.patch.object(ops, "autoregressive", wraps=ops.autoregressive) as op:
        flow().log_prob(x)
        assert op.call_count == 3
        flow().sample((2,))
        assert op.call_count == 6


SPLINES = {
    "univariate": partial(MonotonicRQSTransform, bound=3.0, slope=1e-2),
    "shapes": [(4,), (4,), (3,)],
}
LAYERS = {
    "autoregressive": partial(MaskedAutoregressiveTransform, 5, 2, order=[3, 0, 4, 1, 2]),
    "coupling": partial(GeneralCouplingTransform, 5, 2, mask=[True, False, False, True, False]),
    "coupling without context": partial(GeneralCouplingTransform, 5),
    "one of two": partial(GeneralCouplingTransform, 2, activation=torch.nn.SiLU),
}


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("options", [{}, SPLINES], ids=["affine", "spline"])
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_a_layer_in_one_call_is_that_of_the_network_and_its_transforms(make, options, dtype):
    torch.manual_seed(0)
    lazy, limit = make(**options).to(dtype), 10 * TOLERANCES[dtype]
    features, *context = make.args
    c = torch.randn(4, 1, *context, dtype=dtype, requires_grad=True) if context else None
    x = torch.randn(6, features, dtype=dtype, requires_grad=True)
    inputs = [x, *([] if c is None else [c]), *lazy.parameters()]
    transform = lazy(c)
    assert transform.layer is not None
    found = []
    for layer in (transform.layer, None):
        transform.layer = layer
        for one in (transform, transform.inv):
            y, ladj = call_and_ladj(one, x)
            assert y.shape == (*((4,) if context else ()), 6, features)
            gradients = torch.autograd.grad((y.sin().sum() + ladj.sum()), inputs)
            found.append([y, ladj, *gradients])
    for one, other in zip(found[:2], found[2:], strict=True):
        torch.testing.assert_close(one, other, rtol=limit, atol=limit)


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_networks_that_are_more_than_their_weights_are_called(make):
    lazy = make()
    features, *context = make.args
    c, x = torch.randn(context) if context else None, torch.randn(6, features)
    before, calls = lazy(c)(x), []
    handle = lazy.hyper[0].register_forward_hook(lambda *_: calls.append(1))
    assert lazy(c).layer is None
    torch.testing.assert_close(lazy(c)(x), before)
    assert calls
    handle.remove()
    assert lazy(c).layer is not None
    lazy.hyper[1].forward = torch.tanh
    assert lazy(c).layer is None


def test_univariate_transforms_without_a_kernel():
    lazy = GeneralCouplingTransform(3, univariate=AdditiveTransform, shapes=[()])
    assert lazy().layer is None
    x = torch.randn(5, 3)
    torch.testing.assert_close(lazy().inv(lazy()(x)), x)


def test_the_mask_of_a_coupling_may_be_loaded():
    """Degrees are found anew."""
    a, b = (GeneralCouplingTransform(3, mask=[i == d for i in range(3)]) for d in (0, 1))
    x = torch.randn(5, 3)
    b()(x)
    b.load_state_dict(a.state_dict())
    assert torch.equal(b()(x), a()(x))
