"""Levenberg-Marquardt's steps equal those computed by hand; what is accepted, and when it ends."""

import math
from typing import ClassVar

import pytest
import torch

from pyneural.training import LevenbergMarquardt, Trainer
from pyneural.training.distributed import ProcessGroup
from pyneural.training.solvers import cholesky_model, damping_search
from pyneural.training.solvers import least_squares_solver as module
from pyneural.training.solvers.base import Task
from tests.training.least_squares_problems import (
    Exponentials,
    Linear,
    Misra1a,
    Scalar,
    Weighted,
    begin,
    flat,
    run,
)

SHAPES = {"J^T J": (9, 4), "J J^T": (4, 9)}  # residuals and parameters


@pytest.fixture
def one_try(monkeypatch):
    """The first damping that is accepted is taken."""
    monkeypatch.setattr(damping_search, "_TRIES", 1)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.usefixtures("one_try")
def test_a_step_is_that_computed_by_hand(order, shape):
    model = Exponentials(*shape, seed=order)
    start, moves = flat(model), model.steps(2.0)
    begin(model, order=order, damping=2.0).step(None)
    expected = sum(move / math.factorial(k) for k, move in enumerate(moves[:order], 1))
    assert 2 * moves[1].norm() < moves[0].norm()
    torch.testing.assert_close(flat(model) - start, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.usefixtures("one_try")
def test_momentum_draws_to_the_last_step(shape):
    model = Exponentials(*shape, seed=5)
    solver = begin(model, order=2, damping=2.0, momentum=0.3)
    start = flat(model)
    solver.step(None)
    last = flat(model) - start
    torch.testing.assert_close(solver.last_step, last)
    v, a, *_ = model.steps(solver.damping, 0.3 * last)
    before = flat(model)
    solver.step(None)
    torch.testing.assert_close(flat(model) - before, v + a / 2, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shape", [(12, 5), (5, 5), (3, 7)])
def test_a_linear_problem_is_solved_in_a_few_steps(shape):
    generator = torch.Generator().manual_seed(3)
    m, y = torch.randn(*shape, dtype=torch.float64, generator=generator), torch.ones(shape[0])
    y = y.double()
    model = Linear(m, y)
    solver = run(model, 3, damping=1e-8)
    expected = torch.linalg.lstsq(m, y, driver="gelsd").solution
    torch.testing.assert_close(flat(model), expected, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(solver.values[0], float((m @ expected - y).square().sum()))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_the_error_of_a_step_falls_by_its_order(order):
    def error(start):
        model = Scalar(lambda w: torch.exp(w) - 1, start)
        begin(model, order=order, damping=1e-20).step(None)
        return abs(float(model.w))

    assert math.log2(error(0.2) / error(0.1)) == pytest.approx(order + 1, abs=0.3)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_misra1a_of_nist(order):
    model = Misra1a()
    solver = run(model, 200, order=order)
    b1, b2, squares = Misra1a.best
    assert solver.reason.startswith("converged: ")
    assert flat(model).tolist() == pytest.approx([b1, b2], rel=1e-8)
    assert solver.values == pytest.approx([squares], rel=1e-10)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_both_forms_agree(seed, momentum, monkeypatch):
    points = []
    for form in (cholesky_model._Primal, cholesky_model._Dual):
        monkeypatch.setattr(cholesky_model, "_Primal", form)
        model = Exponentials(6, 6, seed=seed)
        for values in run(model, 3, momentum=momentum, damping=0.1).values:
            points.append(torch.tensor([values, *flat(model).tolist()], dtype=torch.float64))
    assert torch.equal(points[0], points[1]) is False, "one form was tested against itself"
    torch.testing.assert_close(points[0], points[1], rtol=1e-8, atol=1e-10)


class Scripted:
    """A term with r = 1 and J = 1 whose losses at trials are given."""

    name = "scripted"

    def __init__(self, losses, curvature=0.0):
        self.left, self.curvature = list(losses), torch.tensor([curvature], dtype=torch.float64)

    def count(self):
        return 1

    def residuals(self):
        return torch.ones(1, dtype=torch.float64)

    def gram(self):
        one = torch.ones(1, dtype=torch.float64)
        return one[0], one, one[:, None]

    def path(self, directions):
        return self.curvature.expand(len(directions), 1)

    def vjp(self, vector):
        return vector

    def gram_bytes(self):
        return 8

    def loss(self):
        return torch.tensor(self.left.pop(0), dtype=torch.float64)


def scripted(monkeypatch, losses, curvature=0.0, last_step=None, **options):
    """Dampings that a step tries, and the solver after it."""
    term, tried = Scripted(losses, curvature), []
    monkeypatch.setattr(module, "least_squares", lambda model, parameters, batch: [term])
    factor = cholesky_model.CholeskyModel.factor

    def noted(self, damping):
        tried.append(round(damping * 27, 9))
        return factor(self, damping)

    monkeypatch.setattr(cholesky_model.CholeskyModel, "factor", noted)
    solver = begin(Scalar(None, 0.0), **({"damping": 1.0, "order": 1} | options))
    solver.last_step = last_step
    solver.values = solver.step(None)
    assert not term.left
    return tried, solver


def test_damping_falls_while_steps_are_accepted(monkeypatch):
    tried, solver = scripted(monkeypatch, [0.3, 0.1, 0.15, 0.95])
    # Predicted at 1/27 are 0.9987 of the loss, of which 0.05 is no tenth.
    assert tried == [27, 9, 3, 1]
    assert solver.damping == pytest.approx(1 / 9)
    assert solver.values == pytest.approx([0.1])  # the best of those that are accepted
    assert float(solver.last_step) == pytest.approx(-1 / (1 + 1 / 3))


def test_damping_stays_where_the_linear_model_promised_more(monkeypatch):
    tried, solver = scripted(monkeypatch, [0.3, 0.21])  # at 1/3 0.9375 were predicted
    assert (tried, solver.damping) == ([27, 9], pytest.approx(1 / 3))
    assert solver.values == [0.21]


def test_points_drawn_anew_take_back_the_reason_to_end():
    solver = run(Exponentials(9, 4))
    assert solver.reason.startswith("converged")
    solver.objective_changed()
    assert solver.reason is None


class Apart(ProcessGroup):
    """Two processes of which this one has all, and the other one fails in the n-th question."""

    asked: ClassVar = [0]

    def sum(self, value):
        return value

    def gather(self, value):
        return [value, torch.zeros_like(value)]

    def any(self, flag, device):
        self.asked[0] -= 1
        return flag or self.asked[0] == 0


def test_what_another_process_finds_is_the_decision_of_all(monkeypatch):
    def step(number):
        Apart.asked[0] = number
        phase = LevenbergMarquardt(9, order=1, damping=1.0)
        solver = phase.begin(Task(Exponentials(9, 4), Apart(0, 2)))
        solver.step(None)
        return solver

    with pytest.raises(MemoryError, match="LevenbergMarquardt: parameters"):
        step(1)
    assert step(2).reason == "another process has nothing to gain"
    assert step(0).damping < 1
    for number in (3, 4, 5):  # the factorisation, acceptance and agreement of the first trial
        assert step(number).damping >= 1


def test_damping_falls_eight_times_at_most(monkeypatch):
    tried, solver = scripted(monkeypatch, [0.1] * 8)
    assert len(tried) == 8
    assert solver.damping == pytest.approx(3.0**-7)


def test_damping_rises_until_a_step_is_accepted(monkeypatch):
    tried, solver = scripted(monkeypatch, [1.5, float("nan"), float("inf"), 0.9])
    assert tried == [27, 81, 243, 729]
    assert solver.damping == pytest.approx(27)
    assert solver.values == [0.9]


def test_momentum_is_dropped_after_two_failures(monkeypatch):
    last = torch.tensor([0.3], dtype=torch.float64)
    tried, solver = scripted(monkeypatch, [2.0, 2.0, 2.0, 0.9], last_step=last)
    assert tried == [27, 81, 27, 81]
    assert float(solver.last_step) == pytest.approx(-1 / 4)  # 1 / (1 + 3), without a momentum


def test_a_step_of_which_nothing_is_accepted(monkeypatch):
    last = torch.tensor([0.3], dtype=torch.float64)
    tried, solver = scripted(monkeypatch, [2.0] * 24, last_step=last)
    assert len(tried) == 24
    assert solver.reason is None
    assert solver.last_step is None
    assert solver.values == [1.0]
    assert solver.damping == pytest.approx(3.0**21)
    assert flat(solver.task.model).tolist() == [0.0]


def test_a_step_is_refused_where_the_path_turns(monkeypatch):
    # v = -1 / (1 + d), a = -c / (1 + d): at c = 0.6 refused for every damping, unseen by order 1.
    tried, solver = scripted(monkeypatch, [], curvature=0.6, order=2)
    assert len(tried) == 24
    assert solver.last_step is None
    monkeypatch.undo()
    tried, _ = scripted(monkeypatch, [0.1] * 8, curvature=0.4, order=2)
    assert len(tried) == 8
    monkeypatch.undo()
    scripted(monkeypatch, [0.1] * 8, curvature=0.6, order=1)


def test_evaluations_are_counted(monkeypatch):
    _, solver = scripted(monkeypatch, [0.3, 2.0], order=4)
    assert solver.evaluations == 1 + 2 * (3 + 1)


@pytest.mark.parametrize("damping", [1e-22, 1e-3])
def test_duplicate_parameters(damping):
    # Each parameter twice, and one that does nothing: the matrix has rank 3 of 7.
    m = Exponentials(9, 3).m
    m, y = torch.cat([m, m, torch.zeros(9, 1).double()], 1), torch.linspace(-1, 1, 9).double()
    model = Linear(m, y)
    solver = run(model, 30, damping=damping)
    best = torch.linalg.lstsq(m, y, driver="gelsd").solution
    assert solver.reason.startswith("converged: ")
    torch.testing.assert_close(m @ flat(model), m @ best, rtol=1e-7, atol=1e-7)
    assert flat(model)[-1] == 0


def test_a_failed_factorisation_raises_the_damping(monkeypatch):
    original, failures = cholesky_model.damped_cholesky, iter([1, 1, 0] + [0] * 20)

    def failing(matrix, damping):
        factor, _ = original(matrix, damping)
        return factor, torch.tensor(not next(failures))

    monkeypatch.setattr(cholesky_model, "damped_cholesky", failing)
    model = Exponentials(9, 4)
    solver = begin(model, damping=0.01)
    solver.step(None)
    assert solver.damping == pytest.approx(0.09)
    assert next(failures) == 0


def test_a_trial_that_is_not_finite_is_refused():
    # The first step leads to w < 0, where the root is not a number.
    model = Scalar(lambda w: torch.sqrt(w) - 1e-3, 1.0)
    solver = run(model, 60, damping=1e-9, order=1)
    assert float(model.w) == pytest.approx(1e-6, rel=1e-6)
    assert solver.reason.startswith("converged: ")


def test_frozen_parameters_stay():
    model = Exponentials(9, 4)
    model.a.requires_grad_(False)
    before = model.a.clone()
    run(model, 5)
    assert torch.equal(model.a, before)
    model.a.requires_grad_(True)
    with pytest.raises(RuntimeError, match="expected those that required a gradient when it began"):
        begin_with_frozen(model).check_parameters()


def begin_with_frozen(model):
    model.a.requires_grad_(False)
    solver = begin(model)
    solver.check_parameters()
    model.a.requires_grad_(True)
    return solver


def test_terms_are_given_without_their_weights():
    model = Weighted(3.0)
    solver = run(model, 20)
    w = float(model.w)
    assert w == pytest.approx((4 - 3) / (4 + 3))  # of 3 (w + 1)^2 + 4 (w - 1)^2
    assert list(solver.names) == ["low", "seen", "high"]
    assert solver.values == pytest.approx([(w + 1) ** 2, 7 + w, 4 * (w - 1) ** 2])


@pytest.mark.parametrize(
    ("make", "options", "reason"),
    [
        (lambda: Exponentials(9, 4), {"tolerance_grad": 1e-3}, "converged: gradient below 0.001"),
        (lambda: Exponentials(9, 4), {"tolerance_change": 1e-3, "tolerance_grad": 0.0},
         "converged: relative change of the loss below 0.001"),
        (lambda: Scalar(lambda w: w, 1.0), {}, "converged: the loss is 0"),
        (lambda: Scalar(lambda w: w - w.detach() + 1, 1.0), {"tolerance_grad": 0.0, "order": 1},
         "no step is accepted, up to a damping of"),
        (lambda: Scalar(lambda w: torch.sqrt(w), 0.0), {}, "converged: the loss is 0"),
        (lambda: Scalar(lambda w: torch.sqrt(w) + 1, 0.0), {}, "the Jacobian is not finite"),
        (lambda: Scalar(lambda w: torch.sqrt(w), -1.0), {}, "the loss is nan"),
    ],
)  # fmt: skip
def test_reason_for_stopping(make, options, reason):
    model = make()
    solver = run(model, 500, **options)
    assert solver.reason is not None
    assert solver.reason.startswith(reason)
    assert torch.isfinite(flat(model)).all()


def test_a_loss_that_is_not_finite_is_an_error_of_the_trainer():
    model = Scalar(lambda w: torch.sqrt(w), -1.0)
    with pytest.raises(FloatingPointError, match="loss term 'f': expected a finite number"):
        Trainer(model, [LevenbergMarquardt(3)], progress=False).fit()


@pytest.mark.parametrize("order", [1, 4])
def test_float32_goes_as_far_as_its_rounding(order):
    model, exact = Exponentials(9, 4, dtype=torch.float32), Exponentials(9, 4)
    solver = run(model, 100, order=order)
    best = run(exact, 100, order=order).values[0]
    assert solver.reason.startswith("converged: ")
    assert model.a.dtype == torch.float32
    assert solver.last_step is None or solver.last_step.dtype == torch.float64
    assert solver.values[0] == pytest.approx(best, rel=1e-5)
    torch.testing.assert_close(flat(model).double(), flat(exact), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LevenbergMarquardt(-1), "steps: expected a whole number >= 0, got -1"),
        (lambda: LevenbergMarquardt("10"), "steps: expected a whole number >= 0, got 10"),
        (lambda: LevenbergMarquardt(1, order=5), "order: expected a whole number from 1 to 4"),
        (lambda: LevenbergMarquardt(1, order=2.5), "order: expected .*got 2.5"),
        (lambda: LevenbergMarquardt(1, damping=0), "damping: expected a number > 0, got 0"),
        (lambda: LevenbergMarquardt(1, momentum=1), r"momentum: expected a number in \[0, 1\)"),
        (lambda: LevenbergMarquardt(1, tolerance_grad=-1), "tolerance_grad: expected .*>= 0"),
        (lambda: LevenbergMarquardt(1, tolerance_change=math.nan), "tolerance_change: .* got nan"),
    ],
)
def test_bad_options(make, message):
    with pytest.raises(ValueError, match=f"LevenbergMarquardt: {message}"):
        make()


def test_complex_parameters_are_refused():
    model = Scalar(None, 0.0)
    model.w = torch.nn.Parameter(torch.zeros(1, dtype=torch.complex128))
    with pytest.raises(ValueError, match=r"expected real numbers, got torch\.complex128"):
        begin(model)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_matrices_that_do_not_fit_are_refused_before_anything_is_done(shape, monkeypatch):
    model = Exponentials(*shape)
    before, solver = flat(model), begin(model)
    needed = 8 * (3 * 4**2 + 9 * 4 if shape == SHAPES["J^T J"] else 3 * 4**2 + 2 * 4 * 9)
    monkeypatch.setattr(cholesky_model, "available_memory", lambda device: needed - 1)
    message = rf"expected matrices that fit .*got {needed / 1e3:.1f} kB for .*use .*LBFGS"
    with pytest.raises(MemoryError, match=message):
        solver.step(None)
    assert torch.equal(flat(model), before)
    monkeypatch.setattr(cholesky_model, "available_memory", lambda device: needed)
    solver.step(None)
    assert not torch.equal(flat(model), before)
