"""CNF against zuko and against autograd's Jacobian."""

from __future__ import annotations

from contextlib import nullcontext
from unittest import mock

import pytest
import torch

from pyneural import ops
from pyneural.models.flows.continuous import CNF
from tests.tolerances import assert_close

# In float64. The second derivative of elu jumps, where many steps are rejected; the tolerance of
# the log-determinant is 100 times these.
TIGHT, OF_ELU = {"atol": 1e-10, "rtol": 1e-10}, {"atol": 1e-8, "rtol": 1e-8}


def tight(options):
    return TIGHT if "activation" in options else OF_ELU


def make(features, context, kind=CNF, **options):
    torch.manual_seed(0)
    return kind(features, context, **options)


def data(features, context, rows=4, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randn(rows, features + context, generator=generator, dtype=torch.float64)
    x, c = drawn.to(dtype).split((features, context), 1)
    return x, c if context else None


TANH, SILU = {"activation": torch.nn.Tanh}, {"activation": torch.nn.SiLU}
CASES = [
    (1, 0, {"hidden_features": [8, 8], **SILU}),
    (3, 0, {"hidden_features": [8, 8], **TANH}),
    (3, 2, {"hidden_features": [8, 7], **SILU}),
    (2, 2, {"hidden_features": [8], **SILU, "freqs": 5}),
    (2, 1, {"hidden_features": [8, 7, 6], **TANH}),
    (2, 1, {"hidden_features": [8], **TANH, "normalize": True}),  # by autograd
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("features", "context", "options"), [*CASES[2:], (1, 0, {})])
def test_as_zuko(features, context, options, dtype):
    zuko = pytest.importorskip("zuko")
    tolerances = {"atol": 1e-7, "rtol": 1e-6} if dtype == torch.float32 else tight(options)
    options = {**options, **tolerances}
    ours = make(features, context, **options).to(dtype)
    theirs = make(features, context, zuko.flows.CNF, **options).to(dtype)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    x, c = data(features, context, dtype=dtype)
    if "activation" in options:
        limit = 1e-5 if dtype == torch.float32 else 1e-8
    else:
        limit = 1e-4 if dtype == torch.float32 else 1e-5
    assert_close(ours(c).log_prob(x), theirs(c).log_prob(x), limit)
    assert_close(ours(c).transform(x), theirs(c).transform(x), limit)
    torch.manual_seed(3)
    found = ours(c).sample((2,))
    torch.manual_seed(3)
    assert_close(found, theirs(c).sample((2,)), limit)
    leaves = list(ours.parameters())
    found = torch.autograd.grad(ours(c).log_prob(x).mean(), leaves)
    exact = torch.autograd.grad(theirs(c).log_prob(x).mean(), list(theirs.parameters()))
    joined = [torch.cat([grad.flatten() for grad in grads]) for grads in (found, exact)]
    assert_close(*joined, 100 * limit)


@pytest.mark.parametrize(("features", "context", "options"), CASES[::2])
def test_the_log_determinant_is_that_of_the_jacobian(features, context, options):
    flow = make(features, context, **options, **tight(options)).double()
    x, c = data(features, context, dtype=torch.float64)
    y, ladj = flow(c).transform.call_and_ladj(x)
    jacobian = torch.autograd.functional.jacobian(lambda x: flow(c).transform(x).sum(0), x)
    limit = 1e-8 if tight(options) is TIGHT else 1e-4
    assert_close(ladj, torch.linalg.slogdet(jacobian.transpose(0, 1))[1], limit)
    back, inverse = flow(c).transform.inv.call_and_ladj(y)
    assert_close(back, x, 0.1 * limit)
    assert_close(inverse, -ladj, limit)


@pytest.mark.parametrize(
    ("dtype", "tolerance", "limit"), [(torch.float32, 1e-7, 1e-5), (torch.float64, 1e-12, 1e-10)]
)
def test_round_trip(dtype, tolerance, limit):
    flow = make(3, 2, atol=tolerance, rtol=tolerance, **TANH).to(dtype)
    x, c = data(3, 2, rows=10, dtype=dtype)
    with torch.no_grad():
        assert_close(flow(c).transform.inv(flow(c).transform(x)), x, limit)


@pytest.mark.parametrize("in_training", [True, False])
@pytest.mark.parametrize(("features", "context", "options"), CASES[:3])
def test_samples_and_their_density(features, context, options, in_training):
    flow = make(features, context, **options, **tight(options)).double()
    _, c = data(features, context, dtype=torch.float64)
    with nullcontext() if in_training else torch.no_grad():
        x, log_prob = flow(c).rsample_and_log_prob((3,))
        assert x.shape == ((3, features) if c is None else (3, 4, features))
        assert_close(log_prob, flow(c).log_prob(x), 1e-8 if tight(options) is TIGHT else 1e-4)
    assert log_prob.requires_grad == in_training


@pytest.mark.parametrize(("features", "context", "options"), CASES[:1])
def test_gradcheck(features, context, options):
    flow = make(features, context, **options, **tight(options)).double()
    x, c = data(features, context, rows=2, dtype=torch.float64)
    tensors = [tensor for tensor in (x, c) if tensor is not None]

    def log_prob(x, c=None):
        return flow(c).log_prob(x)

    leaves = [tensor.requires_grad_() for tensor in tensors]
    assert torch.autograd.gradcheck(log_prob, leaves, atol=1e-4, fast_mode=True)
    parameter = flow.transform.ode[0].weight
    (grad,) = torch.autograd.grad(flow(c).log_prob(x).sum(), parameter)
    direction = torch.randn_like(parameter)
    differences = []
    for sign in (1, -1):
        with torch.no_grad():
            parameter.add_(sign * 1e-6 * direction)
            differences.append(sign * flow(c).log_prob(x).sum())
            parameter.sub_(sign * 1e-6 * direction)
    found = sum(differences) / 2e-6
    assert_close((grad * direction).sum(), found, 1e-4)


def test_the_estimate_of_the_trace_is_unbiased():
    flow = make(2, 0, hidden_features=[8, 8], exact=False)
    x = torch.tensor([[0.5, -1.0]]).expand(4000, -1)
    torch.manual_seed(0)
    estimates = flow().log_prob(x)
    flow.transform.exact = True
    exact = flow().log_prob(x[:1])
    spread = estimates.std() / len(x) ** 0.5
    assert spread > 0
    assert (estimates.mean() - exact).abs() < 4 * spread
    estimates.mean().backward()
    assert all(p.grad is not None for p in flow.parameters())


def test_samples_have_the_density():
    """The histogram of samples in one dimension."""
    flow = make(1, 0, hidden_features=[16, 16])
    with torch.no_grad():
        torch.manual_seed(0)
        samples = flow().sample((20000,))[:, 0]
        grid = torch.linspace(-6, 6, 601)
        density = flow().log_prob(grid[:, None]).exp()
    assert abs(float(torch.trapezoid(density, grid)) - 1) < 1e-3
    cumulative = torch.cumulative_trapezoid(density, grid)
    empirical = (samples[:, None] < grid[1:]).float().mean(0)
    assert (cumulative - empirical).abs().max() < 0.015


class Doubled(torch.nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def with_a_hook(flow):
    flow.transform.ode[0].register_forward_hook(lambda *_: None)


def with_another_layer(flow):
    layer = flow.transform.ode[0]
    layer.__class__ = Doubled


CALLS = {
    "one hidden layer": ({"hidden_features": [8]}, None, 4),
    "two": ({"hidden_features": [8, 7]}, None, 4),
    "three": ({"hidden_features": [8, 7, 6]}, None, 0),
    "no hidden layer": ({"hidden_features": []}, None, 0),
    "normalised": ({"hidden_features": [8], "normalize": True}, None, 0),
    "an estimated trace": ({"hidden_features": [8], "exact": False}, None, 2),  # samples alone
    "a hook": ({"hidden_features": [8]}, with_a_hook, 0),
    "a layer of the user": ({"hidden_features": [8]}, with_another_layer, 0),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_whole_integration_is_one_call_of_a_plain_network(name):
    """And the kernel gives what ``odeint`` gives."""
    options, change, calls = CALLS[name]
    flow = make(3, 2, **options, **SILU, atol=1e-8, rtol=1e-8).double()
    if change is not None:
        change(flow)
    x, c = data(3, 2, dtype=torch.float64)

    def results():
        torch.manual_seed(1)
        transform = flow(c).transform
        return [
            *transform.call_and_ladj(x), *transform.inv.call_and_ladj(x),
            transform(x), transform.inv(x),
        ]  # fmt: skip

    with torch.no_grad():
        with mock.patch.object(ops, "continuous_flow", wraps=ops.continuous_flow) as op:
            found = results()
        assert op.call_count == calls
        with mock.patch.object(type(flow.transform), "network_arguments", return_value=None):
            expected = results()
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other, 1e-5)


def test_a_hook_on_the_network_is_called():
    torch.manual_seed(0)
    flow, x = CNF(2, hidden_features=(8,)), torch.randn(4, 2)
    before = flow().log_prob(x)
    flow.transform.ode.register_forward_hook(lambda network, given, y: 0 * y)
    found = flow().log_prob(x)
    assert not torch.allclose(found, before)
    torch.testing.assert_close(found, flow.base().log_prob(x))  # a field of 0 moves nothing
