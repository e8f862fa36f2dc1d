"""A training that is resumed and makes no step says why; steps that would be lost are refused."""

import warnings

import pytest
import torch

from pyneural.training import LBFGS, Adam, CheckpointError, Trainable, Trainer, callbacks


class Parabola(Trainable):
    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.tensor(3.0, dtype=torch.float64))

    def losses(self, batch):
        return {"loss": (self.w - 1) ** 2}


def trainer(path, *phases, beside=()):
    options = {"checkpoint": path, "callbacks": list(beside), "steps_per_epoch": 1}
    return Trainer(Parabola(), list(phases), progress=False, **options)


def resumed(path, *phases, **options):
    again = trainer(path, *phases, **options)
    again.resume()
    return again


def test_more_steps_are_made(tmp_path):
    path = tmp_path / "run.safetensors"
    trainer(path, Adam(3)).fit()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert resumed(path, Adam(5)).fit().steps == 5
        assert resumed(path, Adam(5), LBFGS(1)).fit().steps == 6


def test_no_step_is_made_with_a_word(tmp_path):
    path = tmp_path / "run.safetensors"
    first = trainer(path, Adam(3))
    first.fit()
    with pytest.warns(UserWarning, match=r"fit: no step was made, as all of its 3 steps .* give m"):
        resumed(path, Adam(3)).fit()
    with pytest.warns(UserWarning, match=r"fit: no step was made, as all of its 3 steps"):
        first.fit()
    path = tmp_path / "converged.safetensors"
    steps = trainer(path, LBFGS(50)).fit().steps
    assert steps < 50
    with pytest.warns(UserWarning, match=r"as its last phase had converged: .*append another"):
        assert resumed(path, LBFGS(500)).fit().steps == steps
    path = tmp_path / "stopped.safetensors"

    def stop():
        return [callbacks.EarlyStopping("loss", min_delta=100.0, patience=1)]

    trainer(path, Adam(50), beside=stop()).fit()
    with pytest.warns(UserWarning, match=r"had been stopped \(EarlyStopping: .* without resuming"):
        resumed(path, Adam(500), beside=stop()).fit()


def test_more_steps_for_a_phase_that_is_over_are_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    trainer(path, Adam(3), LBFGS(1)).fit()
    text = r"resume: phase 1 \(Adam\): steps: expected 3, .* before phase 2 began, got 6; give more"
    with pytest.raises(CheckpointError, match=text):
        resumed(path, Adam(6), LBFGS(1))
    with pytest.warns(UserWarning, match="no step was made"):
        resumed(path, Adam(3), LBFGS(1)).fit()
