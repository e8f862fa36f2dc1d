"""Levenberg-Marquardt's steps that are broken off, and go on."""

import dataclasses

import pytest
import torch

from pyneural.training import LevenbergMarquardt
from pyneural.training.solvers import cholesky_model, residuals
from pyneural.training.solvers.base import Task
from tests.training.least_squares_problems import Exponentials, Weighted, begin, flat, run

SHAPES = {"J^T J": (9, 4), "J J^T": (4, 9)}  # residuals and parameters


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("kind", [Interrupted, KeyboardInterrupt])
@pytest.mark.parametrize("place", ["watch", "loss", "factor"])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_interruption_inside_a_step(kind, place, call, monkeypatch):
    model = Exponentials(9, 4)
    solver = begin(model, damping=10.0)  # of which a step tries several
    solver.step(None)
    state, before, calls = solver.state_dict(), flat(model), 0

    def then_raise(function):
        def called(*arguments):
            nonlocal calls
            calls += 1
            result = function(*arguments)
            if calls == call:
                raise kind
            return result

        return called

    if place == "watch":
        solver.task = dataclasses.replace(solver.task, watch=then_raise(lambda *a: None))
    elif place == "loss":
        losses = then_raise(residuals.Residuals.losses)
        monkeypatch.setattr(residuals.Residuals, "losses", losses)
    else:
        factorise = then_raise(cholesky_model.damped_cholesky)
        monkeypatch.setattr(cholesky_model, "damped_cholesky", factorise)
    with pytest.raises(kind):
        solver.step(None)
    assert torch.equal(flat(model), before)
    after = solver.state_dict()
    assert (after["damping"], after["reason"]) == (state["damping"], None)
    assert torch.equal(after["last_step"], state["last_step"])


def test_watch_is_told_the_terms_of_the_present_parameters():
    seen, model = [], Weighted(0.25)
    task = Task(model, watch=lambda values, names: seen.append((list(values), list(names))))
    solver = LevenbergMarquardt(5).begin(task)
    solver.step(None)
    assert len(seen) >= 2
    assert all(entry == ([1.0, 7.0, 4.0], ["low", "seen", "high"]) for entry in seen)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("stop", [1, 3])
def test_a_solver_goes_on_with_the_same_bits(shape, stop):
    whole, first, second = (Exponentials(*shape, seed=2) for _ in range(3))
    run(whole, 6, damping=100.0)
    state = run(first, stop, damping=100.0).state_dict()
    second.load_state_dict(first.state_dict())
    solver = begin(second)
    solver.load_state_dict(state)
    for _ in range(6 - stop):
        solver.step(None)
    assert torch.equal(flat(whole), flat(second))


def test_new_data_keep_damping_and_momentum():
    model, other = Exponentials(9, 4), Exponentials(9, 4, seed=8)
    solver = run(model, 3, damping=100.0)
    damping, last = solver.damping, solver.last_step.clone()
    model.m, model.y = other.m, other.y
    solver.objective_changed()
    assert solver.damping == damping
    assert torch.equal(solver.last_step, last)
    before = float(model.residual().square().sum())
    solver.step(None)
    assert solver.values[0] != before
    assert float(model.residual().square().sum()) < before


def test_a_state_of_an_earlier_version_is_taken():
    solver = begin(Exponentials(9, 4))
    solver.step(None)
    state = solver.state_dict()
    del state["gain"]
    other = begin(Exponentials(9, 4))
    other.load_state_dict(state)
    assert (other.damping, other.gain) == (solver.damping, 1.0)
