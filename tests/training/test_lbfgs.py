"""L-BFGS one iteration at a time equals torch's own long run."""

import pytest
import torch

from pyneural.training import LBFGS, Adam
from pyneural.training.solvers.base import Task
from pyneural.training.solvers.objective import Objective, clear_gradients
from tests.training.problems import Quartic, small_pinn


def flat(model):
    return torch.cat([p.detach().view(-1) for p in model.parameters()])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_single_iterations_equal_one_long_step_bit_by_bit(dtype):
    mine, other = small_pinn(dtype=dtype), small_pinn(dtype=dtype)
    stepper = LBFGS(40, history_size=10).begin(Task(mine))
    for _ in range(40):
        stepper.step(None)

    objective, calls = Objective(other), 0

    def closure():
        nonlocal calls
        calls += 1
        clear_gradients(objective.parameters)
        return stepper.scale * objective.total(objective.evaluate(None, stepper.scale).tolist())

    optimizer = torch.optim.LBFGS(
        objective.parameters, max_iter=40, max_eval=10**6, history_size=10,
        tolerance_grad=0, tolerance_change=1e-12, line_search_fn="strong_wolfe",
    )  # fmt: skip
    optimizer.step(closure)
    assert torch.equal(flat(mine), flat(other))
    assert stepper.evaluations == calls, "evaluations were made twice"


def test_first_evaluation_is_not_made_again():
    model = Quartic()
    stepper = LBFGS(10).begin(Task(model))
    for _ in range(5):
        stepper.step(None)
    assert model.calls == stepper.evaluations + 1  # one more to find the scale


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"tolerance_grad": 1e-3}, "gradient below 0.001"),
        ({"tolerance_grad": 0.0, "tolerance_change": 1e-6}, "below 1e-06"),
    ],
)
def test_reason_for_stopping(options, reason):
    stepper = LBFGS(500, **options).begin(Task(Quartic()))
    for _ in range(500):
        stepper.step(None)
        if stepper.reason:
            break
    assert stepper.evaluations < 100
    assert stepper.reason.startswith("converged: ")
    assert stepper.reason.endswith(reason)


def test_at_the_minimum_it_stops_at_once():
    stepper = LBFGS(5).begin(Task(Quartic(start=1.0)))
    assert stepper.step(None) == [0.0, 0.0, 0.0]
    assert stepper.reason == "converged: gradient below 1e-09"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LBFGS(-1), r"LBFGS: steps: expected a whole number >= 0, got -1"),
        (lambda: LBFGS(1.5), r"LBFGS: steps: .* got 1.5"),
        (lambda: LBFGS(1, history_size=0), r"history_size: expected a whole number >= 1"),
        (lambda: LBFGS(1, tolerance_change=0), r"tolerance_change: expected a number > 0"),
        (lambda: Adam(1, lr=float("nan")), r"Adam: lr: expected a number > 0, got nan"),
    ],
)
def test_bad_options(make, message):
    with pytest.raises(ValueError, match=message):
        make()
