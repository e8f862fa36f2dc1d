"""Trainings that fail, and arguments that cannot be meant."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from pyneural.models import (
    GAN,
    ImageDiscriminator,
    ImageGenerator,
    MLPDiscriminator,
    MLPGenerator,
)
from pyneural.training.callbacks import Callback, TerminateBelow
from pyneural.training.state.file import load_checkpoint
from tests.models.adversarial.gan_examples import data, fitted, images, vectors


class At(Callback):
    """Calls a function of the model before an epoch."""

    in_checkpoint = False

    def __init__(self, epoch, function):
        self.epoch, self.function = epoch, function

    def on_epoch_begin(self, epoch):
        if epoch == self.epoch:
            self.function(self.run.model)


@torch.no_grad()
def lost(model):
    """The generator makes the same far sample of all noise."""
    last = model.generator.network.layers[-1]
    last.weight.zero_()
    last.bias.fill_(1000.0)


@torch.no_grad()
def broken(model):
    model.discriminator.network.layers[0].weight.fill_(torch.nan)


@pytest.mark.parametrize("every", [0.0, 1e3])
def test_a_discriminator_that_has_won_ends_the_training(every, tmp_path):
    """The checkpoint stays that of the time before, from which a training can go on."""
    path, stop = tmp_path / "fit.safetensors", TerminateBelow("discriminator", 0.3, patience=3)
    options = {"callbacks": [At(2, lost), stop], "checkpoint": path, "every": every}
    options["batch_size"] = 60

    def begun():
        torch.manual_seed(0)
        model = vectors(loss="minimax")
        adam = partial(torch.optim.Adam, lr=0.05)
        model.compile({"generator": "sgd", "discriminator": adam})
        return model

    with pytest.warns(UserWarning, match="TerminateBelow: 'discriminator' was below 0.3"):
        history = fitted(begun(), 100, **options)
    assert history.stopped == "TerminateBelow: 'discriminator' was below 0.3 for 3 epochs"
    low = [value < 0.3 for value in history.history["discriminator"]]
    assert low[-4:] == [False, True, True, True]
    place = load_checkpoint(path)[1]["state"]["place"]
    assert place["epoch"] == len(low) - 3
    assert (place["step"] > 0) == (every == 0)  # inside the first epoch that was below
    with pytest.warns(UserWarning, match="TerminateBelow"):
        again = fitted(begun(), 100, **options, resume=True)
    assert again.history == history.history


def test_it_counts_epochs_in_a_row_and_begins_anew():
    seen = []

    class Script(Callback):
        def on_epoch_begin(self, epoch):
            seen.append(self.run.in_doubt)

        def on_epoch_end(self, epoch, logs):
            logs["level"] = [1.0, 0.0, 1.0, 0.0, 0.0, 1.0][epoch]

    stop = TerminateBelow("level", 0.5, patience=2)
    model = vectors()
    for _ in range(2):
        with pytest.warns(UserWarning, match="TerminateBelow"):
            history = fitted(model, 6, callbacks=[Script(), stop])
        assert len(history) == 5
        assert seen == [False, False, True, False, True]
        seen.clear()


def test_a_loss_that_is_not_finite_ends_the_training(tmp_path):
    path, good = tmp_path / "fit.safetensors", {}

    def keep_and_break(model):
        good.update(copy.deepcopy(model.state_dict()))
        broken(model)

    torch.manual_seed(0)
    with pytest.warns(UserWarning, match="TerminateOnNaN"):
        history = fitted(vectors(), 5, callbacks=[At(2, keep_and_break)], checkpoint=path)
    assert "loss 'discriminator' is nan at batch 1 of epoch 3" in history.stopped
    assert "discriminator.network" in history.stopped
    saved, record, _ = load_checkpoint(path)
    assert record["state"]["place"]["epoch"] == 2
    for name, value in good.items():
        assert torch.equal(saved[f"model/{name}"], value)


class NoLatent(nn.Module):
    def __init__(self, outputs=2):
        super().__init__()
        self.layer = nn.Linear(3, outputs)

    def forward(self, z):
        return self.layer(z)


G, D = MLPGenerator(3, 2, [8]), MLPDiscriminator(2, [8])


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: GAN(G, nn.Linear(2, 3)), r"discriminator\(x\): expected a logit .* \[2, 3\]"),
        (lambda: GAN(G, nn.Flatten()), r"discriminator\(x\): expected a logit"),
        (
            lambda: GAN(G, MLPDiscriminator(3, [8])),
            "discriminator of its samples, got Arg.* 3 columns",
        ),
        (lambda: GAN(G, D, smoothing=0.5), r"smoothing: expected a number in \[0, 0.5\), got 0.5"),
        (lambda: GAN(G, D, smoothing=-0.1), "smoothing"),
        (lambda: GAN(G, D, smoothing=float("nan")), "smoothing"),
        (lambda: GAN(G, D, loss="wasserstein"), "loss: expected a known name"),
        (lambda: GAN(G, D, penalty="r2"), "penalty: expected 'r1', 'gradient' or None"),
        (lambda: GAN(G, D, penalty="r1", weight=0.0), "weight: expected a finite number > 0"),
        (lambda: GAN(G, D, weight=2.0), "weight: expected 1, as there is no penalty"),
        (lambda: GAN(NoLatent(), D), "latent: expected a whole number >= 1, got None"),
        (lambda: GAN(NoLatent(), D, latent=4), "expected a generator of z of 4 components"),
        (lambda: GAN("mlp", D), "generator: expected a module, got str"),
        (lambda: GAN(G, MLPDiscriminator(2, [8], 3)), "condition=0, as the generator has, got con"),
        (lambda: MLPGenerator(0, 2), "MLPGenerator: latent: expected a whole number >= 1"),
        (lambda: MLPDiscriminator(2, condition=-1), "condition: expected a whole number >= 0"),
        (lambda: ImageGenerator(3, (1, 9, 8)), "shape: expected .* multiples of 4"),
        (lambda: ImageDiscriminator((8, 8)), "shape: expected .* multiples of 4"),
    ],
)
def test_parts_that_do_not_fit(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_other_modules_are_taken():
    model = GAN(NoLatent(), nn.Sequential(nn.Linear(2, 1), nn.Flatten(0)), latent=3, penalty="r1")
    assert len(fitted(model)) == 2
    assert model.architecture() is None
    assert model.sample(5).shape == (5, 2)


def test_data_that_do_not_fit():
    model, of_images, of_classes = vectors(), images(), vectors(condition=3)
    for one in (model, of_images, of_classes):
        one.compile("adam")
    with pytest.raises(ValueError, match=r"x: expected \[N, 2\], got \[20, 3\]; the generator"):
        model.fit(torch.randn(20, 3), verbose=0)
    with pytest.raises(ValueError, match=r"x: expected \[N, 1, 8, 8\], got \[20, 64\]"):
        of_images.fit(torch.randn(20, 64), verbose=0)
    with pytest.raises(ValueError, match="nan or infinite"):
        model.fit(torch.full((20, 2), torch.nan), verbose=0)
    with pytest.raises(ValueError, match="at least one sample"):
        model.fit(torch.randn(0, 2), verbose=0)
    with pytest.raises(ValueError, match="y: expected none, got some"):
        model.fit(torch.randn(20, 2), torch.zeros(20), verbose=0)
    with pytest.raises(ValueError, match="y: expected 3 columns, or a class each, got none"):
        of_classes.fit(torch.randn(20, 2), verbose=0)
    with pytest.raises(ValueError, match="classes from 0 to 2"):
        of_classes.sample(2, torch.tensor([0, 3]))
    with pytest.raises(ValueError, match="condition: expected 2 of them, got 1"):
        of_classes.sample(2, torch.tensor([0]))
    with pytest.raises(ValueError, match="sample: count: expected a whole number >= 1"):
        model.sample(0)


def test_optimisers_that_do_not_fit():
    model = vectors()
    with pytest.raises(ValueError, match="expected 'generator' and 'discriminator', got 'gen"):
        model.compile({"generator": "adam"})
    with pytest.raises(ValueError, match="one for each of two parts, got one optimiser"):
        model.compile(torch.optim.Adam(model.parameters()))
    with pytest.raises(TypeError, match="optimizer"):
        model.compile({"generator": "adam", "discriminator": 3})
    with pytest.raises(TypeError, match="mixed_precision"):
        model.compile("adam", mixed_precision=torch.bfloat16)
    for_g = torch.optim.Adam(model.generator.parameters())
    with pytest.raises(ValueError, match="expected one that holds the parameters of the model"):
        model.compile({"generator": "adam", "discriminator": for_g})
    model.compile("adam")
    with pytest.raises(ValueError, match="TerminateBelow: monitor: expected one of loss"):
        model.fit(data(model)[0], verbose=0, callbacks=[TerminateBelow("g_loss", 0.1)])
