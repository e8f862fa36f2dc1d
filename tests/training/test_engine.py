"""One loop for every kind of training: losses by name, two optimisers, solvers of one's own."""

import csv
import os
import signal
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pyneural.training import (
    LBFGS,
    Adam,
    CheckpointError,
    Descent,
    LevenbergMarquardt,
    Model,
    Solver,
    TensorBatches,
    Trainable,
    Trainer,
    callbacks,
    load_checkpoint,
)

X = torch.randn(40, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def linear(inputs, outputs):
    return nn.Linear(inputs, outputs).double()


class Autoencoding(Trainable):
    """Losses by name, random numbers, a weight that changes, a quantity that is only measured."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = linear(2, 2), linear(1, 2)
        self.term_weights = {"kl": 0.0, "spread": 0.0}

    def losses(self, batch):
        mean, log_variance = self.encoder(batch.x).chunk(2, 1)
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
        reconstruction = (self.decoder(z) - batch.x).square().sum(1).mean()
        return {"reconstruction": reconstruction, "kl": kl, "spread": z.detach().std()}


class Adversarial(Trainable):
    """Two optimisers in turn, three steps of one for a step of the other."""

    critics = 3

    def __init__(self):
        super().__init__()
        self.generator, self.discriminator = linear(1, 2), linear(2, 1)
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def training_step(self, batch, solver):
        for _ in range(self.critics):
            fake = self.generator(torch.randn(len(batch.x), 1, dtype=torch.float64))
            d = F.softplus(self.discriminator(fake)).mean()
            d = d + F.softplus(-self.discriminator(batch.x)).mean()
            solver.minimise(d, "discriminator")
        fake = self.generator(torch.randn(len(batch.x), 1, dtype=torch.float64))
        g = F.softplus(-self.discriminator(fake)).mean()
        solver.minimise(g, "generator")
        self.updates += 1
        return {"discriminator": d, "generator": g}


class Curve(Trainable):
    """Least squares on all data, r = tanh(X a + b) c - y."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(linear(2, 3), nn.Tanh(), linear(3, 1))
        self.y = X.prod(1, keepdim=True)

    def residual(self):
        return (self.net(X) - self.y).flatten()

    def least_squares(self, batch):
        return {"square": lambda: self.residual() / len(X) ** 0.5}

    def losses(self, batch):
        if batch is None:
            return {"square": self.residual().square().mean()}
        return {"square": (self.net(batch.x) - batch.y).square().mean()}


@dataclass(frozen=True)
class Secant:
    """A quasi-Newton phase of the user's: Barzilai and Borwein's step length."""

    steps: int
    name = "secant"
    epochs = None

    def config(self):
        return {"phase": self.name}

    def begin(self, task):
        return SecantSolver(task)


class SecantSolver(Solver):
    names = ("square",)

    def __init__(self, task):
        self.model, self.parameters = task.model, list(task.model.parameters())
        self.point = self.gradient = None

    def step(self, batch):
        loss = self.model.losses(batch)["square"]
        gradients = torch.autograd.grad(loss, self.parameters)
        gradient = torch.cat([part.flatten() for part in gradients])
        point = nn.utils.parameters_to_vector(self.parameters).detach()
        length = 0.01
        if self.point is not None:
            s, y = point - self.point, gradient - self.gradient
            length = float(s.dot(s) / s.dot(y).abs().clamp(min=1e-12))
        nn.utils.vector_to_parameters(point - min(length, 1.0) * gradient, self.parameters)
        self.point, self.gradient = point, gradient
        self.evaluations += 1
        return [loss.detach()]

    def state_dict(self):
        return super().state_dict() | {"point": self.point, "gradient": self.gradient}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.point, self.gradient = state["point"], state["gradient"]


def batches(y=None):
    return TensorBatches(X, y, batch_size=12, seed=3)  # of 4 batches an epoch


GAN_OPTIMIZERS = {"generator": "adam", "discriminator": "rmsprop"}
KINDS = {
    "losses by name": lambda: (Autoencoding(), [Adam(24, lr=0.02)], batches()),
    "two optimisers": lambda: (Adversarial(), [Descent(GAN_OPTIMIZERS, epochs=6)], batches()),
    "solver with state": lambda: (Curve(), [Secant(24)], None),
    "full batch, two phases": lambda: (Curve(), [Adam(9), LevenbergMarquardt(15)], None),
    "closure on batches": lambda: (Curve(), [LBFGS(24)], batches(X.prod(1, keepdim=True))),
    "closure, first order": lambda: (Curve(), [LBFGS(9), Descent("sgd", steps=15)], None),
}


class Pause(callbacks.Callback):
    """Ctrl-C during a step."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self):
        if self.run.steps == self.step:
            os.kill(os.getpid(), signal.SIGINT)


def trainer(kind, checkpoint=None, pause=-1, **options):
    torch.manual_seed(1)
    model, phases, data = KINDS[kind]()
    more = [callbacks.EMA(0.9), callbacks.TorchScheduler(_scheduler, "batch")]
    if kind == "losses by name":
        more.append(callbacks.LossWeights(lambda run: {"kl": min(1.0, run.steps / 10)}))
    return Trainer(
        model, phases, batches=data, callbacks=[Pause(pause), *more], checkpoint=checkpoint,
        every=1e9, steps_per_epoch=4, progress=False, **options,
    )  # fmt: skip


def _scheduler(optimizer):
    return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99)


def state(model):
    return torch.cat([value.flatten().double() for value in model.state_dict().values()])


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_trains_and_is_resumed_bit_by_bit(tmp_path, kind):
    whole = trainer(kind)
    before = state(whole.model)
    report = whole.fit()
    assert report.reason == "all steps done"
    assert report.steps == len(whole.history) == 24
    assert not torch.equal(before, state(whole.model))
    assert torch.isfinite(state(whole.model)).all()
    for stop in (1, 4, 9, 10, 23):
        path = tmp_path / f"{stop}.safetensors"
        first = trainer(kind, path, pause=stop).fit()
        assert (first.reason, first.steps) == ("interrupted", stop)
        second = trainer(kind, path)
        torch.rand(7)
        assert second.resume() == stop
        resumed = second.fit()
        assert torch.equal(state(second.model), state(whole.model)), stop
        assert second.history.rows == whole.history.rows
        # repr, as a curve is nan where a phase has no term of its name
        assert repr(resumed.history.history) == repr(report.history.history)


@pytest.mark.parametrize("kind", KINDS)
def test_time_limit_pauses_every_kind_and_ctrl_c_is_not_finished(tmp_path, kind):
    path = tmp_path / "run.safetensors"
    report = trainer(kind, path, time_limit=0.0).fit()
    assert (report.reason, report.steps) == ("time limit", 1)
    again = trainer(kind, path)
    again.resume()
    assert again.fit().steps == 24


def test_curves_have_the_total_and_the_terms():
    run = trainer("losses by name")
    history = run.fit().history
    assert list(history.history)[:4] == ["loss", "reconstruction", "kl", "spread"]
    weights = run.model.term_weights
    assert weights == {"kl": 1.0, "spread": 0.0}
    last = {name: values[-1] for name, values in history.history.items()}
    assert last["loss"] == pytest.approx(last["reconstruction"] + last["kl"])


def test_a_quantity_of_weight_0_is_not_minimised():
    model = Autoencoding()
    run = Trainer(model, [Adam(3)], batches=batches(), progress=False)
    bias = model.decoder.bias.detach().clone()
    model.term_weights = {"reconstruction": 0.0, "spread": 0.0}
    run.fit()
    assert torch.equal(model.decoder.bias, bias)  # the kl does not depend on it
    model.term_weights = {"reconstruction": 0.0, "kl": 0.0, "spread": 0.0}
    with pytest.raises(ValueError, match="term_weights: expected one that is not 0"):
        Trainer(model, [Adam(1)], batches=batches(), progress=False).fit()
    model.term_weights = {"beta": 1.0}
    with pytest.raises(ValueError, match="expected names of reconstruction, kl, spread, got 'beta"):
        Trainer(model, [Adam(1)], batches=batches(), progress=False).fit()


def test_each_optimiser_changes_its_own_part_so_many_times():
    run = trainer("two optimisers")
    run.fit()
    optimizers = dict(zip(GAN_OPTIMIZERS, run.run.optimizers, strict=True))
    steps = {name: int(next(iter(o.state.values()))["step"]) for name, o in optimizers.items()}
    assert steps == {"generator": 24, "discriminator": 72}
    assert int(run.model.updates) == 24
    assert run.run.evaluations == 96


def test_parts_are_submodules_with_a_step_of_their_own():
    with pytest.raises(ValueError, match="no training_step; write one"):
        Trainer(Autoencoding(), [Descent({"encoder": "sgd", "decoder": "sgd"}, steps=1)],
                batches=batches(), progress=False).fit()  # fmt: skip
    with pytest.raises(ValueError, match="part: expected one of generator, got 'discriminator'"):
        Trainer(Adversarial(), [Descent({"generator": "sgd"}, steps=1)], batches=batches(),
                progress=False).fit()  # fmt: skip
    with pytest.raises(ValueError, match="either steps or epochs, got None and None"):
        Descent("sgd")


@pytest.mark.parametrize("kind", ["losses by name", "two optimisers"])
def test_terminate_on_nan_spares_the_weights(kind):
    run = trainer(kind)
    run.run.callbacks.insert(0, callbacks.TerminateOnNaN())
    data = run.run.batches
    data.x = X.clone()
    data.x[5] = float("nan")
    with pytest.warns(UserWarning, match="TerminateOnNaN"):
        report = run.fit()
    assert report.reason.startswith("TerminateOnNaN: loss '")
    assert torch.isfinite(state(run.model)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_loss_that_is_not_finite_is_named(kind):
    run = trainer(kind)
    with torch.no_grad():
        next(run.model.parameters()).fill_(float("nan"))
    with pytest.raises(FloatingPointError, match=r"loss term '\w+': .* nan at step 1 of phase 1"):
        run.fit()


def test_callbacks_of_a_training_in_steps(tmp_path):
    seen, epochs = [], []
    log = tmp_path / "log.csv"
    more = [
        callbacks.Every(5, lambda run: seen.append((run.phase, run.steps))),
        callbacks.Every(2, lambda run: epochs.append(run.epoch), unit="epoch"),
        callbacks.CSVLogger(log),
        callbacks.LearningRateScheduler(lambda epoch, rate: 0.01 / (epoch + 1)),
    ]
    torch.manual_seed(1)
    run = Trainer(Curve(), [Adam(10, final=1.0), LBFGS(6)], callbacks=more, steps_per_epoch=4,
                  progress=False)  # fmt: skip
    history = run.fit().history
    assert seen == [(0, 5), (0, 10), (1, 15)]
    assert epochs == [1, 3]  # 4 + 4 + 2 steps of Adam, then 4 + 2 of L-BFGS
    assert history["learning_rate"][:3] == pytest.approx([0.01, 0.005, 0.01 / 3])
    with open(log, newline="") as file:
        assert len(list(csv.DictReader(file))) == len(history) == 5
    assert run.history.rows[3][0] < run.history.rows[0][0]


def test_early_stopping_ends_all_phases_and_is_no_pause(tmp_path):
    path = tmp_path / "run.safetensors"

    def new():
        torch.manual_seed(1)
        stop = callbacks.EarlyStopping("loss", min_delta=1e9, patience=2)
        return Trainer(Curve(), [Adam(40), LBFGS(40)], callbacks=[stop], steps_per_epoch=4,
                       checkpoint=path, progress=False)  # fmt: skip

    report = new().fit()
    assert report.steps == 12
    assert report.reason.startswith("EarlyStopping: loss was best in epoch 1")
    again = new()
    again.resume()
    assert again.fit().steps == 12


def test_a_longer_phase_goes_on_where_it_was(tmp_path):
    path = tmp_path / "run.safetensors"
    Trainer(Curve(), [Secant(5)], checkpoint=path, progress=False).fit()
    longer = Trainer(Curve(), [Secant(8)], checkpoint=path, progress=False)
    assert longer.resume() == 5
    assert longer.fit().steps == 8
    with pytest.raises(CheckpointError, match=r"phase 1: expected .*secant.*got .*Adam"):
        Trainer(Curve(), [Adam(8)], checkpoint=path, progress=False).resume()


def test_checkpoint_of_the_first_version_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "run.safetensors"
    monkeypatch.setattr("pyneural.training.callbacks.checkpoint._LAYOUT", 1)
    Trainer(Curve(), [Adam(1)], checkpoint=path, progress=False).fit()
    monkeypatch.undo()
    assert load_checkpoint(path)[1]["layout"] == 1
    with pytest.raises(CheckpointError, match="of this version of pyneural"):
        Trainer(Curve(), [Adam(1)], checkpoint=path, progress=False).resume()


class OwnLosses(Model):
    """Compiled and fitted as any model, with a loss that is its own."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(2, 2)

    def forward(self, x):
        return self.net(x)

    def losses(self, batch):
        error = self(batch.x) - batch.x
        return {"square": error.square().mean(), "bias": self.net.bias.square().sum()}


def test_a_model_with_losses_of_its_own_is_compiled_without_one():
    model = OwnLosses()
    model.term_weights = {"bias": 0.1}
    model.compile("adam")
    x = X.float()
    history = model.fit(x, batch_size=8, epochs=5, verbose=0, validation_data=(x, None))
    assert list(history.history) == [
        "loss", "square", "bias", "val_loss", "val_square", "val_bias",
    ]  # fmt: skip
    assert history["loss"][-1] < history["loss"][0]
    assert history["loss"][0] == pytest.approx(history["square"][0] + 0.1 * history["bias"][0])
    assert model.evaluate(x, return_dict=True)["square"] == pytest.approx(
        (model(x) - x).square().mean().item(), rel=1e-5
    )
    with pytest.raises(ValueError, match="compile: loss: expected none, nor metrics, as"):
        model.compile("adam", "mse")
    with pytest.raises(ValueError, match="compile: loss: expected one, got None"):
        Model(nn.Linear(2, 2)).compile("adam")


def test_a_trainable_needs_losses():
    class Empty(Trainable):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.zeros(1))

    with pytest.raises(NotImplementedError, match=r"Empty: expected a method losses\(batch\)"):
        Trainer(Empty(), [Adam(1)], progress=False).fit()


def test_steps_before_a_pause_are_in_the_history_without_a_checkpoint():
    run = trainer("losses by name", pause=6)
    del run.run.callbacks[1]  # EMA, which gives the model the average at the pause
    report = run.fit()
    assert report.steps == len(run.history) == 6
    assert report.phases[-1].loss == run.run.total(run.history.rows[-1])
    assert run.fit().steps == 24  # goes on in the same process
    whole = trainer("losses by name")
    whole.fit()
    assert whole.history.rows == run.history.rows
