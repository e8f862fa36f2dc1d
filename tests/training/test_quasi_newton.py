"""SSBroyden and SSBFGS: iterations that may be stopped and resumed, and what they refuse."""

import itertools
import os
import signal

import pytest
import torch

from pyneural.training import SSBFGS, Adam, SSBroyden, TensorBatches, Trainable, Trainer, callbacks
from pyneural.training.solvers import quasi_newton
from pyneural.training.solvers.base import Task
from tests.training.problems import Quartic, small_pinn

PHASES = [SSBroyden, SSBFGS]
CPU = torch.device("cpu")


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Rosenbrock(Trainable):
    """sum_i 100 (w_{i+1} - w_i^2)^2 + (1 - w_i)^2, evaluations and batches being noted."""

    def __init__(self, size=2, dtype=torch.float64, bad_at=()):
        super().__init__()
        start = torch.tensor([-1.2, 1.0] * (size // 2), dtype=dtype)
        self.w, self.frozen = torch.nn.Parameter(start), torch.nn.Parameter(torch.ones(3))
        self.unused = torch.nn.Parameter(torch.ones(2, dtype=dtype))
        self.frozen.requires_grad_(False)
        self.calls, self.bad_at = 0, bad_at

    def losses(self, batch=None):
        self.calls += 1
        w = self.w * self.frozen[0]
        valley = 100 * (w[1:] - w[:-1] ** 2).square().sum()
        bad = float("nan") if self.calls in self.bad_at else 0.0
        return {"valley": valley + bad, "slope": (1 - w[:-1]).square().sum()}


def stepped(phase, model, steps):
    """A solver after some steps, and its loss after each."""
    solver, losses = phase.begin(Task(model)), []
    for _ in range(steps):
        losses.append(sum(solver.step(None)))
        if solver.reason:
            break
    return solver, losses


@pytest.mark.parametrize("size", [2, 6, 20])
@pytest.mark.parametrize("phase", PHASES)
def test_rosenbrock(phase, size):
    model = Rosenbrock(size)
    solver, losses = stepped(phase(1000), model, 1000)
    assert solver.reason == "converged: gradient below 1e-12"
    assert losses[-1] < 1e-19
    falls = [after < before for before, after in itertools.pairwise(losses)]
    assert all(falls[:-1])  # but in the last one, which finds the gradient below
    assert (model.w - 1).abs().max() < 1e-9
    assert model.unused.tolist() == [1.0, 1.0]
    assert model.frozen.tolist() == [1.0, 1.0, 1.0]
    assert solver.evaluations == model.calls, "an evaluation is made twice, or not counted"
    assert model.calls < 2 * len(losses)


@pytest.mark.parametrize("phase", PHASES)
def test_wolfe_conditions_hold_at_each_step(phase):
    model = Rosenbrock(10)
    solver = phase(1).begin(Task(model))

    def evaluated():
        loss = sum(model.losses().values())
        return float(loss.detach()), torch.autograd.grad(loss, model.w)[0]

    for _ in range(60):
        before, (loss, gradient) = model.w.detach().clone(), evaluated()
        solver.step(None)
        after, slope = evaluated()
        s = model.w.detach() - before
        assert after <= loss + 1e-4 * gradient @ s + 1e-15 * loss
        assert (slope @ s).abs() <= 0.9 * (gradient @ s).abs() * (1 + 1e-9)


@pytest.mark.parametrize("phase", PHASES)
def test_float32_parameters(phase):
    """H is in float64, the loss as good as float32 has it."""
    model = Rosenbrock(4, torch.float32)
    solver, losses = stepped(phase(500), model, 500)
    assert losses[-1] < 1e-11
    assert solver.reason.startswith("converged")
    assert solver.hessian.matrix.dtype == torch.float64
    assert model.w.dtype == torch.float32


def test_nothing_changes_the_result_of_a_smaller_loss():
    """Iterations do not depend on the scale of the loss."""

    class Scaled(Rosenbrock):
        def losses(self, batch=None):
            return {name: 2.0**-40 * loss for name, loss in super().losses().items()}

    one, other = Rosenbrock(6), Scaled(6)
    stepped(SSBroyden(30), one, 30)
    stepped(SSBroyden(30), other, 30)
    torch.testing.assert_close(one.w, other.w, rtol=1e-12, atol=0)


def test_trials_that_are_not_finite_are_rejected():
    """Also by a Trainer, which refuses losses that are not finite."""
    model = Rosenbrock(2, bad_at={2, 3, 7, 8})
    report = Trainer(model, [SSBroyden(200)], progress=False).fit()
    assert report.phases[0].loss < 1e-20


def test_a_start_that_is_not_finite_is_refused():
    with pytest.raises(FloatingPointError, match=r"'valley'.*got nan at step 1 of phase 1"):
        Trainer(Rosenbrock(2, bad_at={1}), [SSBroyden(5)], progress=False).fit()
    solver, _ = stepped(SSBroyden(5), Rosenbrock(2, bad_at={1}), 5)
    assert solver.reason == "loss or gradient not finite"


@pytest.mark.parametrize("phase", PHASES)
def test_at_the_minimum_it_stops_at_once(phase):
    solver = phase(5).begin(Task(Quartic(start=1.0)))
    assert solver.step(None) == [0.0, 0.0, 0.0]
    assert solver.reason == "converged: gradient below 1e-12"


def test_a_gradient_whose_square_vanishes_ends_it():
    model = Quartic(start=0.0)
    model.losses = lambda batch=None: {"tiny": 1e-200 * model.w.sum(), "one": 1 + 0 * model.w.sum()}
    solver = SSBroyden(5, tolerance_grad=0.0).begin(Task(model))
    assert solver.step(None) == [0.0, 1.0]
    assert solver.reason == "converged: no step along the gradient lowers the loss"


def test_reason_where_nothing_changes_any_more():
    solver, _ = stepped(SSBFGS(500, tolerance_grad=0.0, tolerance_change=1e-3), Quartic(), 500)
    assert solver.evaluations < 1000
    solver, _ = stepped(SSBFGS(500, tolerance_grad=0.0, tolerance_change=0.5), Rosenbrock(), 500)
    assert solver.reason == "converged: relative change of the loss below 0.5"


class Drift(callbacks.Callback):
    """Changes the loss, or the parameters themselves, every three steps."""

    def __init__(self, kind):
        self.kind = kind

    def on_train_batch_end(self):
        run = self.run
        if run.steps % 3:
            return
        if self.kind == "points":
            run.model.resample(adaptive=True)
            run.objective_changed()
        elif self.kind == "weights":
            run.model.weights["residual"] = 1 + run.steps / 10
        else:
            with torch.no_grad():
                next(run.model.parameters()).mul_(0.999)


@pytest.mark.parametrize("kind", ["points", "weights", "parameters", "none"])
@pytest.mark.parametrize("step", [1, 3, 8])
def test_resumed_equals_uninterrupted_bit_by_bit(tmp_path, kind, step):
    def trainer(path, phases):
        drift = [Drift(kind)] if kind != "none" else []
        return Trainer(small_pinn(), phases, callbacks=drift, checkpoint=path, progress=False)

    whole = trainer(tmp_path / "whole.safetensors", [SSBroyden(12)])
    whole.fit()
    trainer(tmp_path / "part.safetensors", [SSBroyden(step)]).fit()
    rest = trainer(tmp_path / "part.safetensors", [SSBroyden(12)])
    assert rest.resume() == step
    rest.fit()
    pairs = zip(whole.model.state_dict().values(), rest.model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert whole.history.rows == rest.history.rows


def test_what_is_known_survives_new_points():
    solver, _ = stepped(SSBroyden(40), Rosenbrock(6), 20)
    solver.hessian.times()
    before = solver.hessian.matrix.clone()
    before[0, 1] += 1e-9
    solver.hessian.matrix.copy_(before)
    solver.objective_changed()
    assert torch.equal(solver.hessian.matrix, solver.hessian.matrix.T)
    torch.testing.assert_close(solver.hessian.matrix, (before + before.T) / 2, rtol=0, atol=0)
    assert solver._known is solver.direction is None


def test_h_begins_anew_where_it_leads_uphill():
    model = Rosenbrock(6)
    solver, losses = stepped(SSBroyden(40), model, 20)
    solver.hessian.times()
    solver.hessian.matrix.neg_()
    solver.direction = None
    assert sum(solver.step(None)) < losses[-1]
    assert not solver.hessian.first
    solver.hessian.times()
    assert torch.linalg.eigvalsh(solver.hessian.matrix).min() > 0


def test_parameters_that_were_moved_have_a_direction_of_their_own():
    model = Rosenbrock(6)
    solver, _ = stepped(SSBroyden(40), model, 20)
    with torch.no_grad():
        model.w.add_(0.01)
    loss = sum(model.losses().values())
    (gradient,) = torch.autograd.grad(loss, model.w)
    solver.hessian.times()
    start, expected = model.w.detach().clone(), -solver.hessian.matrix[:6, :6] @ gradient
    solver.step(None)
    step = model.w.detach() - start
    torch.testing.assert_close(step / step.norm(), expected / expected.norm(), rtol=1e-7, atol=1e-9)


class Broken(RuntimeError):
    pass


@pytest.mark.parametrize("error", [Broken, KeyboardInterrupt])
def test_an_error_inside_a_step_leaves_the_parameters_before_it(error):
    model, left = Rosenbrock(6), [30]

    def watch(values, names):
        left[0] -= 1
        if left[0] == 0:
            raise error

    solver = SSBroyden(40).begin(Task(model, watch=watch))
    with pytest.raises(error):  # noqa: PT012
        while True:
            before = model.w.detach().clone()
            solver.step(None)
    assert torch.equal(model.w, before)
    assert sum(solver.step(None)) < 1e3


def test_an_interruption_inside_the_update_leaves_no_half_of_it(monkeypatch):
    model = Rosenbrock(6)
    solver, losses = stepped(SSBroyden(40), model, 10)

    def interrupted(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch, "mv", interrupted)
        with pytest.raises(KeyboardInterrupt):
            solver.step(None)
    assert torch.equal(solver.state_dict()["hessian"]["matrix"], torch.eye(8).double())
    assert sum(solver.step(None)) < losses[-1]


def test_ctrl_c_ends_the_step_first(tmp_path):
    class Pause(callbacks.Callback):
        def on_train_batch_end(self):
            if self.run.steps == 5:
                os.kill(os.getpid(), signal.SIGINT)

    report = Trainer(Rosenbrock(), [SSBFGS(50)], callbacks=[Pause()], progress=False).fit()
    assert report.interrupted
    assert report.steps == 5


def test_callbacks_see_gradients_and_may_refuse():
    seen = []

    class Spy(callbacks.Callback):
        def on_gradients(self, batch, losses):
            model = self.run.model
            (expected,) = torch.autograd.grad(sum(model.losses().values()), model.w)
            torch.testing.assert_close(model.w.grad, expected, rtol=1e-12, atol=0)
            seen.append({name: float(loss) for name, loss in losses.items()})
            if len(seen) == 4:
                self.run.stop("enough")

    model = Rosenbrock()
    report = Trainer(model, [SSBroyden(50)], callbacks=[Spy()], progress=False).fit()
    assert report.steps == 3
    assert report.reason == "enough"
    assert list(seen[0]) == ["valley", "slope"]


def test_weights_that_balance_themselves_stay_in_it():
    balance = callbacks.GradientNormWeights(every=2)
    pinn = small_pinn()
    with pytest.raises(ValueError, match="got SSBroyden; begin with Adam"):
        pinn.fit([SSBroyden(5)], callbacks=[balance], progress=False)
    pinn.fit([Adam(5)], callbacks=[balance], progress=False)
    before = dict(pinn.weights)
    pinn.fit([Adam(0), SSBroyden(6)], callbacks=[balance], progress=False)
    assert pinn.weights == before


def test_batches():
    """Each iteration is one of one batch: both gradients of y belong to the same loss."""

    class Mean(Trainable):
        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))

        def losses(self, batch):
            return {
                "square": (batch.x @ self.w - batch.x @ torch.arange(3.0).double()).square().mean()
            }

    model, data = Mean(), TensorBatches(normal(64, 3), batch_size=16)
    Trainer(model, [SSBroyden(30)], batches=data, progress=False).fit()
    torch.testing.assert_close(model.w.tolist(), [0.0, 1.0, 2.0], rtol=1e-6, atol=1e-6)


def test_layers_that_are_frozen_meanwhile_are_refused():
    class Freeze(callbacks.Callback):
        def on_epoch_end(self, epoch, logs):
            self.run.model.unused.requires_grad_(False)

    trainer = Trainer(
        Rosenbrock(), [SSBroyden(50)], callbacks=[Freeze()], steps_per_epoch=5, progress=False
    )
    with pytest.raises(RuntimeError, match="SSBroyden: parameters: expected those that required"):
        trainer.fit()


def test_too_many_parameters_for_the_memory(monkeypatch):
    monkeypatch.setattr(quasi_newton, "available_memory", lambda device: 500)
    stepped(SSBroyden(1), Quartic(), 1)
    message = r"SSBFGS: parameters: .* into the 0.5 kB .* got 0.5 kB for 8 parameters; use LBFGS"
    with pytest.raises(MemoryError, match=message):
        SSBFGS(1).begin(Task(Rosenbrock(6)))


def test_complex_parameters_are_refused():
    model = Quartic()
    model.w = torch.nn.Parameter(torch.ones(2, dtype=torch.complex128))
    with pytest.raises(ValueError, match=r"SSBroyden: parameters: .* got torch.complex128"):
        SSBroyden(1).begin(Task(model))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SSBroyden(-1), r"SSBroyden: steps: expected a whole number >= 0, got -1"),
        (lambda: SSBFGS(1.5), r"SSBFGS: steps: .* got 1.5"),
        (lambda: SSBFGS(1, tolerance_grad=-1.0), r"SSBFGS: tolerance_grad: expected a number >= 0"),
        (lambda: SSBroyden(1, tolerance_change=float("nan")), r"tolerance_change: .* got nan"),
    ],
)
def test_bad_options(make, message):
    with pytest.raises(ValueError, match=message):
        make()
