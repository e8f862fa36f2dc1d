"""The functions of ``_C`` that go straight to the dispatcher, and where they decline."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import forward_ad

from pyneural import _C, ops
from pyneural.errors import ArgumentError


def arguments():
    def random(*shape):
        return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))

    starts, inputs = torch.tensor([0, 2, 3]), torch.tensor([0, 2, 1])
    q = random(1, 2, 4, 3)
    gates = random(8, 3), random(8, 2), random(8), random(8)
    return {
        "dense": (random(5, 3), random(4, 3), random(4), "tanh"),
        "masked_dense": (random(5, 3), random(3), starts, inputs, None, "relu"),
        "mlp": (random(5, 3), [random(4, 3), random(2, 4)], (random(4), random(2)), "tanh", "relu"),
        "autoregressive": (
            random(5, 2), None, [random(3, 2), random(4, 3)], (random(3), random(4)),
            [torch.tensor([0, 1, 1, 1, 0])], "relu", "affine", 5.0, 1e-3, False,
        ),
        "rnn": (random(6, 5, 3), random(5, 2), random(5, 2), *gates, None, "lstm", True),
        "attention": (q, q, q, None, None, True, 0.0, 0.5),
        "rational_quadratic_spline": (
            random(4), random(4, 3), random(4, 3), random(4, 2), 5.0, 1e-3, True
        ),
    }  # fmt: skip


NAMES = list(arguments())


def direct(name, *args):
    return getattr(_C, name)(*args)


@pytest.mark.parametrize("name", NAMES)
def test_they_give_what_torch_ops_gives(name):
    args = arguments()[name]
    found, expected = direct(name, *args), getattr(torch.ops.pyneural, name)(*args)
    assert type(found) is type(expected)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_pass(name):
    x, *others = arguments()[name]
    grads = []
    for call in (lambda *args: direct(name, *args), getattr(torch.ops.pyneural, name)):
        leaf = x.clone().requires_grad_()
        y = call(leaf, *others)
        y = y[0] if isinstance(y, tuple) else y
        grads.append(torch.autograd.grad(y.sin().sum(), leaf)[0])
    assert torch.equal(*grads)


class Subclass(torch.Tensor):
    pass


class Mode(torch.overrides.TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", NAMES)
def test_they_decline_what_the_dispatcher_does_not_decide(name):
    args = arguments()[name]
    assert direct(name, *args) is not NotImplemented
    for place, arg in enumerate(args):
        others = {Subclass: arg.as_subclass(Subclass)} if isinstance(arg, torch.Tensor) else {}
        for other in (*others.values(), object(), 3, b"tanh"):
            changed = (*args[:place], other, *args[place + 1 :])
            assert direct(name, *changed) is NotImplemented, (place, other)
    assert direct(name, *args[:-1]) is NotImplemented
    assert direct(name, *args, None) is NotImplemented
    assert direct(name) is NotImplemented
    with Mode():
        assert direct(name, *args) is NotImplemented
    with forward_ad.dual_level():
        assert direct(name, *args) is NotImplemented
    seen = []
    torch.func.vmap(lambda _: seen.append(direct(name, *args)) or _)(torch.zeros(2))
    traced = lambda x: seen.append(direct(name, *args)) or x + 1  # noqa: E731
    torch.jit.trace(traced, torch.zeros(2), check_trace=False)
    assert len(seen) == 2
    assert all(each is NotImplemented for each in seen)


@pytest.mark.parametrize("name", ["dense", "masked_dense", "mlp"])
def test_fx_records_torchs_functions(name):
    x, *others = arguments()[name]

    def call(x):
        if name == "masked_dense":
            values, starts, inputs, bias, activation = others
            return ops.masked_dense(
                x, values, ops.SparsityPattern(starts, inputs), bias, activation
            )
        return getattr(ops, name)(x, *others)

    traced = torch.fx.symbolic_trace(call)
    assert not any("pyneural" in str(node.target) for node in traced.graph.nodes)
    torch.testing.assert_close(traced(x), call(x))


def test_an_error_of_a_users_tensor_is_raised_once_and_as_it_is():
    calls = []

    class Mine(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            calls.append(function)
            raise ValueError("mine")

    x = torch.ones(2, 3, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"^mine$") as error:
        ops.dense(x.as_subclass(Mine), torch.ones(4, 3, dtype=torch.int64))
    assert type(error.value) is ValueError
    assert len(calls) == 1


@pytest.mark.parametrize("wrong", ["é", "x\0y", ""])
def test_a_text_that_is_no_activation_is_named(wrong):
    with pytest.raises(ArgumentError, match="dense: activation: expected"):
        ops.dense(torch.zeros(1, 2), torch.zeros(3, 2), None, wrong)
