"""The variational autoencoder in training: curves, warm-up, resumption, two processes."""

import numpy as np
import pytest
import torch
from torch import distributions as D

from pyneural import models
from pyneural.models import VariationalAutoencoder
from pyneural.training import Adam, TensorBatches, Trainer, callbacks
from pyneural.training.callbacks import Callback
from tests.models.autoencoders.vae_examples import (
    INPUTS,
    LATENT,
    STD,
    counts,
    new_model,
    probabilistic_pca,
    repeated,
    weights,
)
from tests.processes import run_on_two_processes


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


def test_noise_of_a_measurement_is_of_the_batch():
    model, seen = new_model(), []
    with torch.no_grad():  # z = eps
        model.encoder.layers[-1].weight.zero_()
        model.encoder.layers[-1].bias.zero_()
    model.decoder.register_forward_hook(lambda module, given, output: seen.append(given[0]))
    for _ in range(2):
        model.evaluate(counts(96), batch_size=32)
    assert len(seen) == 6
    assert all(map(torch.equal, seen[:3], seen[3:]))
    assert not torch.equal(seen[0], seen[1])
    assert abs(torch.corrcoef(torch.stack([one.flatten() for one in seen[:3]]))[0, 1]) < 0.5


def test_validation_changes_no_other_random_number():
    plain, watched, x = new_model(), new_model(), counts()
    for model, options in ((plain, {}), (watched, {"validation_data": x[:9]})):
        torch.manual_seed(4)
        model.fit(x, epochs=2, verbose=0, **options)
    assert torch.equal(weights(plain), weights(watched))


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


def test_half_precision_products():
    model = new_model()
    model.compile("adam", mixed_precision=torch.bfloat16)
    exact, x = new_model(), counts()
    found = model.fit(x, epochs=1, verbose=0)["elbo"]
    assert found == pytest.approx(exact.fit(x, epochs=1, verbose=0)["elbo"], rel=0.02)
    assert model.sample(2).dtype == torch.float32


SCRIPT = """
import sys, os
import torch
from safetensors.torch import save_file
from tests.models.autoencoders.vae_examples import Mixture, counts, new_model

torch.set_num_threads(1)
model = new_model(prior="mixture", warm_up=5)
torch.manual_seed(int(os.environ["RANK"]))
options = {"batch_size": 16, "verbose": 0, "validation_data": counts()[:21]}
path = os.path.join(sys.argv[1], "fit.safetensors")
model.fit(counts(83), epochs=1, checkpoint=path, **options)
history = model.fit(counts(83), epochs=40, checkpoint=path, resume=True, **options)
rank = os.environ["RANK"]
curves = {name: torch.tensor(values) for name, values in history.history.items()}
save_file(dict(model.state_dict()) | curves, os.path.join(sys.argv[1], f"rank{rank}.safetensors"))
"""


def test_two_processes_train_one_model(tmp_path):
    from safetensors.torch import load_file

    run_on_two_processes(SCRIPT, tmp_path)
    first, second = (load_file(tmp_path / f"rank{rank}.safetensors") for rank in (0, 1))
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    assert first["updates"] == 4  # of a warm-up of 5
    assert len(first["val_elbo"]) == 40
    assert first["val_elbo"][-1] > first["val_elbo"][0] + 1
