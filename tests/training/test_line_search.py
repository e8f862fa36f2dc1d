"""Steps of the line search meet the strong Wolfe conditions, on functions that make it hard."""

import math

import pytest
import torch

from pyneural.training.solvers.line_search import CURVATURE, DECREASE, Trial, strong_wolfe

# Some as in Moré and Thuente (1994), section 5.
B1, B2 = (0.001, 0.01), (0.01, 0.001)


def gamma(b):
    return math.sqrt(1 + b * b) - b


FUNCTIONS = {
    "rational": lambda a: -a / (a * a + 2),
    "power": lambda a: (a + 0.004) ** 5 - 2 * (a + 0.004) ** 4,
    "wavy": lambda a: (1 - a) ** 2 - 0.04 / math.pi * torch.sin(39 * math.pi / 2 * a),
    "narrow": lambda a: (
        gamma(B1[0]) * torch.sqrt((1 - a) ** 2 + B1[1] ** 2)
        + gamma(B1[1]) * torch.sqrt(a**2 + B1[0] ** 2)
    ),
    "far": lambda a: (a - 1e5) ** 2 + 1e-3 * a,
    "log": lambda a: a**2 - torch.log(a + 0.1),
    "steep": lambda a: torch.exp(50 * a) - 60 * a,
}


def on(function):
    """What evaluates a function with its slope, and the list of steps tried."""
    tried = []

    def evaluate(step):
        tried.append(step)
        a = torch.tensor(step, dtype=torch.float64, requires_grad=True)
        loss = function(a)
        (slope,) = torch.autograd.grad(loss, a)
        return Trial(step, float(loss.detach()), float(slope), step)

    return evaluate, tried


def meets(found, start):
    falls = found.loss <= start.loss + DECREASE * found.step * start.slope
    return falls and abs(found.slope) <= CURVATURE * abs(start.slope)


@pytest.mark.parametrize("first", [1e-3, 1e-1, 1.0, 1e1, 1e3])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_conditions_hold(name, first):
    evaluate, tried = on(FUNCTIONS[name])
    start = evaluate(0.0)
    found, good = strong_wolfe(evaluate, start, first)
    assert good
    assert meets(found, start)
    assert found.found == found.step > 0
    assert len(tried) <= 21


@pytest.mark.parametrize("beyond", [float("nan"), float("inf"), -float("inf")])
def test_trials_that_are_not_finite_are_too_long(beyond):
    def function(a):
        return (a - 0.01) ** 2 if a < 0.02 else a * beyond

    evaluate, tried = on(function)
    start = evaluate(0.0)
    found, good = strong_wolfe(evaluate, start, 1.0)
    assert good
    assert meets(found, start)
    assert 1.0 in tried


def test_first_step_is_taken_where_it_is_good():
    evaluate, tried = on(lambda a: (a - 1.1) ** 2)
    found, good = strong_wolfe(evaluate, evaluate(0.0), 1.0)
    assert good
    assert tried == [0.0, found.step] == [0.0, 1.0]


def test_minimum_of_a_cubic_is_found_at_the_second_trial():
    """The cubic through two losses and slopes is the function itself."""
    evaluate, tried = on(lambda a: a**3 - 3 * a)  # least at 1
    found, good = strong_wolfe(evaluate, evaluate(0.0), 1.9)
    assert good
    assert tried[2] == found.step == pytest.approx(1.0, rel=1e-12)


def test_no_decrease_gives_the_start():
    evaluate, _ = on(lambda a: a * 0 + 1.0)
    start = evaluate(0.0)._replace(slope=-1e-30)  # rounding hides the decrease
    found, good = strong_wolfe(evaluate, start, 1.0)
    assert not good
    assert found.step == 0


def test_a_kink_gives_the_lowest_trial():
    """Where no slope is small, the conditions hold nowhere."""
    evaluate, tried = on(lambda a: (a - 0.3).abs() * (1 + 0.2 * torch.sign(a - 0.3)))
    start = evaluate(0.0)
    found, good = strong_wolfe(evaluate, start, 1.0)
    assert not good or meets(found, start)
    assert found.loss < start.loss
    assert found.loss <= min(on(lambda a: (a - 0.3).abs())[0](t).loss for t in tried) * 1.2 + 1e-12


def test_a_line_that_falls_for_ever_ends():
    evaluate, tried = on(lambda a: -a)
    found, good = strong_wolfe(evaluate, evaluate(0.0), 1.0)
    assert not good
    assert found.step == max(tried)
    assert len(tried) == 26
