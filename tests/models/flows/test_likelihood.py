"""What trains a flow is its likelihood, whatever a user changes between two steps."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from unittest import mock

import pytest
import torch
from torch.distributions import AffineTransform
from torch.func import functional_call

from pyneural.models.flows import (
    CNF,
    MAF,
    NSF,
    Flow,
    MaskedAutoregressiveTransform,
    RealNVP,
    likelihood,
)
from pyneural.models.flows.conditioner import MLP, MaskedMLP
from pyneural.models.flows.distributions import DiagNormal
from pyneural.models.flows.lazy import (
    UnconditionalDistribution,
    UnconditionalTransform,
    standard_normal,
)

X = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
C = torch.randn(20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def made(kind, seed=0, **options):
    torch.manual_seed(seed)
    return kind(3, transforms=2, hidden_features=(16, 16), **options).double()


def known(flow, c=None):
    """The flow, once its likelihood goes by what is known of its layers."""
    flow.mean_nll(X, c)
    with mock.patch.object(likelihood, "_of_density", side_effect=AssertionError):
        flow.mean_nll(X, c)
    return flow


def compare(flow, x=X, c=None):
    """That loss and gradients are those of the densities."""
    wanted = [p for p in flow.parameters() if p.requires_grad]
    exact = -flow(c).log_prob(x).mean()
    for _ in range(2):
        loss = flow.mean_nll(x, c)
        torch.testing.assert_close(loss, exact)
        torch.testing.assert_close(
            torch.autograd.grad(loss, wanted, allow_unused=True),
            torch.autograd.grad(exact, wanted, retain_graph=True, allow_unused=True),
        )


def network(flow):
    return next(m for m in flow.modules() if type(m) in (MLP, MaskedMLP))


class Doubled(MLP):
    def forward(self, x):
        return 2 * super().forward(x)


CHANGES = {
    "weight": lambda f: network(f)[0].weight.data.mul_(2),
    "new weight": lambda f: setattr(
        network(f)[0], "weight", torch.nn.Parameter(0.5 * network(f)[0].weight.detach())
    ),
    "weight beside its parameter": lambda f: network(f)[0].__dict__.update(
        weight=0.5 * network(f)[0].weight.detach()
    ),
    "frozen": lambda f: network(f)[0].requires_grad_(False),
    "activation": lambda f: network(f).__setitem__(1, torch.nn.Tanh()),
    "hook of a network": lambda f: network(f).register_forward_hook(lambda m, a, y: 0.5 * y),
    "hook of a layer": lambda f: network(f)[1].register_forward_hook(lambda m, a, y: 0.5 * y),
    "forward": lambda f: setattr(network(f)[1], "forward", torch.sin),
    "class": lambda f: setattr(network(f), "__class__", Doubled),
    "fewer transforms": lambda f: setattr(f.transform, "transforms", f.transform.transforms[:1]),
    "transforms in another order": lambda f: setattr(
        f.transform, "transforms", f.transform.transforms[::-1]
    ),
    "base": lambda f: f.base.loc.fill_(0.5),
    "base by data": lambda f: f.base.loc.data.fill_(0.5),
    "scale": lambda f: setattr(f.base, "scale", torch.full((3,), 2.0, dtype=torch.float64)),
    "whitening": lambda f: f.whiten(3 * X + 1),
    "loaded": lambda f: f.load_state_dict(made(type(f), 1).state_dict()),
    "parts replaced as a whole": lambda f: setattr(
        f, "_modules", {**f._modules, "transform": made(type(f), 1).transform}
    ),
    "pruned": lambda f: torch.nn.utils.prune.l1_unstructured(network(f)[0], "weight", 0.5),
    "normalised": lambda f: torch.nn.utils.parametrizations.weight_norm(network(f)[0]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("kind", [RealNVP, MAF, NSF])
def test_a_change_between_two_steps(kind, change):
    if kind is not RealNVP and change is CHANGES["class"]:
        pytest.skip("the network is another one")
    flow = known(made(kind))
    change(flow)
    compare(flow)


def test_a_mask_that_is_written_to():
    flow = known(made(MAF))
    with torch.no_grad():
        network(flow)[0].mask.zero_()
    compare(flow)


@pytest.mark.parametrize("kind", [RealNVP, MAF])
def test_a_context(kind):
    flow = known(made(kind, context=2), C)
    compare(flow, c=C)
    compare(flow, c=C[:1])
    compare(flow, c=C.float())
    compare(flow, x=X[:5], c=C[:5])
    with pytest.raises(ValueError, match="context: expected"):
        flow.mean_nll(X)
    with pytest.raises(ValueError, match="context: expected"):
        flow.mean_nll(X, C[:, :1])
    with pytest.raises(ValueError, match="finite"):
        flow.mean_nll(X, C / 0)
    with pytest.raises(ValueError, match="rows that broadcast"):
        flow.mean_nll(X, C[:7])


def test_none_and_a_context_of_a_flow_that_takes_any():
    layers = [MaskedAutoregressiveTransform(3, 0), MaskedAutoregressiveTransform(3, 0)]
    flow = known(Flow(layers, standard_normal(3)).double())
    with pytest.raises((ValueError, RuntimeError)):
        flow.mean_nll(X, C)
    compare(flow)


@pytest.mark.parametrize("kind", [RealNVP, MAF])
def test_wrong_rows(kind):
    flow = known(made(kind))
    with pytest.raises(ValueError, match=r"\[\.\.\., 3\]"):
        flow.mean_nll(X[:, :2])
    with pytest.raises(ValueError, match="expected"):
        flow.mean_nll(X.long())
    with pytest.raises((ValueError, RuntimeError)):
        flow.mean_nll(X.float())
    compare(flow, X[:1])


def test_copies_have_their_own():
    flow = known(made(RealNVP))
    for other in (copy.deepcopy(flow), pickle.loads(pickle.dumps(flow))):
        other.mean_nll(X)
        with torch.no_grad():
            network(other)[0].weight.mul_(2)
        compare(other)
        compare(flow)
        assert other.mean_nll(X) != flow.mean_nll(X)


def test_parameters_of_another_call():
    flow = known(made(RealNVP))
    doubled = {name: 2 * p for name, p in flow.named_parameters()}

    class Loss(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.flow = flow

        def forward(self, x):
            return self.flow.mean_nll(x)

    found = functional_call(Loss(), {f"flow.{name}": p for name, p in doubled.items()}, (X,))
    other = copy.deepcopy(flow)
    other.load_state_dict(doubled, strict=False)
    torch.testing.assert_close(found, other.mean_nll(X))
    compare(flow)


class Moody(MaskedAutoregressiveTransform):
    shift = 0.0

    def forward(self, c=None):
        torch.manual_seed(0)
        return RealNVP(3).double().transform(c) if Moody.shift else super().forward(c)


def test_a_transform_of_ones_own():
    flow = Flow([Moody(3), Moody(3)], standard_normal(3)).double()
    compare(flow)
    try:
        Moody.shift = 1.0
        exact = -flow().log_prob(X).mean()
        torch.testing.assert_close(flow.mean_nll(X), exact)
    finally:
        Moody.shift = 0.0


class Shifted(RealNVP):
    def forward(self, c=None):
        density = super().forward(c)
        density.base = torch.distributions.Independent(
            torch.distributions.Laplace(
                torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
            ),
            1,
        )
        return density


def test_a_flow_of_ones_own():
    compare(made(Shifted))


def test_flows_without_such_layers():
    torch.manual_seed(0)
    flow = CNF(3, hidden_features=(8,)).double()
    torch.testing.assert_close(flow.mean_nll(X), -flow().log_prob(X).mean())


def at_scale(loc=None, scale=None):
    return DiagNormal(zeros(3) if loc is None else loc, SCALE[0] * ones(3))


BASES = {
    "function": lambda: UnconditionalDistribution(at_scale),
    "function of buffers": lambda: UnconditionalDistribution(
        at_scale, loc=zeros(3), scale=ones(3), buffer=True
    ),
    "parameters": lambda: UnconditionalDistribution(DiagNormal, zeros(3), ones(3)),
    "frozen": lambda: UnconditionalDistribution(DiagNormal, zeros(3), ones(3)).requires_grad_(
        False
    ),
    "shapes": lambda: UnconditionalDistribution(DiagNormal, zeros(3), ones(()), buffer=True),
    "events": lambda: UnconditionalDistribution(
        DiagNormal, zeros(20, 3), ones(20, 3), ndims=2, buffer=True
    ),
}
SCALE = [1.0]


def zeros(*shape):
    return torch.zeros(*shape, dtype=torch.float64)


def ones(*shape):
    return torch.ones(*shape, dtype=torch.float64)


def double_scale(flow):
    SCALE[0] = 2.0
    for name, tensor in [*flow.base.named_parameters(), *flow.base.named_buffers()]:
        if name == "_1" or (name == "scale" and flow.base.f is DiagNormal):
            tensor.data = 2 * tensor.data


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_a_base_of_ones_own(base):
    SCALE[0] = 1.0
    layers = [MaskedAutoregressiveTransform(3), MaskedAutoregressiveTransform(3)]
    flow = Flow(layers, base(), features=3).double()
    compare(flow)
    double_scale(flow)
    compare(flow)


def test_a_shallow_copy():
    flow = known(made(RealNVP))
    other = copy.copy(flow)
    other.forward = made(RealNVP, 1).forward
    torch.testing.assert_close(other.mean_nll(X), other.forward().mean_nll(X))
    compare(flow)
    other = copy.copy(flow)
    other._modules = dict(other._modules)
    other.transform = made(RealNVP, 1).transform
    compare(other)
    compare(flow)


def test_another_whitening():
    flow = made(RealNVP)
    flow.whitening = UnconditionalTransform(AffineTransform, 2 * ones(3), 3 * ones(3), buffer=True)
    compare(flow)


def test_a_module_that_is_not_used():
    flow = made(RealNVP)
    flow.extra = torch.jit.script(torch.nn.Linear(2, 2))
    torch.testing.assert_close(flow.mean_nll(X), flow.mean_nll(X))


def test_a_context_that_is_no_tensor():
    with pytest.raises(ValueError, match="expected a tensor"):
        made(RealNVP, context=2).mean_nll(X, C.tolist())


def test_what_is_known_keeps_no_flow_alive():
    flow = known(made(RealNVP))
    alive = weakref.ref(flow)
    gc.disable()
    try:
        del flow
        assert alive() is None
    finally:
        gc.enable()


def test_a_flow_saved_by_an_earlier_version():
    flow = made(RealNVP)
    flow.__dict__.pop("_likelihood", None)
    compare(pickle.loads(pickle.dumps(flow)))


def test_steps_that_change_a_module_each_time_give_up():
    flow = made(RealNVP)
    with mock.patch.object(likelihood, "_look_at", wraps=likelihood._look_at) as looks:
        for _ in range(9):
            network(flow).step = object()
            flow.mean_nll(X)
    assert looks.call_count == 3
    compare(flow)


@pytest.mark.parametrize("kind", [RealNVP, MAF])
def test_a_training_goes_by_it(kind):
    flow = made(kind)
    flow.compile("adam")
    with mock.patch.object(likelihood, "_of_density", wraps=likelihood._of_density) as made_anew:
        flow.fit(X, batch_size=5, epochs=3, verbose=0)
    assert made_anew.call_count == 1
