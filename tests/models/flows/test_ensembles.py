"""Ensembles of flows by ``torch.func.vmap`` over stacked parameters and buffers."""

from __future__ import annotations

import copy
import io
from functools import partial

import pytest
import torch
from torch.func import functional_call, grad, stack_module_state, vmap

from pyneural.models.flows import (
    CNF,
    MAF,
    NCSF,
    NICE,
    NSF,
    AdditiveTransform,
    Flow,
    GeneralCouplingTransform,
    RealNVP,
    standard_normal,
)
from pyneural.models.flows.conditioned import CouplingTransform

X = torch.linspace(-2, 2, 21, dtype=torch.float64).view(7, 3)
MASK = torch.tensor([True, False, False])
SMALL = {"hidden_features": (8,), "transforms": 2}


def of_one_mask():
    """Layers that were all given the same tensor."""
    layers = [GeneralCouplingTransform(3, mask=MASK, hidden_features=(8,)) for _ in range(2)]
    return Flow(layers, standard_normal(3))


MAKERS = {
    "RealNVP": partial(RealNVP, 3, **SMALL),
    "RealNVP, masks of its own": partial(RealNVP, 3, randmask=True, **SMALL),
    "RealNVP, normalised": partial(RealNVP, 3, normalize=True, **SMALL),
    "RealNVP, bounded": partial(RealNVP, 3, bounds=[(-3.0, 3.0)] * 3, **SMALL),
    "NICE": partial(NICE, 3, univariate=AdditiveTransform, shapes=[()], **SMALL),
    "one mask": of_one_mask,
    "coupling NSF": partial(NSF, 3, passes=2, **SMALL),
    "periodic NSF": partial(NSF, 3, periodic=[True, False, False], **SMALL),
    "NCSF": partial(NCSF, 3, **SMALL),
    "CNF": partial(CNF, 3, hidden_features=(8,), atol=1e-10, rtol=1e-10, activation=torch.nn.Tanh),
    "MAF, residual": partial(MAF, 3, residual=True, **SMALL),
}


class Density(torch.nn.Module):
    """The log-density as ``forward``, during which ``functional_call`` replaces the tensors."""

    def __init__(self, flow):
        super().__init__()
        self.flow = flow

    def forward(self, x):
        return self.flow().log_prob(x)


@pytest.fixture(autouse=True)
def _double():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
def test_values_and_gradients(make, device):
    members = [Density(make()) for _ in range(3)]
    state = stack_module_state(members)
    one = copy.deepcopy(members[0]).to(device)

    def loss(parameters, buffers):
        return functional_call(one, (parameters, buffers), (X,)).mean()

    found = vmap(lambda p, b: functional_call(one, (p, b), (X,)))(*state)
    gradients = vmap(grad(loss))(*state)
    torch.testing.assert_close(found, torch.stack([member(X) for member in members]))
    for i, member in enumerate(members):
        member(X).mean().backward()
        for name, parameter in member.named_parameters():
            torch.testing.assert_close(gradients[name][i], parameter.grad)


def test_inverse_and_samples_of_an_ensemble():
    members = [RealNVP(3, randmask=True, **SMALL) for _ in range(3)]

    class Back(Density):
        def forward(self, z):
            return self.flow.transform().inv(z)

    state = stack_module_state([Back(flow) for flow in members])
    found = vmap(lambda p, b: functional_call(Back(members[0]), (p, b), (X,)))(*state)
    expected = torch.stack([flow.transform().inv(X) for flow in members])
    torch.testing.assert_close(found, expected)


def test_shapes_on_the_meta_device():
    flow = RealNVP(3, **SMALL).to("meta")
    density = flow()
    assert density.log_prob(X.to("meta")).shape == (7,)
    assert density.sample((4,)).shape == (4, 3)


def test_a_loaded_mask_is_the_one_that_counts():
    """A checkpoint's masks, and not those of the constructor, say which features stay."""
    options = {"mask": [True, False, False], "univariate": AdditiveTransform, "shapes": [()]}
    trained = GeneralCouplingTransform(3, **options)
    other = GeneralCouplingTransform(3, **{**options, "mask": [False, False, True]})
    file = io.BytesIO()
    torch.save(trained.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file))
    assert torch.equal(other()(X), trained()(X))
    found = vmap(lambda p, b: functional_call(Apply(other), (p, b), (X,)))(
        *stack_module_state([Apply(trained), Apply(other)])
    )
    torch.testing.assert_close(found, trained()(X).expand(2, -1, -1))


class Apply(torch.nn.Module):
    def __init__(self, lazy):
        super().__init__()
        self.lazy = lazy

    def forward(self, x):
        return self.lazy()(x)


def test_a_mask_that_leaves_other_numbers_to_the_network_is_refused():
    coupling = GeneralCouplingTransform(3, mask=MASK, univariate=AdditiveTransform, shapes=[()])
    coupling.mask.copy_(~MASK)
    with pytest.raises(RuntimeError):
        coupling()(X)
    assert CouplingTransform(lambda a: coupling.univariate(a[..., :1]), ~MASK)(X).shape == (7, 3)
