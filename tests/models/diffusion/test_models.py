"""DDPM and flow matching: training, samples, likelihood, conditions, files, refusals."""

import math

import numpy as np
import pytest
import torch

from pyneural.models import DDPM, FlowMatching, MLPDenoiser, load_model

KINDS = {"ddpm": DDPM, "flow matching": FlowMatching}
for_both = pytest.mark.parametrize("kind", KINDS)


def make(kind, features=2, condition=0, hidden=(32, 32), **options):
    torch.manual_seed(0)
    if kind == "ddpm":
        options.setdefault("steps", 100)
    return KINDS[kind](MLPDenoiser(features, hidden, condition), **options)


def trained(kind, x, y=None, epochs=60, **options):
    model = make(kind, x.shape[1], **options)
    model.compile(lambda parameters: torch.optim.Adam(parameters, 3e-3))
    model.fit(x, y, epochs=epochs, batch_size=250, verbose=0)
    return model


@for_both
def test_samples_have_the_units_of_the_data(kind):
    torch.manual_seed(1)
    x = torch.randn(2000, 2) * torch.tensor([0.01, 30.0]) + torch.tensor([5.0, -100.0])
    model = trained(kind, x, epochs=40)
    found = model.sample(4000)
    torch.testing.assert_close(found.mean(0), x.mean(0), rtol=0.05, atol=0.004)
    assert (found.std(0) / x.std(0)).sub(1).abs().max() < 0.25


@for_both
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_gradient_reaches_every_parameter(kind, dtype):
    model = make(kind, 3, 2).to(dtype)
    model.compile("adam")
    model.fit(torch.randn(50, 3, dtype=dtype), torch.rand(50, 2), epochs=1, verbose=0)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    assert model.sample(3, torch.rand(3, 2)).dtype == dtype


@for_both
def test_conditions_tell_samples_apart(kind):
    torch.manual_seed(1)
    classes = torch.randint(2, (2000,))
    x = torch.randn(2000, 1) * 0.2 + 3.0 * classes[:, None]
    model = trained(kind, x, classes, condition=2, drop_condition=0.1)
    for k in (0, 1):
        found = model.sample(500, torch.full((500,), k))
        assert float(found.mean()) == pytest.approx(3.0 * k, abs=0.3)
        guided = model.sample(500, torch.full((500,), k), guidance=1.0)
        assert (guided.mean() - found.mean()) * (2 * k - 1) > -0.1  # away from the other class


@for_both
def test_saved_and_loaded(kind, tmp_path):
    x = torch.randn(200, 2) * 3 + 1
    model = trained(kind, x, epochs=1)
    model.save(tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    torch.manual_seed(3)
    first = model.sample(5)
    torch.manual_seed(3)
    assert torch.equal(first, again.sample(5))


@for_both
def test_measurements_of_the_same_batch_are_equal(kind):
    model = make(kind)
    model.compile("adam")
    x = torch.randn(100, 2)
    model.fit(x, epochs=1, verbose=0)
    assert model.evaluate(x, verbose=0) == model.evaluate(x, verbose=0)


def test_ddim_is_a_function_of_the_noise():
    model = make("ddpm")
    torch.manual_seed(2)
    first = model.sample(4, steps=10, eta=0.0)
    torch.manual_seed(2)
    assert torch.equal(first, model.sample(4, steps=10, eta=0.0))
    torch.manual_seed(2)
    assert not torch.equal(first, model.sample(4, steps=10, eta=1.0))
    assert model.sample(4, steps=[100, 50, 1]).shape == (4, 2)


def test_likelihood_of_flow_matching():
    """Against the change of variables by autograd's Jacobian, and a density that is integrated."""
    model = make("flow matching", 2).double()
    model.shift.copy_(torch.tensor([1.0, -2.0]))
    model.scale.copy_(torch.tensor([0.5, 3.0]))
    x = torch.randn(3, 2, dtype=torch.float64)

    def to_noise(x):
        from pyneural.ode import odeint

        z = ((x - model.shift) / model.scale)[None]

        def velocity(t, z):
            return model(z, t.expand(1))

        return odeint(velocity, z, [1.0, 0.0], rtol=1e-10, atol=1e-10)[-1][0]

    expected = []
    for row in x:
        jacobian = torch.autograd.functional.jacobian(to_noise, row)
        normal = -0.5 * to_noise(row).square().sum() - math.log(2 * math.pi)
        expected.append(normal + jacobian.det().abs().log())
    found = model.log_prob(x, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found, torch.stack(expected).detach(), rtol=1e-7, atol=1e-7)


@for_both
def test_bad_input_is_named(kind):
    model = make(kind, 2, 3)
    model.compile("adam")
    with pytest.raises(ValueError, match=r"constant columns \[1\]"):
        model.fit(torch.stack([torch.randn(20), torch.ones(20)], 1), torch.rand(20, 3), verbose=0)
    with pytest.raises(ValueError, match="nan or infinite"):
        model.fit(np.array([[1.0, np.nan]] * 20), np.zeros((20, 3)), verbose=0)
    with pytest.raises(ValueError, match=r"\[N, 2\]"):
        model.fit(torch.randn(20, 3), torch.rand(20, 3), verbose=0)
    with pytest.raises(ValueError, match="classes from 0 to 2"):
        model.sample(2, torch.tensor([0, 3]))
    with pytest.raises(ValueError, match="2 of them"):
        model.sample(2, torch.tensor([0]))
    with pytest.raises(ValueError, match="whole number >= 1"):
        model.sample(0)
    with pytest.raises(ValueError, match="guidance: expected 0 where there is no condition, got 1"):
        model.sample(2, guidance=1.0)
    with pytest.raises(ValueError, match="never trained without a condition, got"):
        model.sample(2, torch.tensor([0, 1]), guidance=1.0)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="target"):
        make("ddpm", target="noise")
    with pytest.raises(ValueError, match="schedule"):
        make("ddpm", schedule="cosinus")
    with pytest.raises(ValueError, match="drop_condition"):
        make("ddpm", drop_condition=1.0)
    with pytest.raises(ValueError, match="sigma"):
        make("flow matching", sigma=2.0)


@for_both
def test_ways_begin_at_noise_and_end_at_samples(kind):
    model = make(kind)
    model.shift.copy_(torch.tensor([1.0, -2.0]))
    model.scale.copy_(torch.tensor([0.5, 3.0]))
    torch.manual_seed(4)
    ways = model.paths(7, points=11)
    assert ways.shape == (11, 7, 2)
    torch.manual_seed(4)
    torch.testing.assert_close(ways[0], torch.randn(7, 2) * model.scale + model.shift)
    torch.manual_seed(4)
    options = {"steps": 10, "eta": 0.0} if kind == "ddpm" else {}
    torch.testing.assert_close(ways[-1], model.sample(7, **options), rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="paths: points: expected a whole number >= 2, got 1"):
        model.paths(7, points=1)
