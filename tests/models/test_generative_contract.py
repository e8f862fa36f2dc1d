"""What every generative model keeps to: gradients, inverse, log-determinant, files, shapes."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch

from pyneural.errors import ArgumentError
from pyneural.models import (
    CNF,
    GAN,
    MAF,
    NCSF,
    NICE,
    NSF,
    ActNorm,
    Flow,
    Gaussianisation,
    GaussianLikelihood,
    MLPDiscriminator,
    MLPGenerator,
    RealNVP,
    VariationalAutoencoder,
)
from pyneural.models.flows import FFJTransform, standard_normal
from pyneural.models.flows.affine import AdditiveTransform
from pyneural.models.flows.transforms import call_and_ladj
from pyneural.training import Batch
from tests.tolerances import FLOW

SMALL = {"transforms": 2, "hidden_features": [16, 16]}


def small(model, **options):
    """Its constructor; a single feature without context has no network."""

    def make(features, context):
        network = {k: v for k, v in SMALL.items() if features > 1 or context or k == "transforms"}
        return model(features, context, **network, **options)

    return make


def act_norm(features, context):
    flow = small(MAF)(features, context)
    layers = [ActNorm(features), *flow.transform]
    return Flow(layers, standard_normal(features), features=features, context=context)


def gaussianised(features, context):
    first = Gaussianisation(features, bins=8, low=-1.0, high=2.0)
    first.set_from(3 * torch.rand(200, features).square() - 1)
    layers = [first, *small(MAF)(features, context).transform]
    return Flow(layers, standard_normal(features), features=features, context=context)


def bounded(features, context):
    """An interval, half-lines and the line."""
    bounds = [(0.0, 2.0), (None, 1.0), (0.5, None), None] * 16
    return small(NSF, bounds=bounds[:features])(features, context)


def periodic(features, context):
    """Two kinds of angles beside an interval, a half-line and the line."""
    bounds = [None, (0.0, 1.0), (0.0, 2.0), (None, 1.0), None] * 13
    on_circle = [True, True, False, False, False] * 13
    options = {"bounds": bounds[:features], "periodic": on_circle[:features]}
    return small(NSF, **options)(features, context)


def continuous(features, context):
    """A smooth field, which takes few steps; for their tolerances see ``with_steps``."""
    return CNF(features, context, hidden_features=[8, 8], activation=torch.nn.Tanh)


# Of the steps of a CNF: its inverse is to be as close as that of the others.
STEPS = {torch.float32: 1e-6, torch.float64: 1e-10}

# A constructor each, of (features, context features). Models without an inverse are left out of
# the tests of it.
MODELS = {
    "NSF": small(NSF),
    "NSF of two passes": small(NSF, passes=2),
    "NSF, bounded": bounded,
    "NSF, bounded and periodic": periodic,
    "NCSF": small(NCSF),
    "MAF": small(MAF),
    "MAF, random order": small(MAF, randperm=True),
    "RealNVP": small(RealNVP),
    "NICE": small(NICE, univariate=AdditiveTransform, shapes=[()]),
    "ActNorm and MAF": act_norm,
    "Gaussianisation and MAF": gaussianised,
    "CNF": continuous,
}
SIZES = [(1, 0), (1, 2), (3, 2), (64, 0)]

every_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
every_size = pytest.mark.parametrize(("features", "context"), SIZES)
both_dtypes = pytest.mark.parametrize("dtype", FLOW, ids=str)


def with_steps(model, dtype=torch.float32):
    """The model, with the steps of a CNF for a dtype."""
    for module in model.modules():
        if isinstance(module, FFJTransform):
            module.atol = module.rtol = STEPS[dtype]
    return model


def made(make, features, context, dtype=torch.float32, device="cpu"):
    """The model, a context of 20 rows or None, and a sample for each."""
    torch.manual_seed(0)
    model = with_steps(make(features, context).to(device, dtype), dtype)
    c = torch.randn(20, context, dtype=dtype, device=device) if context else None
    x = model(c).sample(() if context else (20,))
    assert x.shape == (20, features)
    assert x.dtype == dtype
    model(c).log_prob(x)  # the first batch of an ActNorm
    return model, c, x


def batch_of(x, c):
    return Batch(x, c, None, len(x), 1.0)


@every_model
@every_size
def test_a_gradient_reaches_every_parameter(make, features, context, device):
    model, c, x = made(make, features, context, device=device)
    (loss,) = model.losses(batch_of(x, c)).values()
    loss.backward()
    assert loss.shape == ()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@every_model
@every_size
@both_dtypes
def test_inverse(make, features, context, dtype, device):
    model, c, x = made(make, features, context, dtype, device)
    transform = model(c).transform
    z, ladj = call_and_ladj(transform, x)
    back, back_ladj = call_and_ladj(transform.inv, z)
    limit = FLOW[dtype]
    torch.testing.assert_close(back, x, rtol=limit, atol=limit)
    torch.testing.assert_close(back_ladj, -ladj, rtol=limit, atol=limit)
    torch.testing.assert_close(transform(x), z, rtol=limit, atol=limit)
    torch.testing.assert_close(transform.inv(z), x, rtol=limit, atol=limit)


@every_model
@every_size
@both_dtypes
def test_log_determinant_is_that_of_autograd(make, features, context, dtype, device):
    if make is continuous and features == 64:
        pytest.skip("64 integrations backwards; tests/models/flows/test_continuous.py has 3")
    model, c, x = made(make, features, context, dtype, device)
    transform, x = model(None if c is None else c[:3]).transform, x[:3]
    # The rows do not depend on each other.
    jacobian = torch.autograd.functional.jacobian(lambda x: transform(x).sum(0), x)
    exact = torch.linalg.slogdet(jacobian.double().transpose(0, 1)).logabsdet.to(dtype)
    _, ladj = call_and_ladj(transform, x)
    limit = FLOW[dtype]
    torch.testing.assert_close(ladj, exact, rtol=limit, atol=limit)
    torch.testing.assert_close(transform.log_abs_det_jacobian(x, None), ladj)


@every_model
@every_size
@both_dtypes
def test_samples_and_their_log_prob(make, features, context, dtype, device):
    model, c, _ = made(make, features, context, dtype, device)
    density = model(c)
    x, log_prob = density.rsample_and_log_prob((4,))
    assert x.shape == (4, *density.batch_shape, features)
    assert log_prob.shape == (4, *density.batch_shape)
    limit = 10 * FLOW[dtype] * features  # rounding of x, times the slope of the density
    torch.testing.assert_close(density.log_prob(x), log_prob, rtol=limit, atol=limit)
    torch.manual_seed(1)
    first = density.sample((4,))
    torch.manual_seed(1)
    torch.testing.assert_close(density.rsample((4,)), first)
    assert not first.requires_grad


@every_model
def test_it_is_a_distribution_of_torch(make):
    model, c, x = made(make, 3, 2)
    density = model(c)
    assert isinstance(density, torch.distributions.Distribution)
    assert density.batch_shape == (20,)
    assert density.event_shape == (3,)
    wider = density.expand((5, 20))
    assert wider.batch_shape == (5, 20)
    assert wider.sample().shape == (5, 20, 3)
    torch.testing.assert_close(wider.log_prob(x)[4], density.log_prob(x))
    transformed = torch.distributions.TransformedDistribution(density.base, density.transform.inv)
    torch.testing.assert_close(transformed.log_prob(x), density.log_prob(x), rtol=1e-4, atol=1e-4)
    assert density.transform.forward_shape((7, 3)) == (7, 3)
    assert density.transform.domain.event_dim == density.transform.codomain.event_dim == 1


@every_model
@pytest.mark.parametrize("context", [0, 2])
def test_same_samples_after_training_save_and_load(make, context, tmp_path):
    model, c, x = made(make, 3, context)
    model.compile("adam")
    before = copy.deepcopy(model.state_dict())
    history = model.fit(x, c, batch_size=10, epochs=2, verbose=0)
    assert len(history.history["loss"]) == 2
    assert any(not torch.equal(v, before[k]) for k, v in model.state_dict().items() if k in before)
    model.save(tmp_path / "model.safetensors")
    torch.manual_seed(5)
    again = with_steps(make(3, context))
    again.load(tmp_path / "model.safetensors")
    found = []
    for one in (model, again):
        torch.manual_seed(1)
        found.append(one(c).sample((3,)))
    assert torch.equal(*found)


@every_model
def test_resumed_training_is_the_same_bit_by_bit(make, tmp_path):
    weights = []
    for epochs in ([4], [2, 4]):
        model, _, x = made(make, 3, 0)
        for n in epochs:
            if n != epochs[0]:  # in a new process
                model, _, x = made(make, 3, 0)
            model.compile("adam")
            path = tmp_path / f"{len(epochs)}.safetensors"
            torch.manual_seed(2)
            model.fit(x, batch_size=5, epochs=n, verbose=0, checkpoint=path, resume=True)
        weights.append(model.state_dict())
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name


@every_model
@every_size
def test_repr(make, features, context):
    model, c, _ = made(make, features, context)
    assert type(model).__name__ in repr(model)
    assert "(base)" in repr(model(c))


@every_model
def test_empty_batch_is_refused(make):
    model, _, x = made(make, 3, 0)
    model.compile("adam")
    with pytest.raises(ValueError, match="at least one row"):
        model.losses(batch_of(x[:0], None))
    with pytest.raises(ValueError, match="at least one sample"):
        model.fit(x[:0], verbose=0)


@every_model
def test_context_of_another_length_is_refused(make):
    conditional, plain = make(3, 2), make(3, 0)
    refused = partial(pytest.raises, ArgumentError)
    with refused(match=r"context: expected \[\.\.\., 2\], got \[5, 4\]; give 2 columns"):
        conditional(torch.zeros(5, 4))
    with refused(match=r"context: expected \[\.\.\., 2\], got None; call flow\(context\)"):
        conditional()
    with refused(match=r"expected None, as it was made with context=0, got \[5, 4\]; make it with"):
        plain(torch.zeros(5, 4))
    with refused(match=r"value: expected \[\.\.\., 3\], got \[5, 4\]; give one row a sample"):
        plain().log_prob(torch.zeros(5, 4))


def vae(features, prior=None):
    likelihood = GaussianLikelihood(0.5, learned=True)
    return VariationalAutoencoder([features, 8, 2], likelihood, prior=prior and prior())


# A constructor each, of features: models without a density of their own, but with a bound of it.
LATENT = {
    "VAE": vae,
    "VAE, NSF as prior": partial(vae, prior=lambda: small(NSF)(2, 0)),
    "VAE, RealNVP as prior": partial(vae, prior=lambda: small(RealNVP)(2, 0)),
}
every_latent = pytest.mark.parametrize("make", LATENT.values(), ids=LATENT)


def made_latent(make, features, dtype=torch.float32, device="cpu"):
    """The model and samples of it."""
    torch.manual_seed(0)
    model = make(features).to(device, dtype)
    x = model.sample(20)
    assert x.shape == (20, features)
    assert x.dtype == dtype
    return model, x


@every_latent
@pytest.mark.parametrize("features", [1, 3, 64])
@both_dtypes
def test_gradient_of_a_bound_reaches_every_parameter(make, features, dtype, device):
    model, x = made_latent(make, features, dtype, device)
    losses = model.losses(batch_of(x, None))
    (losses["reconstruction"] + losses["kl"]).backward()
    assert type(model).__name__ in repr(model)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
    assert model.log_prob(x, 3).shape == model.elbo(x).shape == (20,)


def check_saved_and_resumed(make, tmp_path):
    path, weights, drawn = tmp_path / "fit.safetensors", [], []
    for epochs in ([4], [2, 4]):
        for n in epochs:
            model, x = made_latent(make, 3)
            model.compile("adam")
            torch.manual_seed(2)
            file = path.with_stem(f"fit{len(epochs)}")
            model.fit(x, batch_size=5, epochs=n, verbose=0, checkpoint=file, resume=True)
        weights.append(model.state_dict())
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name
    model.save(tmp_path / "model.safetensors")
    torch.manual_seed(5)
    again = make(3)
    again.load(tmp_path / "model.safetensors")
    for one in (model, again):
        torch.manual_seed(1)
        drawn.append(one.sample(7))
    assert torch.equal(*drawn)


@every_latent
def test_latent_model_after_training_save_and_load_and_resumed(make, tmp_path):
    check_saved_and_resumed(make, tmp_path)


@every_latent
def test_empty_batch_of_a_latent_model_is_refused(make):
    model, x = made_latent(make, 3)
    model.compile("adam")
    with pytest.raises(ValueError, match="at least one row"):
        model.losses(batch_of(x[:0], None))
    with pytest.raises(ValueError, match="at least one sample"):
        model.fit(x[:0], verbose=0)


def gan(features, **options):
    return GAN(MLPGenerator(2, features, [8]), MLPDiscriminator(features, [8]), **options)


# A constructor each, of features: models that have samples alone, and their losses by names.
ADVERSARIAL = {
    "GAN": gan,
    "GAN, minimax": partial(gan, loss="minimax"),
    "GAN, R1": partial(gan, penalty="r1"),
    "GAN, gradient penalty": partial(gan, penalty="gradient"),
}
every_adversarial = pytest.mark.parametrize("make", ADVERSARIAL.values(), ids=ADVERSARIAL)


@every_adversarial
@pytest.mark.parametrize("features", [1, 3, 64])
@both_dtypes
def test_gradient_of_two_losses_reaches_every_parameter(make, features, dtype, device):
    model, x = made_latent(make, features, dtype, device)
    losses = model.losses(batch_of(x, None))
    (losses["discriminator"] + losses["generator"]).backward()
    assert type(model).__name__ in repr(model)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@every_adversarial
def test_adversarial_model_after_training_save_and_load_and_resumed(make, tmp_path):
    check_saved_and_resumed(make, tmp_path)


@every_adversarial
def test_empty_batch_of_an_adversarial_model_is_refused(make):
    model, x = made_latent(make, 3)
    model.compile("adam")
    with pytest.raises(ValueError, match="at least one row"):
        model.losses(batch_of(x[:0], None))
    with pytest.raises(ValueError, match="at least one sample"):
        model.fit(x[:0], verbose=0)
