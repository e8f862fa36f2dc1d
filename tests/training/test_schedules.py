"""Learning rates that go on from one fit to the next."""

import copy
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from pyneural.training import LBFGS, Adam, Sequential, Trainer, callbacks
from tests.training.problems import Quartic

X = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
Y = X.sum(1)
SCHEDULES = {
    "StepLR": lambda: callbacks.TorchScheduler(lambda o: lr_scheduler.StepLR(o, 2, 0.5)),
    "CosineAnnealingLR": lambda: callbacks.TorchScheduler(
        lambda o: lr_scheduler.CosineAnnealingLR(o, 30), "batch"
    ),
    "OneCycleLR": lambda: callbacks.TorchScheduler(
        lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=24), "batch"
    ),
    "SequentialLR": lambda: callbacks.TorchScheduler(
        lambda o: lr_scheduler.SequentialLR(
            o, [lr_scheduler.ConstantLR(o, 0.1, 2), lr_scheduler.ExponentialLR(o, 0.9)], [2]
        )
    ),
    "WarmUp": lambda: callbacks.WarmUp(7),
}


def new_model(optimizer="adam"):
    torch.manual_seed(0)
    model = Sequential([nn.Linear(3, 2), nn.Linear(2, 1)])
    model.compile(optimizer, "mse")
    return model


def rates(model, schedule, **options):
    """Those of each epoch of four batches, and the weights after it."""
    options = {"shuffle": False, "verbose": 0} | options
    return model.fit(X, Y, 8, callbacks=[schedule], **options)["learning_rate"]


@pytest.mark.parametrize("kind", SCHEDULES)
def test_a_second_fit_goes_on(kind):
    one, two, schedule = new_model(), new_model(), SCHEDULES[kind]()
    expected = rates(one, SCHEDULES[kind](), epochs=6)
    assert len(set(expected)) > 2
    found = rates(two, schedule, epochs=1) + rates(two, schedule, epochs=3, initial_epoch=1)
    found += rates(two, schedule, epochs=3)  # whose epochs have the numbers 0 to 2
    assert found == expected
    assert torch.equal(one[0].weight, two[0].weight)


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("trained", [False, True])
def test_a_new_schedule_begins_at_the_initial_epoch(kind, trained, recwarn):
    expected = rates(new_model(), SCHEDULES[kind](), epochs=6)
    model = new_model()
    if trained:
        rates(model, SCHEDULES[kind](), epochs=3)
    found = rates(model, SCHEDULES[kind](), epochs=6, initial_epoch=3)
    assert found == pytest.approx(expected[3:], rel=1e-12)
    assert not recwarn.list


@pytest.mark.parametrize("kind", SCHEDULES)
def test_a_schedule_goes_on_with_other_parameters(kind):
    expected = rates(new_model(), SCHEDULES[kind](), epochs=6)
    model, schedule = new_model(), SCHEDULES[kind]()
    model[0].requires_grad_(False)
    model.compile("adam", "mse")
    found = rates(model, schedule, epochs=3)
    before = model.optimizer
    model[0].requires_grad_(True)
    found += rates(model, schedule, epochs=6, initial_epoch=3)
    assert model.optimizer is not before
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("kind", SCHEDULES)
def test_a_schedule_begins_anew_with_another_model_or_optimiser(kind):
    model, schedule = new_model(), SCHEDULES[kind]()
    expected = rates(model, schedule, epochs=3)
    assert rates(new_model(), schedule, epochs=3) == expected
    rates(model, schedule, epochs=1)
    model.compile("adam", "mse")
    assert rates(model, schedule, epochs=3) == expected


def test_a_schedule_begins_anew_with_a_model_that_had_another_one():
    first, second, schedule = new_model(), new_model(), callbacks.WarmUp(7)
    expected = rates(first, schedule, epochs=3)
    rates(second, callbacks.WarmUp(2), epochs=1)
    second.optimizer.param_groups[0]["lr"] = 1e-3
    assert rates(second, schedule, epochs=3) == expected


@pytest.mark.parametrize("kind", SCHEDULES)
def test_a_second_fit_that_is_resumed(kind, tmp_path):
    expected = rates(new_model(), SCHEDULES[kind](), epochs=6)
    path = tmp_path / "run.safetensors"
    model, schedule = new_model(), SCHEDULES[kind]()
    rates(model, schedule, epochs=2)
    options = {"initial_epoch": 2, "checkpoint": path}
    rates(model, schedule, epochs=4, **options)
    again = new_model()
    found = rates(again, SCHEDULES[kind](), epochs=6, resume=True, **options)
    assert found == pytest.approx(expected[2:], rel=1e-12)
    assert rates(model, schedule, epochs=6, resume=True, **options) == found


@pytest.mark.parametrize("kind", ["StepLR", "CosineAnnealingLR", "WarmUp"])
def test_a_new_schedule_begins_with_the_rate_that_is_there(kind):
    expected = rates(new_model(), SCHEDULES[kind](), epochs=3)
    model = new_model()
    rates(model, SCHEDULES[kind](), epochs=3)
    model.optimizer.param_groups[0]["lr"] = 2e-3
    found = rates(model, SCHEDULES[kind](), epochs=3)
    assert found == pytest.approx([2 * rate for rate in expected], rel=1e-12)


def one_cycle(steps):
    return callbacks.TorchScheduler(
        lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=steps), "batch"
    )


def test_a_schedule_at_its_end_begins_anew():
    model, schedule = new_model(), one_cycle(8)
    first = rates(model, schedule, epochs=2)
    assert rates(model, schedule, epochs=2) == pytest.approx(first, rel=1e-12)
    with pytest.raises(ValueError, match="make: expected steps left at epoch 2, got none; enlarge"):
        rates(model, schedule, epochs=4, initial_epoch=2)
    with pytest.raises(ValueError, match="make: expected a step for each of the training, got 8"):
        rates(new_model(), one_cycle(8), epochs=3)


def test_a_scheduler_of_a_quantity_is_refused():
    schedule = callbacks.TorchScheduler(lambda o: lr_scheduler.ReduceLROnPlateau(o))
    model = new_model()
    with pytest.raises(TypeError, match=r"got ReduceLROnPlateau; .*callbacks\.ReduceLROnPlateau"):
        rates(model, schedule, epochs=1)
    assert not model.optimizer.state


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_a_copy_has_neither_model_nor_optimiser(copied):
    schedule = callbacks.TorchScheduler(partial(lr_scheduler.StepLR, step_size=2, gamma=0.5))
    model = new_model()
    expected = rates(model, schedule, epochs=3)
    again = copied(schedule)
    assert not again.schedulers
    assert not hasattr(again, "run")
    assert rates(new_model(), again, epochs=3) == expected


def test_a_schedule_begins_anew_with_each_phase():
    seen = []
    schedule = callbacks.TorchScheduler(lambda o: lr_scheduler.ExponentialLR(o, 0.5), "batch")
    report = callbacks.Every(1, lambda run: seen.extend(g["lr"] for g in _groups(run)))
    phases = [Adam(2, 0.1, final=1.0), LBFGS(2), Adam(2, 0.1, final=1.0)]
    Trainer(Quartic(), phases, progress=False, callbacks=[schedule, report]).fit()
    assert seen == pytest.approx([0.05, 0.025, 0.05, 0.025])


def _groups(run):
    return [group for optimizer in run.optimizers for group in optimizer.param_groups]
