"""Callbacks: when they act, what they write, and the learning rates that they set."""

import builtins
import csv
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from pyneural.nn import MLP
from pyneural.training import Sequential, callbacks, load_model
from pyneural.training.callbacks import terminate_on_nan
from pyneural.training.callbacks.monitor import Monitor

X = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
Y = X.sum(1, keepdims=True)


def new_model(optimizer="adam", **options):
    torch.manual_seed(0)
    model = Sequential([nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)])
    model.compile(optimizer, "mse", **options)
    return model


class Script(callbacks.Callback):
    """Replaces a quantity by given values, and remembers what happened."""

    def __init__(self, values, name="val_loss"):
        self.values, self.name, self.rates, self.weights = values, name, [], []

    def on_epoch_begin(self, epoch):
        self.rates.append(self.run.optimizer.param_groups[0]["lr"])

    def on_epoch_end(self, epoch, logs):
        logs[self.name] = self.values[epoch]
        self.weights.append(self.run.model[0].weight.detach().clone())


def fit(model, *given, epochs=8, **options):
    return model.fit(X, Y, 16, epochs, verbose=0, callbacks=given, **options)


def test_hooks_are_called_in_their_order():
    calls = []

    hooks = [name for name in vars(callbacks.Callback) if name.startswith("on_")]
    spy = {name: lambda self, *_, name=name, **__: calls.append(name) for name in hooks}

    def on_gradients(self, batch, losses):
        assert losses["loss"].shape == ()
        assert len(batch.x) == batch.samples == 16
        calls.append("on_gradients")

    Spy = type("Spy", (callbacks.Callback,), spy | {"on_gradients": on_gradients})
    fit(new_model(), Spy(), epochs=1)
    batch = ["on_gradients", "on_train_batch_end"]
    assert calls == [
        "on_train_begin", "on_phase_begin", "on_epoch_begin", *batch * 4, "on_losses",
        "on_epoch_end", "on_checkpoint", "on_checkpoint", "on_close", "on_train_end",
    ]  # fmt: skip


@pytest.mark.parametrize("restore", [False, True])
def test_early_stopping(restore):
    script = Script([5, 3, 4, 2.9, 3, 3, 1, 1])
    stop = callbacks.EarlyStopping(min_delta=0.5, patience=3, restore_best_weights=restore)
    model = new_model()
    history = fit(model, script, stop)
    assert len(history) == 5  # 2.9 is no better than 3 by 0.5
    assert history.stopped == "EarlyStopping: val_loss was best in epoch 2 (3)"
    kept = 1 if restore else 4
    assert torch.equal(model[0].weight, script.weights[kept])


def test_quantities_that_grow_and_that_are_missing():
    assert Monitor("c", "val_accuracy").mode == "max"
    assert Monitor("c", "val_loss").mode == "min"
    assert Monitor("c", "loss", "max").mode == "max"
    with pytest.raises(ValueError, match="mode: expected one of auto, min, max, got 'least'"):
        callbacks.EarlyStopping(mode="least")
    with pytest.raises(ValueError, match=r"monitor: .*loss, got 'val_loss'; give fit validation"):
        fit(new_model(), callbacks.EarlyStopping())


def test_model_checkpoint_keeps_the_best(tmp_path):
    script = Script([3.0, 1.0, 2.0])
    best = callbacks.ModelCheckpoint(tmp_path / "best.safetensors", save_best_only=True)
    every = callbacks.ModelCheckpoint(tmp_path / "{epoch:02d}-{val_loss:.1f}.safetensors")
    fit(new_model(), script, best, every, epochs=3)
    assert torch.equal(load_model(tmp_path / "best.safetensors")[0].weight, script.weights[1])
    assert torch.equal(load_model(tmp_path / "03-2.0.safetensors")[0].weight, script.weights[2])
    wrong = callbacks.ModelCheckpoint(tmp_path / "{val_los}.safetensors")
    with pytest.raises(ValueError, match=r"filepath: .*loss.*got 'val_los'"):
        fit(new_model(), wrong, epochs=1)


class Means(callbacks.Callback):
    """Remembers the weights and the mean loss so far in the epoch, after each batch."""

    def __init__(self):
        self.loss, self.weights = {}, {}

    def on_train_batch_end(self):
        place = f"{self.run.epoch + 1}-{self.run.step}"
        self.loss[place] = self.run.means()["loss"]
        self.weights[place] = self.run.model[0].weight.detach().clone()


def saved(folder):
    return sorted(path.stem for path in folder.iterdir() if "previous" not in path.name)


def test_model_checkpoint_after_so_many_batches(tmp_path):
    path, model, means = tmp_path / "{epoch}-{batch}-{loss:.4f}.safetensors", new_model(), Means()
    save = callbacks.ModelCheckpoint(path, save_freq=np.int64(3))
    fit(model, means, save, epochs=2)
    names = [f"{place}-{means.loss[place]:.4f}" for place in ("1-3", "2-2")]
    assert saved(tmp_path) == names
    for name in names:
        found = load_model(tmp_path / f"{name}.safetensors")[0].weight
        assert torch.equal(found, means.weights[name[:3]])
    fit(model, save, epochs=1)  # whose first batch is the third since the last save
    assert [name[:3] for name in saved(tmp_path)] == ["1-1", "1-3", "1-4", "2-2"]


@pytest.mark.parametrize("threshold", [None, 1.7])
def test_model_checkpoint_of_the_best_batches(tmp_path, threshold):
    means, model = Means(), new_model(lambda parameters: torch.optim.SGD(parameters, lr=0.05))
    save = callbacks.ModelCheckpoint(
        tmp_path / "{epoch}-{batch}", "loss", True, save_freq=1, initial_value_threshold=threshold
    )
    fit(model, means, save, epochs=3)
    best, expected = np.inf if threshold is None else threshold, []
    for place, loss in means.loss.items():
        if loss < best:
            best, expected = loss, [*expected, place]
    assert saved(tmp_path) == expected
    assert 0 < len(expected) < 12
    assert (expected[0] == "1-1") == (threshold is None)


@pytest.mark.parametrize(("threshold", "epochs"), [(1.5, ["2"]), (3.0, ["2"]), (0.5, [])])
def test_model_checkpoint_of_what_is_better_than_a_threshold(tmp_path, threshold, epochs):
    save = callbacks.ModelCheckpoint(
        tmp_path / "{epoch}", save_best_only=True, initial_value_threshold=threshold
    )
    fit(new_model(), Script([3.0, 1.0, 2.0]), save, epochs=3)
    assert saved(tmp_path) == epochs


def test_batches_of_model_checkpoint_are_counted_through_a_resumption(tmp_path):
    def parts(place):
        (tmp_path / place).mkdir(exist_ok=True)
        save = callbacks.ModelCheckpoint(tmp_path / place / "{epoch}-{batch}", save_freq=3)
        return [save, callbacks.Every(5, lambda run: run.pause("x") if run.steps == 5 else None)]

    options = {"epochs": 3, "checkpoint": tmp_path / "run.safetensors"}
    fit(new_model(), *parts("resumed"), **options)
    fit(new_model(), *parts("resumed"), resume=True, **options)
    fit(new_model(), parts("whole")[0], epochs=3)
    assert saved(tmp_path / "resumed") == saved(tmp_path / "whole") == ["1-3", "2-2", "3-1", "3-4"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"save_freq": 0}, "save_freq: expected 'epoch' or a whole number of batches >= 1, got 0"),
        ({"save_freq": True}, "save_freq: .* got True"),
        ({"save_freq": "batch"}, "save_freq: .* got 'batch'; write 'epoch'"),
        (
            {"save_freq": 5, "save_best_only": True},
            "monitor: expected a quantity of the training, .* got 'val_loss'; write 'loss'",
        ),
    ],
)
def test_model_checkpoints_that_are_refused(tmp_path, options, text):
    with pytest.raises(ValueError, match=f"ModelCheckpoint: {text}"):
        callbacks.ModelCheckpoint(tmp_path / "x", **options)


def test_learning_rate_by_a_function():
    script = Script([0.0] * 4)
    schedule = callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2 if epoch else 0.8)
    history = fit(new_model(), schedule, script, epochs=4)
    assert script.rates == history["learning_rate"] == [0.8, 0.4, 0.2, 0.1]
    with pytest.raises(ValueError, match="schedule: expected a number >= 0, got -1"):
        fit(new_model(), callbacks.LearningRateScheduler(lambda epoch, rate: -1))


@pytest.mark.parametrize("threshold", ["a", np.nan, True, torch.ones(())])
def test_a_threshold_that_is_no_number(threshold, tmp_path):
    with pytest.raises(ValueError, match=r"initial_value_threshold: .* a number, got .*leave"):
        callbacks.ModelCheckpoint(tmp_path / "a", initial_value_threshold=threshold)


def test_learning_rate_by_torch():
    steps = callbacks.TorchScheduler(lambda o: lr_scheduler.StepLR(o, 2, 0.1))
    rates = fit(new_model(), steps, epochs=4)["learning_rate"]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4])
    one_cycle = callbacks.TorchScheduler(
        lambda o: lr_scheduler.OneCycleLR(o, max_lr=0.1, total_steps=16), "batch"
    )
    model = new_model()
    fit(model, one_cycle, epochs=4)
    assert one_cycle.scheduler.last_epoch == 16
    with pytest.raises(ValueError, match="expected 'epoch' or 'batch', got 'step'"):
        callbacks.TorchScheduler(lr_scheduler.StepLR, "step")


def test_plateau_waits_as_keras_does():
    # Keras lowers the rate in the epoch in which ``patience`` epochs have not been better.
    script = Script([3.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0])
    plateau = callbacks.ReduceLROnPlateau(factor=0.1, patience=2, min_lr=2e-5)
    fit(new_model(), script, plateau)
    assert script.rates == pytest.approx([1e-3] * 4 + [1e-4] * 3 + [2e-5])
    with pytest.raises(ValueError, match=r"factor: expected a number in \(0, 1\)"):
        callbacks.ReduceLROnPlateau(factor=1.0)


def test_ema_is_the_average_of_the_weights_after_each_update():
    seen = []

    class Record(callbacks.Callback):
        def on_train_begin(self):
            self.on_train_batch_end()

        def on_train_batch_end(self):
            seen.append(self.run.model[0].weight.detach().clone())

    model = new_model("sgd")
    fit(model, callbacks.EMA(0.9), Record(), epochs=2)
    expected = seen[1]  # torch's average begins with the first update
    for weight in seen[2:]:
        expected = 0.9 * expected + 0.1 * weight
    torch.testing.assert_close(model[0].weight, expected)
    with pytest.raises(ValueError, match="decay"):
        callbacks.EMA(1.0)


def test_csv(tmp_path):
    path = tmp_path / "log.csv"
    history = fit(new_model(metrics=["mae"]), callbacks.CSVLogger(path), epochs=3)
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert [float(row["mae"]) for row in rows] == history["mae"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["log.csv"]


def test_tensorboard_names_its_pip_line(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments):
        if name.startswith("torch.utils.tensorboard"):
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install 'pyneural\[log\]'"):
        fit(new_model(), callbacks.TensorBoard(tmp_path))


def test_tensorboard_writes(tmp_path):
    pytest.importorskip("tensorboard")
    fit(new_model(), callbacks.TensorBoard(tmp_path), epochs=1)
    assert list(tmp_path.glob("events*"))


def test_a_callback_may_stop_inside_an_epoch():
    class Stop(callbacks.Callback):
        def on_train_batch_end(self):
            if self.run.step == 2:
                self.run.stop("enough")

    history = fit(new_model(), Stop())
    assert history.stopped == "enough"
    assert len(history) == 1
    assert np.isfinite(history["loss"][0])


class Explodes(nn.Module):
    def __init__(self, at):
        super().__init__()
        self.left = at

    def forward(self, x):
        self.left -= self.training
        return x / 0 if self.left == 0 else x


def test_terminate_on_nan_names_layer_loss_and_batch_and_spares_the_weights():
    torch.manual_seed(0)
    model = Sequential([nn.Linear(3, 8), Explodes(at=6), nn.Linear(8, 1)])
    model.compile("sgd", "mse")
    script = Script([0.0] * 8)
    with pytest.warns(UserWarning, match="TerminateOnNaN"):
        history = fit(model, callbacks.TerminateOnNaN(), script)
    assert "loss 'mean_squared_error' is" in history.stopped
    assert "at batch 2 of epoch 2; " in history.stopped
    assert all(value.isfinite().all() for value in model.state_dict().values())
    assert len(history["loss"]) == 2
    assert np.isnan(history["loss"][1])
    assert history.diagnose().labels == ("diverged",)


def test_first_bad_layer_by_output_and_by_weight():
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2), nn.LogSoftmax(-1)))
    find = terminate_on_nan.first_bad_layer
    assert find(model, lambda: model(torch.ones(1, 2))) is None
    with torch.no_grad():
        model[1][0].weight.mul_(3e38)
    found = "layer '1.0' (Linear): its output is not finite, from finite weights"
    assert find(model, lambda: model(torch.full((1, 2), 100.0))) == found
    model[0].bias.data[0] = float("nan")
    assert (
        find(model, lambda: model(torch.ones(1, 2))) == "layer '0' (Linear): its bias is not finite"
    )
    assert not any(layer._forward_hooks for layer in model.modules())


def test_first_bad_layer_of_a_network_that_is_one_call():
    find, network = terminate_on_nan.first_bad_layer, MLP(2, [4, 4], 1)
    chain = nn.Sequential(nn.Linear(2, 2), network)
    assert find(chain, lambda: chain(torch.ones(1, 2))) is None
    network.layers[1].weight.data[0, 0] = float("inf")
    found = "layer '1.layers.1' (Linear): its weight is not finite"
    assert find(chain, lambda: chain(torch.ones(1, 2))) == found
    found = "layer 'layers.1' (Linear): its weight is not finite"
    assert find(network, lambda: network(torch.ones(1, 2))) == found


def test_without_it_a_warning_says_what_finds_the_place():
    model = new_model(lambda parameters: torch.optim.SGD(parameters, lr=1e30))
    with pytest.warns(UserWarning, match=r"loss became (nan|inf) in epoch.*TerminateOnNaN"):
        fit(model, epochs=3)
