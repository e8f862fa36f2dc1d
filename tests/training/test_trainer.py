"""The trainer: phases, resumption with the same bits, bad losses, Ctrl-C, time limits."""

import os
import signal
import time

import pytest
import torch

from pyneural.training import LBFGS, Adam, CheckpointError, Trainer, load_checkpoint
from tests.processes import start
from tests.training.problems import PHASES, Quartic, small_pinn, small_trainer


def equal_states(one, other):
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.fixture(scope="module")
def uninterrupted():
    trainer = small_trainer()
    trainer.fit()
    return trainer


def test_phases_history_and_reports(uninterrupted):
    history = uninterrupted.history
    assert [history.phase.count(i) for i in range(3)] == [8, 12, 12]
    assert history.names == ["initial", "boundary", "residual"]
    assert history.seconds == sorted(history.seconds)
    assert history.evaluations[7] == 8
    assert history.evaluations[-1] >= 32
    assert uninterrupted.phase_starts() == [(0, "Adam"), (8, "L-BFGS"), (20, "L-BFGS")]
    report = uninterrupted.fit()  # nothing is left to do
    assert report.reason == "all steps done"
    assert [(p.name, p.steps) for p in report.phases] == [
        ("Adam", 8), ("L-BFGS", 12), ("L-BFGS", 12),
    ]  # fmt: skip
    losses = [p.loss for p in report.phases]
    assert losses[1] < losses[0]
    assert report.phases[-1].loss == uninterrupted.run.total(history.rows[-1])


def test_one_seed_gives_one_result(uninterrupted):
    again = small_trainer()
    again.fit()
    assert equal_states(again.model, uninterrupted.model)
    assert again.history.rows == uninterrupted.history.rows


def test_each_phase_but_the_first_has_new_points():
    pinn = small_pinn()
    seen = [pinn.collocation]
    for index in range(3):
        pinn.begin_phase(index)
        seen.append(pinn.collocation)
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])
    assert not torch.equal(seen[2], seen[3])


@pytest.mark.parametrize("stop_after", [1, 5, 8, 9, 15, 20, 21, 31, 32])
def test_resumed_equals_uninterrupted_bit_by_bit(tmp_path, uninterrupted, stop_after):
    first = small_trainer(tmp_path / "run.safetensors")
    stop_at(first, stop_after)
    assert first.fit().interrupted
    resumed = small_trainer(tmp_path / "run.safetensors")
    assert resumed.resume() == stop_after
    resumed.fit()
    assert equal_states(resumed.model, uninterrupted.model)
    assert resumed.history.rows == uninterrupted.history.rows
    # L-BFGS evaluates once more where it was stopped.
    assert resumed.history.evaluations[-1] - uninterrupted.history.evaluations[-1] in (0, 1)


def stop_at(trainer, steps):
    """Ctrl-C during the step of that number."""
    losses, begin = trainer.model.losses, []

    def counted(batch):
        if trainer.run.steps + 1 >= steps and not begin:
            begin.append(os.kill(os.getpid(), signal.SIGINT))
        return losses(batch)

    trainer.model.losses = counted


def test_killed_training_resumes_with_the_same_numbers(tmp_path, uninterrupted):
    path = tmp_path / "run.safetensors"
    code = f"""
import time
from pathlib import Path
from tests.training.problems import small_trainer
trainer = small_trainer(Path({str(path)!r}))
losses = trainer.model.losses
def slow(batch):
    time.sleep(0.02)
    return losses(batch)
trainer.model.losses = slow
trainer.fit()
"""
    process = start(code)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert process.is_alive(), "the training ended before it was killed"
            if path.exists() and len(load_checkpoint(path)[0]["callbacks/1/seconds"]) >= 11:
                break
            time.sleep(0.01)
    finally:
        process.kill()
        process.join()
    resumed = small_trainer(path)
    assert 11 <= resumed.resume() < 32
    resumed.fit()
    assert equal_states(resumed.model, uninterrupted.model)
    assert resumed.history.rows == uninterrupted.history.rows


def test_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, uninterrupted):
    path = tmp_path / "run.safetensors"
    first = small_trainer(path)
    stop_at(first, 15)
    first.fit()
    path.write_bytes(path.read_bytes()[:-7])
    resumed = small_trainer(path)
    with pytest.warns(UserWarning, match=r"damaged.*the one before it is used"):
        steps = resumed.resume()
    assert steps == 14 or steps == 15
    resumed.fit()
    assert equal_states(resumed.model, uninterrupted.model)


def test_finished_training_goes_on_with_more_steps(tmp_path):
    path = tmp_path / "run.safetensors"
    small_trainer(path, phases=[Adam(4)]).fit()
    longer = small_trainer(path, phases=[Adam(4), LBFGS(3)])
    assert longer.resume() == 4
    assert [p.steps for p in longer.fit().phases] == [4, 3]


def test_checkpoint_of_another_training_is_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    small_trainer(path, phases=[Adam(1)]).fit()
    other = Trainer(small_pinn(seed=1), [Adam(1)], checkpoint=path, progress=False)
    with pytest.raises(CheckpointError, match=r"Trainer.resume: conditions: expected .* got .*"):
        other.resume()
    with pytest.raises(CheckpointError, match="phase 1: expected"):
        small_trainer(path, phases=[Adam(1, lr=0.5)]).resume()
    with pytest.raises(CheckpointError, match="expected a path"):
        small_trainer().resume()


@pytest.mark.parametrize(
    ("phases", "bad_at", "place"),
    [
        ([Adam(200)], 7, r"step 7 of phase 1 \(Adam\)"),
        ([Adam(200)], 130, r"step 130 of phase 1 \(Adam\)"),
        ([Adam(3), LBFGS(50)], 9, r"step \d of phase 2 \(L-BFGS\)"),
    ],
)
def test_loss_that_is_not_finite(tmp_path, phases, bad_at, place):
    path = tmp_path / "run.safetensors"
    trainer = Trainer(Quartic(bad_at), phases, checkpoint=path, every=0, progress=False)
    with pytest.raises(
        FloatingPointError, match=rf"loss term 'bad': .* got nan at {place}.*last good"
    ):
        trainer.fit()
    tensors, record, _ = load_checkpoint(path)
    assert torch.isfinite(tensors["model/w"]).all()
    assert 0 < len(tensors["callbacks/0/seconds"]) < bad_at
    assert record["state"]["place"]["phase"] == len(phases) - 1


def test_time_limit_stops_and_resumes(tmp_path):
    path = tmp_path / "run.safetensors"
    report = small_trainer(path, time_limit=0.0).fit()
    assert (report.reason, report.steps) == ("time limit", 1)
    assert report.phases[-1].reason == "time limit"
    resumed = small_trainer(path)
    assert resumed.resume() == 1
    assert resumed.fit().steps == 32


def test_checkpoint_that_cannot_be_written_warns_and_training_goes_on(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    trainer = small_trainer(tmp_path / "run.safetensors", phases=[Adam(2)], every=100)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(UserWarning, match="not written .*No space"):
        assert trainer.fit().steps == 2


def test_second_interrupt_raises():
    trainer = small_trainer()
    losses = trainer.model.losses

    def twice(batch):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        return losses(batch)

    trainer.model.losses = twice
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"phases": []}, "phases: expected at least one, got none"),
        ({"time_limit": -1.0}, "time_limit: expected seconds >= 0, got -1.0"),
        ({"every": float("nan")}, "every: expected seconds >= 0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        small_trainer(**{"phases": PHASES} | options)


def test_nothing_to_train():
    pinn = small_pinn().requires_grad_(False)
    with pytest.raises(ValueError, match="at least one parameter"):
        Trainer(pinn, PHASES)


def test_checkpoint_directory_is_tried_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Trainer: checkpoint: expected a directory"):
        small_trainer(tmp_path / "file" / "run.safetensors")
