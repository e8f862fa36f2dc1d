"""ops.continuous_flow and its form in plain torch against odeint, and under all that checks it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pyneural import ops
from pyneural.ode import IntegrationError, odeint
from pyneural.ops import reference
from pyneural.ops.activations import NAMES, SMOOTH
from tests.ops.continuous_flows import ContinuousFlow
from tests.tolerances import (
    FLOAT64,
    FLOAT64_GRADIENT,
    assert_as_good_as_torch,
    assert_close,
)

TIGHT = {"rtol": 1e-10, "atol": 1e-10}


def by_odeint(*arguments, start=0.0, end=1.0, steps=None, rtol=1e-5, atol=1e-6):
    flow = ContinuousFlow(*arguments)

    def rates(t, state):
        u, jacobian = flow.field(t, state[0])
        return u, 1e-2 * jacobian.diagonal(dim1=1, dim2=2).sum(1)

    state = flow.x, torch.zeros_like(flow.x[:, 0])
    options = {"rtol": rtol, "atol": atol, "steps": steps, "checkpoint": False}
    y, ladj = odeint(rates, state, (start, end), **options)
    return y[-1], ladj[-1] / 1e-2


def in_plain_torch(*arguments, start=0.0, end=1.0, steps=None, rtol=1e-5, atol=1e-6):
    options = start, end, rtol, atol, steps or 0, 1000, True
    return reference.continuous_flow(*arguments, *options)


def gradients_like(flow):
    generator = torch.Generator().manual_seed(1)
    shapes = flow.x.shape, flow.x.shape[:1]
    return [torch.randn(s, generator=generator, dtype=torch.float64).to(flow.x) for s in shapes]


def value_and_gradients(function, flow, **options):
    """y, ladj and the gradients of all tensors."""
    flow = flow.leaves()
    results = flow.call(function, **options)
    return [*results, *torch.autograd.grad(results, flow.tensors, gradients_like(flow))]


def assert_all_close(found, exact, limit=FLOAT64_GRADIENT):
    assert len(found) == len(exact)
    for one, other in zip(found, exact, strict=True):
        assert_close(one, other, limit)


# Widths off every tile; few rows, blocks and threads.
FLOWS = {
    "a point on a line": {"features": 1, "rows": 1},
    "three features": {},
    "one hidden layer": {"hidden": (20,), "activation": "silu"},
    "context": {"context": 2, "hidden": (33, 20), "activation": "gelu"},
    "one hidden layer with context": {"context": 3, "hidden": (9,), "waves": 1},
    "no time": {"waves": 0, "hidden": (17, 40), "rows": 70, "activation": "sin"},
    "no time, one hidden layer": {"waves": 0, "hidden": (5,), "features": 1},
    "elu, several blocks": {"features": 7, "rows": 150, "hidden": (16, 24), "activation": "elu"},
    "many features": {"features": 33, "context": 1, "hidden": (40, 20), "rows": 9},
}
TIMES = {"forwards": (0.0, 1.0), "backwards": (1.0, 0.0), "elsewhere": (-0.7, 0.4)}


@pytest.mark.parametrize("form", [ops.continuous_flow, in_plain_torch])
@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("name", FLOWS)
def test_equal_steps_against_odeint(name, times, form):
    flow = ContinuousFlow.random(**FLOWS[name])
    start, end = TIMES[times]
    options = {"start": start, "end": end, "steps": 2}
    found = value_and_gradients(form, flow, **options)
    exact = value_and_gradients(by_odeint, flow, **options)
    assert_all_close(found[:2], exact[:2], FLOAT64)
    assert_all_close(found, exact)


@pytest.mark.parametrize("name", FLOWS)
def test_adaptive_steps_reach_the_solution(name):
    """That of many equal steps, to which blocks with steps of their own come."""
    flow = ContinuousFlow.random(**FLOWS[name])
    # The second derivative of elu jumps, and with it the gradient of the log-determinant.
    tolerance, limit = (1e-8, 5e-3) if flow.activation == "elu" else (1e-9, 1e-6)
    options = {"rtol": tolerance, "atol": tolerance}
    found = value_and_gradients(ops.continuous_flow, flow, **options)
    exact = value_and_gradients(ops.continuous_flow, flow, steps=200)
    assert_all_close(found, exact, limit)


def test_a_block_takes_the_steps_of_odeint():
    """Also where some of them are rejected: the numbers are the same but for rounding."""
    for scale in (1, 4):
        flow = ContinuousFlow.random(rows=10)
        flow.weights[-1].mul_(scale)
        for rtol in (1e-3, 1e-5):
            found, exact = (
                value_and_gradients(form, flow, rtol=rtol, atol=rtol)
                for form in (ops.continuous_flow, in_plain_torch)
            )
            assert_all_close(found, exact, 1e-9)


@pytest.mark.parametrize("hidden", [(33, 20), (40,)])
@pytest.mark.parametrize("activation", NAMES)
def test_every_activation_in_float32(activation, hidden):
    flow = ContinuousFlow.random(5, 2, 3, hidden, 100, activation, torch.float32)
    options = {"steps": 4}
    exact = value_and_gradients(in_plain_torch, flow.map(Tensor.double), **options)
    theirs = value_and_gradients(in_plain_torch, flow, **options)
    for triple in zip(
        value_and_gradients(ops.continuous_flow, flow, **options), theirs, exact, strict=True
    ):
        assert_as_good_as_torch(*triple)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_round_trip(dtype):
    flow = ContinuousFlow.random(7, 2, 3, (64, 64), 200, dtype=dtype)
    tolerance, limit = (1e-7, 1e-5) if dtype == torch.float32 else (1e-12, 1e-10)
    options = {"rtol": tolerance, "atol": tolerance}
    y, ladj = flow.call(**options)
    x, inverse_ladj = replace(flow, x=y).call(start=1.0, end=0.0, **options)
    assert_close(x, flow.x, limit)
    assert_close(inverse_ladj, -ladj, 10 * limit)


def test_the_log_determinant_is_that_of_the_jacobian():
    flow = ContinuousFlow.random(rows=4)
    jacobian = torch.autograd.functional.jacobian(
        lambda x: replace(flow, x=x).call(**TIGHT)[0].sum(0), flow.x
    )
    ladj = flow.call(**TIGHT)[1]
    assert_close(torch.linalg.slogdet(jacobian.transpose(0, 1))[1], ladj, 1e-8)


def test_without_the_log_determinant():
    for hidden in ((8, 7), (9,)):
        flow = ContinuousFlow.random(context=2, hidden=hidden).leaves()
        for steps in (None, 6):
            y, ladj = flow.call(with_ladj=False, steps=steps, **TIGHT)
            exact = flow.call(steps=steps, **TIGHT)[0]
            assert ladj is None
            assert_close(y, exact, FLOAT64 if steps else 1e-9)
            grad_y, _ = gradients_like(flow)
            found, expected = (torch.autograd.grad(z, flow.tensors, grad_y) for z in (y, exact))
            assert_all_close(found, expected, FLOAT64_GRADIENT if steps else 1e-8)


@pytest.mark.parametrize("context", [0, 2])
@pytest.mark.parametrize("hidden", [(6, 5), (6,)])
def test_gradcheck(hidden, context):
    flow = ContinuousFlow.random(2, context, 1, hidden, 3).leaves()

    def function(*tensors):
        return flow.of(tensors).call(steps=2)

    assert torch.autograd.gradcheck(function, flow.tensors)
    assert torch.autograd.gradgradcheck(function, flow.tensors, fast_mode=True)


@pytest.mark.parametrize("hidden", [(6, 5), (6,)])
def test_no_rows(hidden):
    flow = ContinuousFlow.random(context=2, rows=0, hidden=hidden)
    y, ladj, *grads = value_and_gradients(ops.continuous_flow, flow)
    assert (y.shape, ladj.shape) == ((0, 3), (0,))
    assert not any(grad.any() for grad in grads)


def test_only_the_gradients_asked_for():
    flow = ContinuousFlow.random(context=2, rows=60)
    exact = value_and_gradients(ops.continuous_flow, flow)[2:]
    for wanted, expected in enumerate(exact):
        tensors = [t.clone() for t in flow.tensors]
        tensors[wanted].requires_grad_()
        results = flow.of(tensors).call()
        found = torch.autograd.grad(results, tensors[wanted], gradients_like(flow))
        assert torch.equal(found[0], expected)


def test_not_contiguous():
    flow = ContinuousFlow.random(context=2)
    strided = flow.map(lambda t: t.repeat_interleave(2, dim=-1)[..., ::2])
    assert not any(t.is_contiguous() for t in strided.tensors)
    results = [value_and_gradients(ops.continuous_flow, each) for each in (flow, strided)]
    # leaves() makes copies; the values are of the strided tensors themselves.
    results[1][:2] = strided.call()
    assert all(map(torch.equal, *results))


def test_rows_do_not_depend_on_threads(threads):
    flow = ContinuousFlow.random(7, 2, 3, (64, 64), 1000, "elu", torch.float32)
    results = []
    for count in (1, 2, 2):
        threads(count)
        results.append(value_and_gradients(ops.continuous_flow, flow))
    for one, two, again in zip(*results, strict=True):
        assert torch.equal(two, again)
        if len(one) == 1000:  # not a sum over the rows
            assert torch.equal(one, two)


def test_blocks_are_independent():
    """The first blocks of more rows are the same."""
    flow = ContinuousFlow.random(rows=600, dtype=torch.float32)
    whole = flow.call()
    part = replace(flow, x=flow.x[:448]).call()
    assert all(torch.equal(a[:384], b[:384]) for a, b in zip(whole, part, strict=True))


@pytest.mark.parametrize("steps", [None, 3])
@pytest.mark.parametrize("context", [0, 2])
def test_opcheck_and_compile(context, steps):
    flow = ContinuousFlow.random(context=context, rows=9).leaves()
    arguments = *flow.arguments(), 0.0, 1.0, 1e-5, 1e-6, steps or 0, 1000, True
    torch.library.opcheck(torch.ops.pyneural.continuous_flow.default, arguments)
    compiled = torch.compile(ops.continuous_flow, fullgraph=True, backend="aot_eager")
    found = value_and_gradients(compiled, flow, steps=steps)
    assert_all_close(found, value_and_gradients(ops.continuous_flow, flow, steps=steps), FLOAT64)


def test_torch_func():
    flow = ContinuousFlow.random(rows=4)

    def function(x):
        y, ladj = replace(flow, x=x[None]).call(steps=3)
        return torch.cat((y[0], ladj))

    jacobian = torch.func.vmap(torch.func.jacrev(function))(flow.x)
    assert_close(torch.func.vmap(torch.func.jacfwd(function))(flow.x), jacobian, FLOAT64)


def test_autocast_computes_in_float32():
    flow = ContinuousFlow.random(context=2, dtype=torch.float32)
    exact = flow.call()
    with torch.autocast("cpu", torch.bfloat16):
        found = flow.map(Tensor.bfloat16).call()
        same = flow.call()
    assert all(t.dtype == torch.float32 for t in found)
    assert all(map(torch.equal, same, exact))


FAILURES = {
    "max_steps": (lambda f: f, {"max_steps": 3, **TIGHT}, "expected to reach t = 1, got"),
    "not finite": (
        lambda f: replace(f, x=f.x * torch.nan), {}, "expected finite values, got NaN or infinity",
    ),
    "too accurate": (
        lambda f: f.map(lambda t: 100 * t.float()), {"rtol": 0.0, "atol": 1e-9},
        "expected steps that the time resolves",
    ),
}  # fmt: skip


@pytest.mark.parametrize("with_graph", [False, True])
@pytest.mark.parametrize("case", FAILURES)
def test_failures(case, with_graph):
    change, options, text = FAILURES[case]
    flow = change(ContinuousFlow.random(rows=100))
    flow = flow.leaves() if with_graph else flow
    with pytest.raises(IntegrationError, match=f"continuous_flow: .*{text}"):
        flow.call(**options)


WRONG = {
    "half precision of one": ({"x": lambda x: x.half()}, "x: expected float32 or float64, got H"),
    "a row alone": ({"x": lambda x: x[0]}, r"x: expected shape \[rows, features\], got"),
    "no features": ({"x": lambda x: x[:, :0]}, "x: expected shape .* at least one column"),
    "no context": (
        {"context": lambda c: None},
        r"weights\[0\]: expected shape \[8, 9\], got \[8, 11\]; the inputs are cosines",
    ),
    "a context of other rows": (
        {"context": lambda c: c[1:]},
        r"context: expected shape \[5, 2\], got \[4, 2\]; it must have a row for each of x",
    ),
    "fewer frequencies": ({"frequencies": lambda w: w[1:]}, r"weights\[0\]: expected shape"),
    "a frequency that is none": (
        {"frequencies": lambda w: [math.nan, *w[1:]]}, "frequencies: expected finite numbers",
    ),
    "no hidden layer": (
        {"weights": lambda w: w[:1], "biases": lambda b: b[:1]},
        "weights: expected those of one or two hidden layers, got 0 hidden layers",
    ),
    "other outputs": (
        {"weights": lambda w: w[:2], "biases": lambda b: b[:2]},
        r"weights\[1\]: expected 3 outputs as x has columns, got 7",
    ),
    "a bias missing": ({"biases": lambda b: b[1:]}, "biases: expected 3 as there are weights"),
    "a short bias": (
        {"biases": lambda b: [b[0][1:], *b[1:]]}, r"biases\[0\]: expected shape \[8\], got \[7\]",
    ),
    "an unknown activation": ({"activation": lambda a: "swish"}, "activation: expected one of"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(case):
    changes, text = WRONG[case]
    flow = ContinuousFlow.random(context=2)
    flow = replace(flow, **{name: f(getattr(flow, name)) for name, f in changes.items()})
    with pytest.raises(ValueError, match=f"continuous_flow: {text}"):
        flow.call()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"start": 1.0}, "start, end: expected two finite times, got 1 and 1"),
        ({"end": math.inf}, "start, end: expected two finite times"),
        ({"rtol": -1.0}, "rtol, atol: expected numbers >= 0, not both 0"),
        ({"rtol": 0.0, "atol": 0.0}, "rtol, atol: expected numbers >= 0, not both 0"),
        ({"rtol": math.nan}, "rtol, atol: expected numbers >= 0, not both 0"),
        ({"steps": -1}, "steps: expected None or a number above 0, got -1"),
        ({"steps": 0}, "steps: expected"),
        ({"steps": 2.5}, "steps: expected"),
        ({"max_steps": 0}, "max_steps: expected a whole number above 0, got 0"),
        ({"max_steps": 1.5}, "max_steps: expected a whole number"),
    ],
)
def test_wrong_options(options, text):
    with pytest.raises(ValueError, match=f"continuous_flow: {text}"):
        ContinuousFlow.random().call(**options)


def test_smooth_activations_converge_with_the_fifth_order():
    for activation in SMOOTH:
        flow = ContinuousFlow.random(activation=activation, hidden=(8, 7))
        exact = flow.call(steps=64)
        errors = [
            max(float((a - b).abs().max()) for a, b in zip(flow.call(steps=n), exact, strict=True))
            for n in (4, 8)
        ]
        assert errors[1] < errors[0] / 16
