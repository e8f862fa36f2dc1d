"""Autoregressive and coupling transforms: in one call of an op, and by network and transforms."""

from __future__ import annotations

from functools import partial
from unittest import mock

import pytest
import torch

from pyneural import ops
from pyneural.models import MAF, NSF, RealNVP
from pyneural.models.flows.affine import AdditiveTransform
from pyneural.models.flows.autoregressive import MaskedAutoregressiveTransform
from pyneural.models.flows.coupling import GeneralCouplingTransform
from pyneural.models.flows.splines import MonotonicRQSTransform
from pyneural.models.flows.transforms import call_and_ladj

TOLERANCES = {torch.float32: 1e-5, torch.float64: 1e-10}


@pytest.mark.parametrize("model", [NSF, MAF, RealNVP])
def test_a_flow_is_one_call_forwards_and_backwards(model):
    flow, x = model(5, transforms=3), torch.randn(4, 5)
    with mock.patch.object(ops, "autoregressive", wraps=ops.autoregressive) as op:
        flow().log_prob(x)
        assert op.call_count == 1
        flow().sample((2,))
        assert op.call_count == 2
        flow.double().transform(None).inv(x.double())
        assert op.call_count == 3


@pytest.mark.parametrize("model", [NSF, MAF, RealNVP])
def test_a_flow_is_its_layers_in_turn(model):
    """Also where some have another activation, a hook, or no kernel, which parts the call."""
    torch.manual_seed(0)
    flow = model(5, context=2, transforms=7).double()
    x, c = torch.randn(6, 5, dtype=torch.float64), torch.randn(6, 2, dtype=torch.float64)
    layers = flow.transform.transforms
    for name in ("plain", "activation", "hook"):
        if name == "activation":
            layers[2].hyper[1] = layers[2].hyper[3] = torch.nn.SiLU()
        if name == "hook":
            layers[5].hyper.register_forward_hook(lambda module, args, phi: 0.5 * phi)
        y, total = x, 0
        for layer in layers:
            y, ladj = layer(c).call_and_ladj(y)
            total = total + ladj
        with mock.patch.object(ops, "autoregressive", wraps=ops.autoregressive) as op:
            found = flow.transform(c).call_and_ladj(x)
            assert op.call_count == {"plain": 1, "activation": 3, "hook": 4}[name]
        torch.testing.assert_close(found, (y, total))
        torch.testing.assert_close(flow.transform(c).inv(y), x)


@pytest.mark.parametrize("model", [MAF, RealNVP])
def test_compiled(model, recwarn):
    torch.manual_seed(0)
    flow, c = model(3, context=2, transforms=10, hidden_features=(8,)), torch.randn(4, 2)
    compiled = torch.compile(lambda x, c: flow(c).log_prob(x))
    for _ in range(2):
        x = torch.randn(4, 3)
        torch.testing.assert_close(compiled(x, c), flow(c).log_prob(x))
    assert not [one for one in recwarn if "recompile" in str(one.message)]


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
    assert transform.fused is not None
    found = []
    for layer in (transform.fused, None):
        transform.fused = layer
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
    assert lazy(c).fused is None
    torch.testing.assert_close(lazy(c)(x), before)
    assert calls
    handle.remove()
    assert lazy(c).fused is not None
    handle = lazy.hyper.register_forward_hook(lambda *_: calls.append(1))
    assert lazy(c).fused is None
    handle.remove()
    lazy.hyper[1].forward = torch.tanh
    assert lazy(c).fused is None
    lazy.hyper = torch.nn.Sequential(*lazy.hyper)
    assert lazy(c).fused is None


def test_a_subclass_with_parameters_of_its_own_is_asked_for_them():
    class Shrunk(GeneralCouplingTransform):
        def meta(self, c, x):
            return super().meta(c, 0.5 * x)

    torch.manual_seed(0)
    lazy, x = Shrunk(3), torch.randn(5, 3)
    assert lazy().fused is None
    plain = GeneralCouplingTransform(3)
    plain.load_state_dict(lazy.state_dict())
    with torch.no_grad():
        plain.hyper[0].weight.mul_(0.5)
    torch.testing.assert_close(lazy()(x), plain()(x))


def test_univariate_transforms_without_a_kernel():
    lazy = GeneralCouplingTransform(3, univariate=AdditiveTransform, shapes=[()])
    assert lazy().fused is None
    x = torch.randn(5, 3)
    torch.testing.assert_close(lazy().inv(lazy()(x)), x)


def test_the_mask_of_a_coupling_may_be_loaded():
    """Degrees are found anew."""
    a, b = (GeneralCouplingTransform(3, mask=[i == d for i in range(3)]) for d in (0, 1))
    x = torch.randn(5, 3)
    b()(x)
    b.load_state_dict(a.state_dict())
    assert torch.equal(b()(x), a()(x))
