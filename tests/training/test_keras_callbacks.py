"""Callbacks beside those of Keras 3, run for run: the same epochs, rates, best epochs and files."""

import os

import numpy as np
import pytest
import torch
from torch import nn

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")

from pyneural.training import Sequential, callbacks  # noqa: E402

X = np.zeros((4, 1), "float32")
NAN = float("nan")
NOISE = np.random.default_rng(0)
# No change equals a min_delta below but for rounding: Keras compares in float32.
CURVES = {
    "falls": [5.0, 4.0, 3.0, 2.0, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5],
    "flat": [1.0] * 10,
    "rises": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0],
    "slow": [1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55],
    "comes back": [3.0, 2.0, 2.5, 2.4, 1.9, 2.0, 2.0, 2.0, 1.0, 1.1],
    "nan": [3.0, 2.0, NAN, NAN, 1.0, NAN, NAN, 2.0, 2.0, 0.5],
    "infinite": [float("inf"), 3.0, 3.0, 3.0, 3.0, 2.0, 2.0, 2.0, 2.0, 2.0],
    **{f"random {i}": NOISE.uniform(0.5, 1.5, 20).round(2).tolist() for i in range(4)},
}
NAME = "val_accuracy"


def ours(curve, callback, rate=1.0, batches=1):
    """Rates and weights (the number of the epoch) of each epoch, and the weight at the end."""

    class Script(callbacks.Callback):
        def on_epoch_begin(self, epoch):
            rates.append(self.run.optimizer.param_groups[0]["lr"])

        def on_epoch_end(self, epoch, logs):
            nn.init.constant_(self.run.model[0].weight, epoch + 1)
            logs[NAME] = curve[epoch]

    rates = []
    model = Sequential([nn.Linear(1, 1)])
    model.compile(lambda parameters: torch.optim.SGD(parameters, lr=rate), "mse")
    beside = [Script(), callback]
    history = model.fit(X, X, 4 // batches, len(curve), verbose=0, callbacks=beside)
    return rates, history, float(model[0].weight.detach())


def theirs(curve, callback, rate=1.0, batches=1):
    class Script(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            rates.append(float(self.model.optimizer.learning_rate))

        def on_epoch_end(self, epoch, logs=None):
            self.model.layers[0].set_weights([np.full((1, 1), epoch + 1.0), np.zeros(1)])
            logs[NAME] = curve[epoch]

    rates = []
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(rate), "mse")
    beside = [Script(), callback]
    history = model.fit(X, X, 4 // batches, len(curve), verbose=0, callbacks=beside)
    return rates, history, float(model.layers[0].get_weights()[0][0, 0])


def compare(curve, kind, **options):
    found = ours(curve, getattr(callbacks, kind)(**options))
    expected = theirs(curve, getattr(keras.callbacks, kind)(**options))
    assert found[0] == pytest.approx(expected[0], rel=1e-6)
    assert found[1].epoch == expected[1].epoch
    assert found[2] == expected[2]
    if "learning_rate" in expected[1].history:
        rates = expected[1].history["learning_rate"]
        assert found[1]["learning_rate"] == pytest.approx(rates, rel=1e-6)


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize(
    "options",
    [
        {"patience": 1},
        {"patience": 2, "cooldown": 1},
        {"patience": 1, "cooldown": 3, "factor": 0.5},
        {"patience": 3, "min_delta": 0.205, "cooldown": 2},
        {"patience": 1, "min_lr": 0.05},
        {"patience": 2, "mode": "max", "cooldown": 1},
    ],
)
def test_plateau(curve, options):
    compare(CURVES[curve], "ReduceLROnPlateau", **({"monitor": NAME, "mode": "min"} | options))


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("restore", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"patience": 2},
        {"patience": 3, "min_delta": 0.105},
        {"patience": 2, "mode": "max"},
        {"patience": 2, "baseline": 0.8},
        {"patience": 1, "start_from_epoch": 3},
    ],
)
def test_early_stopping(curve, restore, options):
    if curve == "nan" and "start_from_epoch" in options:
        pytest.skip("a nan in the first epoch is Keras's best value for ever")
    options = {"monitor": NAME, "mode": "min", "restore_best_weights": restore} | options
    compare(CURVES[curve], "EarlyStopping", **options)


@pytest.mark.parametrize(
    "schedule",
    [
        lambda epoch: 0.1 / (epoch + 1),
        lambda epoch, rate: rate * 0.5,
        lambda epoch, rate: 1.0 if epoch < 3 else rate * 0.9,
    ],
)
def test_schedules_of_the_epoch(schedule):
    compare(CURVES["falls"], "LearningRateScheduler", schedule=schedule)


BEST = {"monitor": NAME, "save_best_only": True}
# Pattern, and batches an epoch.
EACH, ONE = ("{epoch:02d}", 1), ("{epoch:02d}-{batch:02d}", 4)


@pytest.mark.parametrize("curve", [name for name in CURVES if name not in ("nan", "infinite")])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        (EACH, BEST | {"mode": "min"}),
        (EACH, BEST | {"mode": "max"}),
        (EACH, BEST | {"mode": "min", "initial_value_threshold": 0.9}),
        (EACH, BEST | {"mode": "max", "initial_value_threshold": 1.1}),
        (ONE, {"save_freq": 2}),
        (ONE, {"save_freq": 7}),
    ],
)
def test_the_same_epochs_and_batches_are_saved(tmp_path, curve, name, options):
    pytest.importorskip("h5py")
    (pattern, batches), ending = name, ".weights.h5"
    theirs_path = str(tmp_path / "theirs" / (pattern + ending))
    save = keras.callbacks.ModelCheckpoint(theirs_path, save_weights_only=True, **options)
    theirs(CURVES[curve], save, batches=batches)
    ours_path = tmp_path / "ours" / (pattern + ".safetensors")
    ours(CURVES[curve], callbacks.ModelCheckpoint(ours_path, **options), batches=batches)
    expected = sorted(p.name.removesuffix(ending) for p in (tmp_path / "theirs").glob("*"))
    found = (p.name for p in (tmp_path / "ours").iterdir() if "previous" not in p.name)
    assert sorted(name.removesuffix(".safetensors") for name in found) == expected
