"""The variational autoencoder against models whose likelihood is known, and in training."""

import copy
import math
import os
import pickle
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributions as D

from pyneural import models
from pyneural.models import VariationalAutoencoder
from pyneural.training import Adam, TensorBatches, Trainer, callbacks
from pyneural.training.callbacks import Callback

ROOT = Path(__file__).parents[3]
INPUTS, LATENT, STD = 5, 2, 0.7


class Mixture(torch.nn.Module):
    """A prior that is trained: its call gives a mixture of normal distributions."""

    def __init__(self, latent, components=3):
        super().__init__()
        self.logits = torch.nn.Parameter(torch.zeros(components))
        self.mean = torch.nn.Parameter(torch.randn(components, latent))
        self.log_std = torch.nn.Parameter(torch.zeros(components, latent))

    def forward(self):
        parts = D.Independent(D.Normal(self.mean, self.log_std.exp()), 1)
        return D.MixtureSameFamily(D.Categorical(logits=self.logits), parts)


def probabilistic_pca(shift=0.0, factor=1.0, prior=None):
    """p(x|z) = N(W z + m, s^2) with orthogonal columns of W, and q(z|x) the posterior, or not.

    Returns the model, samples x, log p(x) and KL(q(z|x) || p(z|x)), which are exact (Tipping and
    Bishop 1999).
    """
    torch.manual_seed(0)
    weight = torch.linalg.qr(torch.randn(INPUTS, LATENT).double()).Q * torch.tensor([2.0, 0.5])
    mean = torch.randn(INPUTS).double()
    precision = weight.T @ weight + STD**2 * torch.eye(LATENT).double()  # diagonal
    encoder, decoder = torch.nn.Linear(INPUTS, 2 * LATENT), torch.nn.Linear(LATENT, INPUTS)
    model = VariationalAutoencoder(
        encoder, models.GaussianLikelihood(STD), decoder=decoder, latent=LATENT, prior=prior
    ).double()
    to_z = torch.linalg.inv(precision) @ weight.T
    variance = STD**2 / precision.diag()
    with torch.no_grad():
        decoder.weight.copy_(weight)
        decoder.bias.copy_(mean)
        encoder.weight.copy_(torch.cat([to_z, torch.zeros_like(to_z)]))
        encoder.bias.copy_(torch.cat([shift - to_z @ mean, (factor * variance).log()]))
    covariance = weight @ weight.T + STD**2 * torch.eye(INPUTS).double()
    exact = D.MultivariateNormal(mean, covariance)
    x = exact.sample((40,))
    posterior = D.Independent(D.Normal((x - mean) @ to_z.T, variance.sqrt().expand(40, -1)), 1)
    gap = D.kl_divergence(model.encode(x), posterior).detach()
    return model, x, exact.log_prob(x), gap


def repeated(function, x, count):
    """Mean over that many draws of each sample, [N]."""
    with torch.no_grad():
        return function(x.repeat(count, 1)).view(count, len(x)).mean(0)


def test_bounds_are_exact_at_the_exact_posterior():
    model, x, exact, gap = probabilistic_pca()
    assert gap.abs().max() < 1e-12
    for samples in (1, 7):  # the weights p(x, z) / q(z|x) are all p(x)
        torch.testing.assert_close(model.log_prob(x, samples), exact, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(repeated(model.elbo, x, 20_000), exact, rtol=0, atol=0.06)
    given = D.Independent(D.Normal(torch.zeros(2).double(), torch.ones(2).double()), 1)
    model, x, exact, _ = probabilistic_pca(prior=given)  # log q - log p in place of the divergence
    torch.testing.assert_close(model.elbo(x), exact, rtol=1e-12, atol=1e-12)


def test_elbo_lies_below_by_the_divergence_from_the_posterior():
    model, x, exact, gap = probabilistic_pca(shift=0.3, factor=1.5)
    assert gap.min() > 0.1
    found = repeated(model.elbo, x, 40_000)
    assert (found < exact).all()
    torch.testing.assert_close(found, exact - gap, rtol=0, atol=0.06)


def test_importance_weighted_bound_rises_to_the_likelihood():
    model, x, exact, gap = probabilistic_pca(shift=0.3, factor=1.5)
    bounds = [
        repeated(lambda rows, k=k: model.log_prob(rows, k), x, 4000 // k).mean().item()
        for k in (1, 4, 40, 400)
    ]
    assert bounds[0] == pytest.approx((exact - gap).mean().item(), abs=0.05)
    assert all(after > before + 1e-3 for before, after in pairwise(bounds))
    assert 0 < exact.mean() - bounds[-1] < 0.01


def test_parts_of_the_bound_are_one(monkeypatch):
    model, x, *_ = probabilistic_pca(shift=0.3)
    torch.manual_seed(1)
    whole = model.log_prob(x, 9)
    monkeypatch.setattr(sys.modules[VariationalAutoencoder.__module__], "_ROWS", 2 * len(x))
    torch.manual_seed(1)
    torch.testing.assert_close(model.log_prob(x, 9), whole)


LIKELIHOODS = {
    "bernoulli": (models.BernoulliLikelihood(), lambda o: D.Bernoulli(logits=o), 1),
    "binomial": (models.BinomialLikelihood(16), lambda o: D.Binomial(16, logits=o), 16),
    "fixed": (models.GaussianLikelihood(0.3), lambda o: D.Normal(o, 0.3), None),
    "learned": (models.GaussianLikelihood(0.3, learned=True), lambda o: D.Normal(o, 0.3), None),
}


@pytest.mark.parametrize("name", LIKELIHOODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_likelihoods_are_those_of_torch(name, dtype):
    likelihood, by_torch, trials = LIKELIHOODS[name]
    likelihood = copy.deepcopy(likelihood).to(dtype)
    generator = torch.Generator().manual_seed(0)
    output = 4 * torch.randn(6, 3, 4, dtype=dtype, generator=generator)
    x = torch.randn(6, 3, 4, dtype=dtype, generator=generator)
    if trials is not None:
        x = (x.abs() * trials).round().clamp(0, trials)
        x[0], output[0, 0, :2] = trials, torch.tensor([200.0, -200.0])  # saturated
    expected = by_torch(output).log_prob(x).flatten(1).sum(1)
    # Of float32, the standard deviation exp(log 0.3) has a rounding of its own.
    tolerance = {"rtol": 1e-5 if dtype == torch.float32 else 1e-7, "atol": 1e-5}
    torch.testing.assert_close(likelihood.log_prob(output, x), expected, **tolerance)
    torch.testing.assert_close(likelihood(output).log_prob(x), expected, **tolerance)
    torch.testing.assert_close(likelihood(output).mean, by_torch(output).mean, **tolerance)


def counts(samples=64, dtype=torch.float32):
    """Digits of a kind: two blobs of counts from 0 to 4, [N, 6]."""
    generator = torch.Generator().manual_seed(5)
    kind = torch.randint(2, (samples, 1), generator=generator)
    share = torch.where(kind == 1, torch.linspace(0.1, 0.9, 6), torch.linspace(0.9, 0.1, 6))
    return torch.binomial(torch.full((samples, 6), 4.0), share, generator=generator).to(dtype)


def new_model(prior=None, **options):
    torch.manual_seed(3)
    prior = Mixture(2) if prior == "mixture" else prior
    options = {"likelihood": models.BinomialLikelihood(4), "activation": "tanh"} | options
    model = VariationalAutoencoder([6, 8, 2], prior=prior, **options)
    model.compile("adam")
    return model


@pytest.mark.parametrize("prior", [None, "mixture"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("likelihood", ["binomial", "learned"])
def test_a_gradient_reaches_every_parameter(prior, dtype, likelihood):
    kind = copy.deepcopy(LIKELIHOODS["learned"][0])
    options = {"likelihood": kind} if likelihood == "learned" else {}
    model = new_model(prior, **options).to(dtype)
    (-model.elbo(counts(dtype=dtype)).mean()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
        assert parameter.dtype == dtype
    assert model.sample(3).dtype == dtype


def test_gradient_is_that_of_the_elbo_with_the_noise_held_fixed():
    model, x = new_model().double(), counts(4, torch.float64)
    weight = model.decoder.layers[0].weight

    def loss():
        torch.manual_seed(8)
        return -model.elbo(x).sum()

    loss().backward()
    step = 1e-6
    for row, column in ((0, 0), (5, 1)):
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                weight[row, column] += sign * step
                ends.append(loss().item())
                weight[row, column] -= sign * step
        assert weight.grad[row, column] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6)


def test_training_reaches_the_exact_likelihood_of_a_linear_model(tmp_path):
    target, *_ = probabilistic_pca()
    torch.manual_seed(1)
    z = torch.randn(4000, LATENT).double()
    x = target.decode(z).sample()
    torch.manual_seed(2)
    model = VariationalAutoencoder(
        torch.nn.Linear(INPUTS, 2 * LATENT), models.GaussianLikelihood(1.0, learned=True),
        decoder=torch.nn.Linear(LATENT, INPUTS), latent=LATENT,
    ).double()  # fmt: skip
    batches = TensorBatches(x, batch_size=200, seed=1)
    phases, file = [Adam(500, lr=0.05, final=0.05)], tmp_path / "fit.safetensors"
    Trainer(model, phases, batches=batches, checkpoint=file, progress=False).fit()
    fitted = D.MultivariateNormal(x.mean(0), x.T.cov())
    entropy = -fitted.log_prob(x).mean().item()  # of the best Gaussian: no bound is above it
    found = -repeated(model.elbo, x, 5).mean().item()
    assert entropy - 0.03 < found < entropy + 0.08
    assert model.likelihood.std == pytest.approx(STD, rel=0.05)


def test_curves_metrics_and_callbacks(tmp_path):
    model, x = new_model(), counts(90)
    assert -model.evaluate(x[60:], return_dict=True)["elbo"] > 0
    stop = callbacks.EarlyStopping("val_elbo", patience=50, restore_best_weights=True)
    log = callbacks.CSVLogger(tmp_path / "log.csv")
    history = model.fit(
        x[:60], epochs=30, verbose=0, validation_data=x[60:], callbacks=[stop, log],
    )  # fmt: skip
    names = ["loss", "reconstruction", "kl", "elbo"]
    assert list(history.history) == [*names, *(f"val_{name}" for name in names)]
    for prefix in ("", "val_"):
        loss, reconstruction, kl, elbo = (np.array(history[prefix + name]) for name in names)
        np.testing.assert_allclose(loss, reconstruction + kl, rtol=1e-5)
        np.testing.assert_allclose(elbo, -loss, rtol=1e-5)
        assert elbo[-1] > elbo[0] + 0.5
    first, second = (model.evaluate(x[60:], return_dict=True) for _ in range(2))
    assert first == second  # the same noise
    assert "val_elbo" in (tmp_path / "log.csv").read_text()
    by_split = new_model().fit(x, epochs=1, verbose=0, validation_split=0.2)
    assert "val_kl" in by_split.history


def test_validation_changes_no_other_random_number():
    plain, watched, x = new_model(), new_model(), counts()
    for model, options in ((plain, {}), (watched, {"validation_data": x[:9]})):
        torch.manual_seed(4)
        model.fit(x, epochs=2, verbose=0, **options)
    assert torch.equal(weights(plain), weights(watched))


def weights(model):
    return torch.cat([value.flatten().double() for value in model.state_dict().values()])


@pytest.mark.parametrize(
    ("unit", "expected"), [("step", [0.5, 2.0, 2.0]), ("epoch", [0.5, 1, 1.5])]
)
def test_beta_rises_and_stays(unit, expected):
    model = new_model(beta=2.0, warm_up=4, unit=unit)
    seen = []

    class See(Callback):
        def on_epoch_begin(self, epoch):
            seen.append(model.term_weights["kl"])

    history = model.fit(counts(), epochs=3, verbose=0, batch_size=16, callbacks=[See()])
    assert seen == expected
    beta = np.array(expected if unit == "epoch" else [1.25, 2.0, 2.0])
    parts = np.array(history["reconstruction"]) + beta * np.array(history["kl"])
    np.testing.assert_allclose(history["loss"], parts, rtol=0.2 if unit == "step" else 1e-5)
    model.fit(counts(), epochs=1, verbose=0, batch_size=16)  # a second training goes on
    assert model.term_weights["kl"] == 2.0


class Pause(Callback):
    """Pauses a training after a number of steps, counted over all of it."""

    def __init__(self, step=None):
        self.step = step

    def on_train_batch_end(self):
        if self.run.steps == self.step:
            self.run.pause("a test")


@pytest.mark.parametrize("unit", ["step", "epoch"])
@pytest.mark.parametrize("step", [2, 4, 7])
def test_resumed_is_uninterrupted_bit_by_bit_within_the_warm_up(tmp_path, unit, step):
    def train(pause, **options):
        model = new_model("mixture", beta=2.0, warm_up=9 if unit == "step" else 3, unit=unit)
        torch.manual_seed(6)
        beside = [Pause(pause), callbacks.EMA(0.9), callbacks.EarlyStopping("val_elbo", patience=9)]
        history = model.fit(
            counts(), epochs=5, batch_size=16, verbose=0, validation_data=counts()[:20],
            callbacks=beside, **options,
        )  # fmt: skip
        return model, history

    model, history = train(None)
    path = tmp_path / "fit.safetensors"
    _, first = train(step, checkpoint=path)
    assert first.stopped == "a test"
    resumed, curves = train(None, checkpoint=path, resume=True)
    assert torch.equal(weights(resumed), weights(model))
    assert curves.history == history.history
    assert resumed.term_weights == model.term_weights


def test_user_weights_of_a_schedule_of_their_own():
    model = new_model()
    cyclic = callbacks.LossWeights(lambda run: {"kl": 0.5 + run.steps % 2})
    model.fit(counts(), epochs=2, verbose=0, callbacks=[cyclic], batch_size=16)
    assert model.term_weights["kl"] == 0.5


def test_a_prior_is_trained_along():
    model = new_model(prior="mixture")
    before = [parameter.clone() for parameter in model.prior.parameters()]
    x = counts(200)
    start = model.evaluate(x, return_dict=True)["elbo"]
    model.fit(x, epochs=40, verbose=0)
    assert model.evaluate(x, return_dict=True)["elbo"] > start + 1
    for old, new in zip(before, model.prior.parameters(), strict=True):
        assert not torch.equal(old, new)
    assert model.sample(7).shape == (7, 6)


class Half(Mixture):
    """As a flow of this package: ``log_prob`` of its own, but samples from what its call gives."""

    def log_prob(self, x, context=None):
        raise AssertionError("called in place of the distribution's")


def test_a_module_that_only_has_log_prob_is_called():
    model = new_model(Half(2))
    model.fit(counts(), epochs=1, verbose=0)
    assert model.sample(3).shape == (3, 6)


def test_flow_of_zuko_is_a_prior():
    zuko = pytest.importorskip("zuko")
    model = new_model(prior=zuko.flows.MAF(2, transforms=1, hidden_features=(8,)))
    model.fit(counts(), epochs=1, verbose=0)
    model.elbo(counts()).sum().backward()
    assert all(parameter.grad is not None for parameter in model.prior.parameters())
    assert model.sample(3).shape == (3, 6)


def test_aggregate_posterior_against_what_is_known():
    # All means 0 and variances 1 but for a shift m: q(z) = N(m, 1), KL = m^2 / 2, no information.
    model = new_model()
    last = model.encoder.layers[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.tensor([1.0, 2.0, 0.0, 0.0]))
    found = models.aggregate_posterior(model, counts(), samples=4000)
    assert found.kl == pytest.approx(2.5, abs=5 * found.standard_error)
    assert found.mutual_information == pytest.approx(0, abs=1e-9)
    torch.testing.assert_close(found.mean, torch.tensor([1.0, 2.0]).double())
    torch.testing.assert_close(found.covariance, torch.eye(2).double())
    model = new_model()
    x = counts()
    found = models.aggregate_posterior(model, x, samples=6400)
    kl = D.kl_divergence(model.encode(x), D.Independent(D.Normal(torch.zeros(2), 1.0), 1)).mean()
    assert found.kl + found.mutual_information == pytest.approx(kl.item(), abs=0.05)


def test_latent_space():
    model, x = new_model(), counts(8)
    line = model.interpolate(x[:3], x[3:6], 5)
    assert line.shape == (5, 3, 6)
    torch.testing.assert_close(line[0], model.reconstruct(x[:3]))
    torch.testing.assert_close(line[-1], model(x[3:6]).detach())
    middle = (model.encode(x[:3]).mean + model.encode(x[3:6]).mean) / 2
    torch.testing.assert_close(line[2], model.decode(middle).mean)
    z, plane = model.latent_plane(3)
    assert z.shape == (3, 3, 2)
    assert plane.shape == (3, 3, 6)
    assert (z[1, 1] == 0).all()
    assert z[0, 2].tolist() == pytest.approx([0.9674, 0.9674], abs=1e-4)  # above on the right
    torch.testing.assert_close(plane[0, 2], model.decode(z[0, 2][None]).mean[0])
    array = model.reconstruct(x.numpy().astype("int64"))
    np.testing.assert_allclose(array, model.predict(x), rtol=1e-6)
    found = model.sample(4000)
    assert set(found.unique().tolist()) <= {0.0, 1.0, 2.0, 3.0, 4.0}
    torch.testing.assert_close(
        found.mean(0), model.sample(4000, mean=True).mean(0), rtol=0, atol=0.15
    )


def test_images_through_modules_of_their_own():
    torch.manual_seed(0)
    encoder = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 6)
    )
    decoder = torch.nn.Sequential(torch.nn.Linear(3, 64), torch.nn.Unflatten(1, (1, 8, 8)))
    model = VariationalAutoencoder(encoder, decoder=decoder, latent=3)
    model.compile("adam", accumulation_steps=2, clip_norm=1.0)
    x = (torch.rand(20, 1, 8, 8) < 0.3).float()
    history = model.fit(x, epochs=2, verbose=0, sample_weight=np.ones(20))
    assert math.isfinite(history["loss"][-1])
    assert model.log_prob(x, 3).shape == (20,)
    assert model.sample(2).shape == (2, 1, 8, 8)


def test_half_precision_products():
    model = new_model()
    model.compile("adam", mixed_precision=torch.bfloat16)
    exact, x = new_model(), counts()
    found = model.fit(x, epochs=1, verbose=0)["elbo"]
    assert found == pytest.approx(exact.fit(x, epochs=1, verbose=0)["elbo"], rel=0.02)
    assert model.sample(2).dtype == torch.float32


def test_saved_and_loaded_gives_the_same_samples(tmp_path):
    model = new_model(warm_up=6, prior="mixture")
    model.fit(counts(), epochs=1, verbose=0)
    model.save(tmp_path / "vae.safetensors")
    other = new_model(warm_up=6, prior="mixture")
    other.load(tmp_path / "vae.safetensors")
    drawn = []
    for one in (model, other):
        torch.manual_seed(9)
        drawn.append(one.sample(5))
    assert torch.equal(*drawn)
    assert other.term_weights == model.term_weights
    assert "BinomialLikelihood(4)" in repr(other)


@pytest.mark.parametrize("kind", ["binomial", "bernoulli", "gaussian", "images"])
def test_load_model_makes_it_without_code(tmp_path, kind):
    likelihoods = {"binomial": models.BinomialLikelihood(4), "images": "bernoulli"}
    likelihoods["gaussian"] = models.GaussianLikelihood(0.5, learned=True)
    model = new_model(likelihood=likelihoods.get(kind, kind), beta=2.0, warm_up=7, unit="epoch")
    x = counts().double() / (1 if kind == "binomial" else 4)
    if kind == "images":
        x = x.view(-1, 1, 2, 3)
        encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 4))
        decoder = torch.nn.Sequential(torch.nn.Linear(2, 6), torch.nn.Unflatten(1, (1, 2, 3)))
        model = VariationalAutoencoder(encoder, decoder=decoder, latent=2)
    model.double().save(tmp_path / "vae.safetensors")
    other = models.load_model(tmp_path / "vae.safetensors")
    assert torch.equal(other.reconstruct(x), model.reconstruct(x))
    assert repr(other) == repr(model)
    assert other.config() == model.config()
    assert other.term_weights == model.term_weights
    pickled = pickle.loads(pickle.dumps(model))
    assert torch.equal(pickled.reconstruct(x), model.reconstruct(x))


def test_load_model_refuses_a_prior_that_takes_code(tmp_path):
    new_model("mixture").save(tmp_path / "vae.safetensors")
    with pytest.raises(ValueError, match="make the model and use its load"):
        models.load_model(tmp_path / "vae.safetensors")


X = counts()
REFUSED = {
    "fractions": (lambda: new_model().fit(X / 4, verbose=0),
                  r"fit: x: expected whole numbers from 0 to 4, got .* fractions.* not scaled"),
    "above": (lambda: new_model().elbo(X + 1), r"elbo: x: expected whole numbers from 0 to 4"),
    "validation": (lambda: new_model().fit(X, verbose=0, validation_data=X / 4),
                   r"fit: validation_data: x: expected whole numbers"),
    "bernoulli": (lambda: new_model(likelihood="bernoulli").evaluate(X),
                  r"evaluate: x: expected values from 0 to 1, got .*divide x by its largest"),
    "bytes": (lambda: new_model(likelihood="bernoulli").fit(X.byte(), verbose=0),
              r"fit: x: expected values from 0 to 1"),
    "nan": (lambda: new_model(likelihood="gaussian").fit(X / 0, verbose=0),
            r"fit: x: expected finite numbers"),
    "nan in elbo": (lambda: new_model(likelihood="gaussian").log_prob(X / 0),
                    r"log_prob: x: expected finite numbers"),
    "width": (lambda: new_model().fit(X[:, :5], verbose=0),
              r"fit: x: expected \[N, 6\], got \[64, 5\]; write x.reshape"),
    "images": (lambda: new_model().encode(X.view(-1, 2, 3)), r"encode: x: expected \[N, 6\]"),
    "z": (lambda: new_model().decode(torch.zeros(3, 4)), r"decode: z: expected \[N, 2\]"),
    "samples": (lambda: new_model().log_prob(X, 0), r"log_prob: samples: expected a whole number"),
    "no samples": (lambda: new_model().fit(X[:0], verbose=0), r"fit: x: expected at least one"),
    "decoder": (lambda: VariationalAutoencoder(torch.nn.Linear(6, 4), latent=2),
                r"decoder: expected a module, got None"),
    "latent": (lambda: VariationalAutoencoder(torch.nn.Linear(6, 4), decoder=torch.nn.Linear(2, 6)),
               r"latent: expected a whole number >= 1, got None"),
    "shape": (lambda: VariationalAutoencoder([6, 2], decoder=torch.nn.Linear(2, 1)).elbo(X / 4),
              r"decoder\(z\): expected the shape of x, got \[64, 1\] for x of \[64, 6\]"),
    "encoder": (lambda: VariationalAutoencoder(torch.nn.Linear(6, 3), decoder=torch.nn.Linear(2, 6),
                                               latent=2).elbo(X / 4),
                r"encoder\(x\): expected \[64, 4\], got \[64, 3\]"),
    "likelihood": (lambda: new_model(likelihood="poisson"), r"expected 'bernoulli' or 'gaussian'"),
    "trials": (lambda: models.BinomialLikelihood(0), r"trials: expected >= 1, got 0"),
    "std": (lambda: models.GaussianLikelihood(0.0), r"std: expected a finite number > 0, got 0.0"),
    "beta": (lambda: new_model(beta=0), r"beta: expected a finite number > 0, got 0.*Autoencoder"),
    "warm_up": (lambda: new_model(warm_up=2.5), r"warm_up: expected a whole number >= 0"),
    "unit": (lambda: new_model(unit="batch"), r"unit: expected 'step' or 'epoch', got 'batch'"),
    "prior": (lambda: new_model(prior=D.Normal(torch.zeros(2), 1.0)),
              r"prior: expected one log_prob for each sample, \[N\], got \[2, 2\].*Independent"),
    "prior's size": (lambda: new_model(prior=Mixture(3)), r"prior: expected samples \[N, 2\]"),
    "no prior": (lambda: new_model(prior=3), r"prior: expected log_prob and sample"),
    "plane": (lambda: VariationalAutoencoder([6, 3]).latent_plane(),
              r"latent_plane: expected two latent variables, got a model with latent=3"),
    "loss": (lambda: new_model().compile("adam", "mse"), r"compile: loss: expected none"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_with_a_remedy(case):
    act, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        act()


SCRIPT = """
import sys, os
import torch
from safetensors.torch import save_file
from tests.models.autoencoders.test_variational_autoencoder import Mixture, counts, new_model

torch.set_num_threads(1)
model = new_model(prior="mixture", warm_up=5)
torch.manual_seed(int(os.environ["RANK"]))
options = {"batch_size": 16, "verbose": 0, "validation_data": counts()[:21]}
path = os.path.join(sys.argv[1], "fit.safetensors")
model.fit(counts(83), epochs=1, checkpoint=path, **options)
history = model.fit(counts(83), epochs=20, checkpoint=path, resume=True, **options)
rank = os.environ["RANK"]
curves = {name: torch.tensor(values) for name, values in history.history.items()}
save_file(dict(model.state_dict()) | curves, os.path.join(sys.argv[1], f"rank{rank}.safetensors"))
"""


def test_two_processes_train_one_model(tmp_path):
    from safetensors.torch import load_file

    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, script, tmp_path], cwd=ROOT, env=environment, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, second = (load_file(tmp_path / f"rank{rank}.safetensors") for rank in (0, 1))
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    assert first["updates"] == 4  # of a warm-up of 5
    assert len(first["val_elbo"]) == 20
    assert first["val_elbo"][-1] > first["val_elbo"][0] + 1
