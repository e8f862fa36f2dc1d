"""Sampling in one call of the op, and step by step: the same samples, the same distribution."""

from __future__ import annotations

import copy

import pytest
import torch

from pyneural import nn
from pyneural.models import DDPM, FlowMatching, MLPDenoiser
from pyneural.models.diffusion import ddpm, flow_matching
from pyneural.models.diffusion.samplers import runge_kutta_steps
from pyneural.ode.tableau import DOPRI5, RK4
from tests.nn.called_ops import CalledOps

OP = "pyneural.diffusion_sampler.default"
KINDS = {"ddpm": DDPM, "flow matching": FlowMatching}
for_both = pytest.mark.parametrize("kind", KINDS)


def make(kind, features=3, condition=0, dtype=torch.float64, **options):
    torch.manual_seed(0)
    if kind == "ddpm":
        options.setdefault("steps", 60)
    options.setdefault("drop_condition", 0.1 if condition else 0.0)
    model = KINDS[kind](MLPDenoiser(features, (40, 33), condition), **options).to(dtype)
    model.shift.uniform_(-1, 1)
    model.scale.uniform_(0.5, 2)
    return model


def sample(model, count=50, *arguments, seed=1, **options):
    torch.manual_seed(seed)
    return model.sample(count, *arguments, **options)


def by_steps(model, *arguments, **options):
    """The same through calls of the denoiser."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (ddpm, flow_matching):
            patch.setattr(module, "sample_in_one_call", lambda *_: None)
        return sample(model, *arguments, **options)


def uses_the_op(model, *arguments, **options):
    with CalledOps() as called:
        sample(model, *arguments, **options)
    return OP in called.names


WITHOUT_CHANCE = {"ddpm": {"eta": 0.0, "steps": 20}, "flow matching": {"steps": 5}}


@for_both
@pytest.mark.parametrize(
    ("dtype", "limit"), [(torch.float64, 1e-10), (torch.float32, 3e-5)], ids=str
)
def test_the_same_samples(kind, dtype, limit):
    """Rounding of an untrained network is multiplied with 1 / alpha_T."""
    torch.manual_seed(0)
    for condition, guidance in ((0, 0.0), (2, 0.0), (2, 1.5)):
        model = make(kind, 3, condition, dtype)
        c = [torch.randint(condition, (50,))] if condition else []
        options = {**WITHOUT_CHANCE[kind], "guidance": guidance}
        assert uses_the_op(model, 50, *c, **options)
        found, expected = sample(model, 50, *c, **options), by_steps(model, 50, *c, **options)
        torch.testing.assert_close(found, expected, rtol=limit, atol=limit)


def test_the_same_distribution():
    """Ancestral samples of a trained model, with the op's noise and with torch's."""
    stats = pytest.importorskip("scipy.stats")
    torch.manual_seed(0)
    x = torch.randn(1000, 2).cumsum(1) * 3
    model = make("ddpm", 2, dtype=torch.float32)
    model.scaled.fill_(False)
    model.compile("adam")
    model.fit(x, epochs=10, batch_size=100, verbose=0)
    assert uses_the_op(model)
    found, expected = sample(model, 4000), by_steps(model, 4000, seed=2)
    for direction in ([1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -1.0]):
        ours, theirs = ((s @ torch.tensor(direction)).numpy() for s in (found, expected))
        assert stats.ks_2samp(ours, theirs).pvalue > 1e-3
    assert not torch.allclose(found, expected)


@for_both
def test_torchs_seed_repeats_the_samples(kind):
    model = make(kind)
    options = {"steps": 10}
    assert torch.equal(sample(model, **options), sample(model, **options))
    assert not torch.equal(sample(model, **options), sample(model, seed=2, **options))


class Subclass(MLPDenoiser):
    def forward(self, x, t, c=None):
        return 2 * super().forward(x, t, c)


def hooked(part):
    def change(model):
        part(model).register_forward_hook(lambda *_: _[-1] * 2)

    return change


def change_forward(model):
    model.denoiser.forward = lambda x, t, c=None: MLPDenoiser.forward(model.denoiser, x, t, c) * 2


def set_denoiser(make_denoiser):
    def change(model):
        model.denoiser = make_denoiser(model.denoiser)

    return change


def with_layer(make_layer):
    def change(model):
        layers = model.denoiser.network.layers
        layers[1] = make_layer(layers[1])

    return change


def of_subclass(denoiser):
    twin = Subclass(3, (40, 33)).to(torch.float64)
    twin.load_state_dict(denoiser.state_dict())
    return twin


CHANGES = {
    "a hook of the model": hooked(lambda model: model),
    "a hook of the denoiser": hooked(lambda model: model.denoiser),
    "a hook of the network": hooked(lambda model: model.denoiser.network),
    "a hook of a layer": hooked(lambda model: model.denoiser.network.layers[2]),
    "a forward of its own": change_forward,
    "a subclass": set_denoiser(of_subclass),
    "a compiled denoiser": set_denoiser(lambda d: torch.compile(d, backend="eager")),
    "a wrapped layer": with_layer(lambda layer: torch.nn.Sequential(layer, torch.nn.Tanh())),
    "a parametrised layer": with_layer(torch.nn.utils.parametrizations.weight_norm),
}


@pytest.mark.parametrize("name", CHANGES)
@for_both
def test_what_is_changed_is_called(kind, name):
    model = make(kind)
    CHANGES[name](model)
    options = WITHOUT_CHANCE[kind]
    assert not uses_the_op(model, **options)
    assert torch.equal(sample(model, **options), by_steps(model, **options))


@for_both
def test_a_subclass_of_the_model_that_guides_in_its_own_way_is_called(kind):
    class Guided(KINDS[kind]):
        def guided(self, x, t, c, guidance):
            return 2 * super().guided(x, t, c, guidance)

    model = make(kind)
    model.__class__ = Guided
    assert not uses_the_op(model, **WITHOUT_CHANCE[kind])


@for_both
def test_autocast_and_transformations_go_step_by_step(kind):
    model, options = make(kind, dtype=torch.float32), WITHOUT_CHANCE[kind]
    with torch.autocast("cpu", torch.bfloat16):
        assert not uses_the_op(model, **options)
    with torch.device("cpu"):
        assert uses_the_op(model, **options)
    found = torch.func.vmap(lambda _: model.sample(4, **options), randomness="different")(
        torch.zeros(3)
    )
    assert found.shape == (3, 4, 3)


@for_both
def test_a_denoiser_whose_condition_is_not_given_is_refused_as_before(kind):
    model = make(kind, 3, 2)
    with pytest.raises(ValueError, match="expected"):
        sample(model, **WITHOUT_CHANCE[kind])


def test_adaptive_steps_call_the_velocity():
    assert not uses_the_op(make("flow matching"))


def test_deep_copies_and_lora_of_peft_like_layers():
    """A layer that adds to a frozen one, as adapters do, is called."""

    class Adapter(nn.Linear):
        def forward(self, x):
            return super().forward(x) + x.sum(-1, keepdim=True)

    model = make("ddpm")
    copied = copy.deepcopy(model)
    assert torch.equal(sample(model), sample(copied))
    layers = copied.denoiser.network.layers
    layers[1] = Adapter(40, 33).double()
    assert not uses_the_op(copied)


@pytest.mark.parametrize("tableau", [RK4, DOPRI5], ids=lambda t: t.name)
def test_stages_of_a_runge_kutta_method(tableau):
    """One after the other they are the method as the book has it, for dx/dt = t - x."""
    times, coefficients = runge_kutta_steps(tableau, 3)
    x, slopes = 2.0, []
    for t, (a, c, *b) in zip(times, coefficients.tolist(), strict=True):
        slopes.insert(0, t - x)
        x = a * x + sum(factor * k for factor, k in zip(b, slopes, strict=False))
        assert c == 0
    expected, h = 2.0, 1 / 3
    for step in range(3):
        stages = []
        for node, row in zip(tableau.nodes, tableau.stages, strict=True):
            at = expected + h * sum(a * k for a, k in zip(row, stages, strict=True))
            stages.append((step + node) * h - at)
        expected += h * sum(b * k for b, k in zip(tableau.weights, stages, strict=True))
    assert x == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("steps", [0, -1, 2.5])
def test_steps_that_are_none(steps):
    with pytest.raises(ValueError, match="steps: expected a whole number above 0"):
        make("flow matching").sample(3, steps=steps)
