"""Losses fused with the last network against the plain evaluation of the same residuals."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch

from pyneural import nn, ops
from pyneural.ops.jet import mean_square

DERIVATIVES = ((0,), (1,), (1, 1), ops.LinearOperator({(0,): 1.0, (1, 1): -0.3, (0, 1): 0.2}))


def residuals(jet, x, c, columns):
    """Of jet[k, o] of two outputs, x[d], c[q] and columns[r]: symbols or tensors."""
    return (
        jet[1, 0] + jet[0, 1] * jet[2, 1] - c[0] * jet[3, 0] + torch.sin(x[1]) * jet[4, 1],
        columns[0] * jet[4, 0] * x[0] - c[1] + jet[0, 0] ** 3,
    )


class Channels:
    def __init__(self, jet):
        self.jet = jet

    def __getitem__(self, place):
        k, o = place
        return self.jet[k][:, o]


class Made(torch.nn.Module):
    """A module of parts and a function of them and x."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)


def mlp(inputs=2, outputs=2):
    return nn.MLP(inputs, [6, 5], outputs)


def parameter(*shape):
    return torch.nn.Parameter(torch.rand(shape))


def embedded(m, x):
    return torch.cat([x[:, :1], torch.cos(m.w * x[:, 1:]), torch.sin(m.w * x[:, 1:])], 1)


def layers():
    return torch.nn.Sequential(torch.nn.Linear(2, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2))


FUSED = {
    "MLP": mlp,
    "sequential": layers,
    "far range": lambda: nn.MLP(2, [6], 2, input_range=([2020.0, 0], [2021, 1.0])),
    "numbers": lambda: Made(lambda m, x: 3 + 2 * m.n(x), n=mlp()),
    "learned scale": lambda: Made(
        lambda m, x: m.b + m.a * m.n(x), n=mlp(), a=parameter(2), b=parameter()
    ),
    "hard": lambda: Made(
        lambda m, x: torch.sin(x[:, 1:]) * m.a + x[:, :1] * (1 - x[:, 1:] ** 2) * m.n(x),
        n=mlp(), a=parameter(2),
    ),
    "exponential": lambda: Made(lambda m, x: torch.exp(m.n(x)) * x[:, :1], n=mlp()),
    "activation at the end": lambda: Made(lambda m, x: torch.tanh(m.n(x)), n=mlp()),
    "powers and quotients": lambda: Made(
        lambda m, x: (m.n(x) + x[:, :1]) ** 2 / (1 + m.n(x) ** 2), n=mlp()
    ),
    "embedding": lambda: Made(lambda m, x: m.n(embedded(m, x)), n=mlp(3), w=parameter()),
    "hard of an embedding": lambda: Made(
        lambda m, x: x[:, :1] * m.n(embedded(m, x)) + x[:, 1:] ** 2, n=mlp(3), w=parameter()
    ),
    "columns": lambda: Made(
        lambda m, x: (lambda u: torch.cat([u[:, 1:] * x[:, :1], u[:, :1] - x[:, 1:]], 1))(m.n(x)),
        n=mlp(),
    ),
    "outputs one by one": lambda: Made(
        lambda m, x: (lambda u, v: torch.stack([u, u * v - x[:, 1]], -1))(*m.n(x).unbind(-1)),
        n=mlp(),
    ),
    "two networks": lambda: nn.Joined([mlp(2, 1), mlp(1, 1)], [None, (1,)]),
    "product of networks": lambda: Made(
        lambda m, x: m.m(x[:, 1:]) * m.n(x[:, :1]), n=mlp(1, 2), m=mlp(1, 1)
    ),
    "skip": lambda: Made(lambda m, x: m.n(x) + m.l(x), n=mlp(), l=torch.nn.Linear(2, 2)),
    "scaled": lambda: nn.Scaled(
        mlp(), input_range=([0, 0], [1, 2]), scale=torch.tensor([2.0, 3.0]), shift=parameter(2)
    ),
    "periodic": lambda: torch.nn.Sequential(nn.PeriodicEmbedding(2, {1: 2.0}), mlp(3)),
    "learned period": lambda: torch.nn.Sequential(
        nn.PeriodicEmbedding(2, {1: 2.0}, learned=True), mlp(3)
    ),
    "Fourier features": lambda: torch.nn.Sequential(nn.FourierFeatures(2, 3), mlp(6)),
}  # fmt: skip
PLAIN = {
    "softmax at the end": lambda: Made(lambda m, x: m.n(x).softmax(-1), n=mlp()),
    "in place": lambda: Made(lambda m, x: m.n(x).mul_(2).add_(x), n=mlp()),
    "PirateNet": lambda: nn.PirateNet(2, 4, 2, blocks=1, nonlinearity=0.4),
    "modified MLP": lambda: nn.ModifiedMLP(2, 4, 2, layers=2),
}


@pytest.fixture(autouse=True)
def _double():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def calls(monkeypatch):
    found = []
    real = ops.jet_mlp_loss

    def spy(*arguments):
        found.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(mean_square, "jet_mlp_loss", spy)
    return found


def both(module, x, c, columns):
    """Loss and gradients, fused and plain."""
    program = ops.record_residual(residuals)
    leaves = [*module.parameters(), c, columns]
    plain = residuals(Channels(nn.jet(module, x, DERIVATIVES)), x.T, c, columns)
    losses = [
        nn.jet_loss(module, x, DERIVATIVES, program, c, columns),
        sum(part.square().mean() for part in plain),
    ]
    return [
        [loss, *torch.autograd.grad(loss, leaves, materialize_grads=True, allow_unused=True)]
        for loss in losses
    ]


@pytest.mark.parametrize(
    ("make", "is_fused"),
    [*((make, True) for make in FUSED.values()), *((make, False) for make in PLAIN.values())],
    ids=[*FUSED, *PLAIN],
)
def test_losses_and_gradients(make, is_fused, calls):
    module, x = make(), torch.rand(7, 2)
    c, columns = (torch.rand(shape, requires_grad=True) for shape in ((2,), (1, 7)))
    fused, plain = both(module, x, c, columns)
    for mine, theirs in zip(fused, plain, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-11)
    assert bool(calls) == is_fused
    assert sum(bool(gradient.any()) for gradient in fused[1:]) >= len(fused) - 2


def test_gradients_by_differences(calls):
    module = FUSED["hard of an embedding"]()
    names, values = zip(*module.named_parameters(), strict=True)
    program, x = ops.record_residual(lambda jet, x, c: jet[3, 0] + jet[0, 1] ** 2), torch.rand(3, 2)

    def loss(*parameters):
        def function(x):
            return torch.func.functional_call(module, dict(zip(names, parameters, strict=True)), x)

        return nn.jet_loss(function, x, DERIVATIVES, program)

    assert torch.autograd.gradcheck(loss, [v.detach().requires_grad_() for v in values])
    assert calls


def test_what_is_remembered_of_points_follows_their_changes():
    embedding = nn.PeriodicEmbedding(2, {1: 2.0})
    module, x = torch.nn.Sequential(embedding, mlp(3)), torch.rand(4, 2)

    def same():
        remembers_nothing = copy.deepcopy(module)
        first, second = (nn.jet(m, x, [(1, 1)])[1] for m in (module, remembers_nothing))
        torch.testing.assert_close(first, second, rtol=1e-14, atol=1e-14)
        return second

    before = [same()]
    x.mul_(0.5)
    before.append(same())
    embedding.periods.fill_(3.0)
    before.append(same())
    embedding.load_state_dict({"periods": torch.tensor([4.0])})
    before.append(same())
    assert all(not torch.equal(a, b) for a, b in itertools.pairwise(before))


def test_compiled_losses_are_those_of_eager_mode():
    module, x = FUSED["hard of an embedding"](), torch.rand(5, 2)
    program = ops.record_residual(lambda jet, x, c: jet[3, 0] + x[0] * jet[0, 1] ** 2)
    compiled = torch.compile(lambda: nn.jet_loss(module, x, DERIVATIVES, program), backend="eager")
    torch.testing.assert_close(compiled(), nn.jet_loss(module, x, DERIVATIVES, program))
