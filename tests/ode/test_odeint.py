"""odeint: orders of convergence, control of the error, gradients, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from pyneural import nn
from pyneural.errors import ArgumentError
from pyneural.ode import METHODS, IntegrationError, odeint
from tests.tolerances import assert_close

DOUBLE = torch.float64
ADAPTIVE = {}
FIXED = {"steps": 20}
FIXED_RK4 = {"method": "rk4", "steps": 20}


def logistic(t: Tensor, y: Tensor) -> Tensor:
    """Y' = cos(t) y (1 - y), whose solution is 1 / (1 + (1 / y0 - 1) exp(-sin t))."""
    return torch.cos(t) * y * (1 - y)


def exact(t: Tensor, y0: Tensor) -> Tensor:
    return 1 / (1 + (1 / y0 - 1) * torch.exp(-torch.sin(t)))


Y0 = torch.tensor([0.2, 0.5, 0.9], dtype=DOUBLE)


def error(end: float = 2.0, **options) -> float:
    found = odeint(logistic, Y0, torch.tensor([0.0, end], dtype=DOUBLE), **options)[-1]
    return float((found - exact(torch.tensor(end, dtype=DOUBLE), Y0)).abs().max())


@pytest.mark.parametrize("tableau", METHODS.values(), ids=lambda tableau: tableau.name)
def test_order_conditions(tableau):
    """Sums of the tableau up to order 4, and those of the embedded method."""
    c = torch.tensor(tableau.nodes, dtype=DOUBLE)
    rows = [[*row, *[0.0] * (len(c) - len(row))] for row in tableau.stages]
    a = torch.tensor(rows, dtype=DOUBLE)
    weights = [tableau.weights, *([tableau.lower] if tableau.lower else [])]
    assert torch.allclose(a.sum(1), c, atol=1e-15)
    for b in torch.tensor(weights, dtype=DOUBLE):
        sums = [b.sum(), b @ c, b @ c**2, b @ (a @ c), b @ c**3, b @ (c * (a @ c)),
                b @ (a @ c**2), b @ (a @ (a @ c))]  # fmt: skip
        wanted = [1, 1 / 2, 1 / 3, 1 / 6, 1 / 4, 1 / 8, 1 / 12, 1 / 24]
        assert torch.allclose(torch.stack(sums), torch.tensor(wanted, dtype=DOUBLE), atol=1e-14)


@pytest.mark.parametrize(("method", "order"), [("rk4", 4), ("dopri5", 5)])
@pytest.mark.parametrize("end", [2.0, -2.0])
def test_order_of_convergence(method, order, end):
    coarse, fine = (error(end, method=method, steps=n) for n in (20, 40))
    assert abs(math.log2(coarse / fine) - order) < 0.3


@pytest.mark.parametrize("end", [2.0, -3.0])
def test_tolerance_controls_the_error(end):
    errors = [error(end, rtol=tol, atol=tol) for tol in (1e-4, 1e-6, 1e-8, 1e-10)]
    for tolerance, found in zip((1e-4, 1e-6, 1e-8, 1e-10), errors, strict=True):
        assert found < 10 * tolerance
    assert errors[3] < 1e-4 * errors[0]


def test_every_row_keeps_the_tolerance():
    """A fast row among many slow ones is not averaged away."""
    rates = torch.ones(1000, dtype=DOUBLE)
    rates[7] = 30.0
    found = odeint(
        lambda t, y: -rates * y, torch.ones_like(rates), [0.0, 1.0], rtol=1e-8, atol=1e-10
    )
    assert (found[-1] - torch.exp(-rates)).abs().max() < 1e-8


def test_fewer_evaluations_than_equal_steps():
    """A pulse in a long quiet time."""
    calls = 0

    def pulse(t, y):
        nonlocal calls
        calls += 1
        return torch.exp(-4 * (t - 5) ** 2) * torch.ones_like(y)

    start = torch.zeros(1, dtype=DOUBLE)
    found = odeint(pulse, start, [0.0, 10.0], rtol=1e-8, atol=1e-8)[-1]
    assert abs(float(found) - math.sqrt(math.pi) / 2) < 1e-6
    assert calls < 800


@pytest.mark.parametrize("options", [ADAPTIVE, FIXED, FIXED_RK4])
def test_there_and_back(options):
    end = odeint(logistic, Y0, [0.0, 2.0], rtol=1e-10, atol=1e-12, **options)[-1]
    back = odeint(logistic, end, [2.0, 0.0], rtol=1e-10, atol=1e-12, **options)[-1]
    assert_close(back, Y0, 1e-5 if options else 1e-9)


@pytest.mark.parametrize("options", [ADAPTIVE, FIXED])
def test_all_times(options):
    times = torch.linspace(0, 3, 7, dtype=DOUBLE)
    found = odeint(logistic, Y0, times, rtol=1e-9, atol=1e-9, **options)
    assert_close(found, exact(times[:, None], Y0), 1e-7)


def test_a_tuple_and_complex_numbers():
    def f(t, y):
        z, x = y
        return 1j * z, torch.ones_like(x)

    z0, x0 = torch.ones(2, dtype=torch.complex128), torch.zeros(2, 3, dtype=DOUBLE)
    z, x = odeint(f, (z0, x0), [0.0, math.pi], rtol=1e-9, atol=1e-9)
    assert z.shape == (2, 2)
    assert x.shape == (2, 2, 3)
    assert (z[-1] + 1).abs().max() < 1e-7
    assert_close(x[-1], torch.full_like(x0, math.pi), 1e-12)


def test_no_rows():
    assert odeint(logistic, Y0[:0], [0.0, 1.0]).shape == (2, 0)


def test_a_constant():
    assert torch.equal(odeint(lambda t, y: torch.zeros_like(y), Y0, [0.0, 1.0])[-1], Y0)


@pytest.mark.parametrize("checkpoint", [True, False])
@pytest.mark.parametrize("options", [ADAPTIVE, FIXED, FIXED_RK4])
def test_gradcheck(options, checkpoint):
    """For the state, the times, and what f is made of, which is not listed anywhere."""
    options = {"rtol": 1e-3, "atol": 1e-3, **options, "checkpoint": checkpoint}
    y0 = Y0.clone().requires_grad_()
    rate = torch.tensor([1.0, 2.0, 0.5], dtype=DOUBLE, requires_grad=True)
    times = torch.tensor([0.0, 0.4, 0.5], dtype=DOUBLE, requires_grad=True)
    if "steps" in options:
        options["steps"] = 2

    def solution(y0, rate, times):
        return odeint(lambda t, y: rate * logistic(t, y), y0, times, **options)

    # Differences of the adaptive method would be those of its steps, too, so that only equal steps
    # are compared with them; the adaptive one is with autograd through every stage.
    if "steps" in options:
        assert torch.autograd.gradcheck(solution, (y0, rate, times))
        assert torch.autograd.gradgradcheck(solution, (y0, rate, times))
    else:
        found = torch.autograd.grad(solution(y0, rate, times).sum(), (y0, rate, times))
        options |= {"rtol": 1e-9, "atol": 1e-9}
        precise = torch.autograd.grad(solution(y0, rate, times).sum(), (y0, rate, times))
        for one, other in zip(found, precise, strict=True):
            assert_close(one, other, 1e-3)


def test_gradient_of_the_adaptive_method_is_that_of_its_numbers():
    network = nn.MLP(3, [8], 3).double()
    y0 = Y0.clone().requires_grad_()
    leaves = [y0, *network.parameters()]

    def gradients(checkpoint):
        end = odeint(lambda t, y: network(y) * t, y0, [0.0, 1.0], checkpoint=checkpoint)[-1]
        first = torch.autograd.grad(end.square().sum(), leaves, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), leaves)
        return [*first, *second]

    for one, other in zip(gradients(True), gradients(False), strict=True):
        assert_close(one, other, 1e-12)


def test_the_graph_keeps_one_state_a_step():
    """What is kept for the backward: no stage of a step."""
    network = nn.MLP(3, [64, 64], 3)
    y0 = torch.randn(500, 3, requires_grad=True)

    def kept(checkpoint):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: sizes.append(tensor.numel()) or tensor, lambda tensor: tensor
        ):
            odeint(
                lambda t, y: network(y).sin().cos(), y0, [0.0, 1.0], steps=4, checkpoint=checkpoint
            )
        return sum(sizes)

    assert kept(True) < 0.2 * kept(False)


def test_stiff():
    def stiff(t, y):
        return -1e6 * (y - torch.cos(t))

    text = (
        r"max_steps: expected to reach t = 1, got to t = 0\.\d+ in 50 steps, \d+ of them accepted"
    )
    with pytest.raises(IntegrationError, match=text):
        odeint(stiff, Y0, [0.0, 1.0], max_steps=50)


def test_a_solution_that_blows_up():
    with pytest.raises(IntegrationError, match=r"at t = (1|0\.99\d*) expected"):
        odeint(lambda t, y: y**2, torch.ones(1), [0.0, 2.0])


def test_not_finite():
    with pytest.raises(IntegrationError, match="at t = 0 expected finite values, got NaN"):
        odeint(lambda t, y: y * math.nan, Y0, [0.0, 2.0])


WRONG = {
    "one time": (Y0, [0.0], {}, r"t: expected two or more times, \[T\], got \[1\]"),
    "equal times": (Y0, [1.0, 1.0], {}, "t: expected finite times, all increasing"),
    "there and back": (Y0, [0.0, 1.0, 0.5], {}, "t: expected finite times, all increasing"),
    "an infinite time": (Y0, [0.0, math.inf], {}, "t: expected finite times"),
    "whole numbers": (Y0.long(), [0.0, 1.0], {}, "y0: expected floating tensors, got torch.int64"),
    "no tensor": (1.0, [0.0, 1.0], {}, "y0: expected floating tensors, got float"),
    "no state": ((), [0.0, 1.0], {}, "y0: expected a tensor or several, got an empty tuple"),
    "no method": (
        Y0,
        [0.0, 1.0],
        {"method": "euler"},
        "method: expected dopri5 or rk4, got 'euler'",
    ),
    "rk4 adaptive": (
        Y0,
        [0.0, 1.0],
        {"method": "rk4"},
        "steps: expected a number of steps with rk4",
    ),
    "no tolerance": (Y0, [0.0, 1.0], {"rtol": 0, "atol": 0}, "rtol, atol: expected numbers >= 0"),
    "half a step": (
        Y0,
        [0.0, 1.0],
        {"steps": 0.5},
        "steps: expected None or a whole number above 0",
    ),
    "no steps": (Y0, [0.0, 1.0], {"max_steps": 0}, "max_steps: expected a whole number above 0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(case):
    y0, times, options, text = WRONG[case]
    with pytest.raises(ValueError, match="odeint: " + text):
        odeint(logistic, y0, times, **options)


RETURNS = {
    "a column": (Y0, lambda t, y: y[:, None], r"\[3\] of float64, got \[3, 1\] of float64"),
    "an element": (Y0, lambda t, y: y[:1], r"\[3\] of float64, got \[1\] of float64"),
    "a dtype": (Y0, lambda t, y: y.float(), r"\[3\] of float64, got \[3\] of float32"),
    "nothing": (Y0, lambda t, y: None, r"\[3\] of float64, got NoneType"),
    "one of two": ((Y0, Y0), lambda t, y: y[0], r"\(\[3\] .*, \[3\] .*\), got Tensor"),
    "three of two": ((Y0, Y0), lambda t, y: (*y, y[0]), r"\(\[3\] .*, \[3\] .*\), got \(\[3\]"),
    "one column of two": ((Y0, Y0), lambda t, y: (y[0], y[1][:1]), r"got \(.*, \[1\] of float64\)"),
}


@pytest.mark.parametrize("case", RETURNS)
@pytest.mark.parametrize("options", [ADAPTIVE, FIXED])
def test_what_f_returns_is_like_the_state(case, options):
    """Else it would be broadcast, and the state grow at every step."""
    y0, f, text = RETURNS[case]
    with pytest.raises(ArgumentError, match=f"odeint: f: expected .*{text}.*; return dy/dt of"):
        odeint(f, y0, [0.0, 1.0], **options)


def test_a_list_of_slopes_and_numbers_of_numpy():
    times = np.array([0, 1])
    options = {"rtol": np.float32(1e-6), "atol": np.float32(1e-6)}
    found = odeint(lambda t, y: [-y[0], y[1]], (Y0, Y0), times, **options)
    assert_close(found[0][-1], Y0 * math.exp(-1), 1e-5)
    assert odeint(logistic, Y0, times, steps=np.int64(3)).shape == (2, 3)
