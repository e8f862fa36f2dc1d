"""Bad input is refused, with what was expected, what came, and what to do."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from pyneural import interpret
from pyneural.errors import ArgumentError
from tests.interpret.networks import ATTRIBUTIONS, Polynomial, Two, every_call, image_network

X, TARGET = torch.rand(4, 2, 8, 8), torch.tensor([0, 2, 1, 1])
EVERY = list(every_call(X, TARGET))
ON_INPUTS = [name for name in EVERY if name != "activation_maximisation"]


def refused(call, *words):
    with pytest.raises(ArgumentError) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


def call_of(name, x=X, target=TARGET):
    return every_call(x, target)[name]


@pytest.mark.parametrize("name", ON_INPUTS)
@pytest.mark.parametrize(
    ("x", "words"),
    [
        (X.long(), ("float32 or float64, got int64", "embeddings")),
        (X.half(), ("got float16",)),
        (X[:0], ("a sample or more, got [0, 2, 8, 8]",)),
        (X.masked_fill(X > 0.9, torch.nan), ("finite numbers", "NaN")),
        (X.tolist(), ("tensor", "list")),
    ],
)
def test_inputs(name, x, words):
    call = partial(call_of(name), x=x)
    if "attributions" in call.keywords and name == "completeness_gap":
        call = partial(call, attributions=x)
    refused(lambda: call(image_network()), name, ": x:", *words)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(
    ("target", "words"),
    [
        (None, ("index of one of the outputs [3]", "got None")),
        (3, ("within [3]", "got 3 to 3")),
        (-1, ("got -1",)),
        (1.0, ("got 1.0",)),
        (True, ("got True",)),
        ((0, 1), ("got (0, 1)",)),
        (torch.tensor([0, 1]), ("whole numbers [4]", "a tensor [2]")),
        ([0, 2, 1, 1], ("whole numbers [4]", "torch.as_tensor(target)")),
        (torch.tensor(1), ("a tensor []",)),
        (torch.tensor([0, 1, 3, 0]), ("got 0 to 3",)),
        (torch.tensor([0.0, 1, 1, 0]), ("float32", ".long()")),
    ],
)
def test_targets(name, target, words):
    refused(lambda: call_of(name, target=target)(image_network()), "target", *words)


@pytest.mark.parametrize("name", EVERY)
def test_a_target_where_there_is_one_output(name):
    x = torch.rand(4, 3)
    refused(lambda: call_of(name, x, 0)(Polynomial()), "target", "leave it out")


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_models_in_half_precision(name, dtype):
    model = image_network().to(dtype)
    refused(lambda: call_of(name)(model), "model", str(dtype).removeprefix("torch."), ".float()")


@pytest.mark.parametrize("name", EVERY)
def test_functions_that_are_no_module(name):
    refused(lambda: call_of(name)(torch.sum), "model", "torch.nn.Module")


class Gives(torch.nn.Module):
    """Gives what a function makes of its input."""

    def __init__(self, function):
        super().__init__()
        self.function, self.weight = function, torch.nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.function(self.weight * x)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: (x.flatten(1), x), ("a tensor, got tuple",)),
        (lambda x: x.flatten(1).argmax(1), ("got int64",)),
        (lambda x: x.flatten(1).bfloat16(), ("got bfloat16", "autocast")),
        (lambda x: x.flatten(1)[:, :5].T, ("a row a sample",)),
        (lambda x: x.flatten(1) / 0, ("finite", "NaN or infinity")),
    ],
)
def test_outputs(name, function, words):
    refused(lambda: call_of(name, target=0)(Gives(function)), "output of the model", *words)


GRADIENTS = [*(set(ATTRIBUTIONS) - {"occlusion"}), "activation_maximisation"]


@pytest.mark.parametrize("name", sorted(GRADIENTS))
def test_outputs_without_a_gradient(name):
    def under_no_grad(x):
        with torch.no_grad():
            return x.flatten(1)

    for function in (lambda x: x.flatten(1).detach(), under_no_grad):
        refused(lambda f=function: call_of(name, target=0)(Gives(f)), "detached", "no_grad")
    weights = torch.nn.Linear(3, 3)

    def without_x(x):
        return weights(torch.ones(len(x), 3))

    refused(lambda: call_of(name, target=0)(Gives(without_x)), "detached", "occlusion")


@pytest.mark.parametrize("name", sorted(GRADIENTS))
def test_gradients_that_are_not_finite(name):
    def root(x):
        return (0 * x).sqrt().flatten(1)

    refused(lambda: call_of(name, target=0)(Gives(root)), "gradient", "NaN", "sqrt")


def test_one_of_two_inputs_without_a_gradient():
    class First(torch.nn.Module):
        def forward(self, a, b):
            return a.sum(1)

    refused(lambda: interpret.saliency(First(), (torch.ones(2, 3), torch.ones(2, 1))), "x[1]")


def test_several_inputs():
    refused(lambda: interpret.saliency(Two(), (), 0), "x: expected a tensor or several")
    pair = torch.ones(2, 2), torch.ones(3, 3, 3)
    refused(lambda: interpret.saliency(Two(), pair, 0), "x[1]", "2 and 3")
    pair = torch.ones(2, 2), torch.ones(2, 3, 3).long()
    refused(lambda: interpret.saliency(Two(), pair, 0), "x[1]", "int64")
    refused(lambda: interpret.occlusion(Two(), pair, 0), "one tensor, got tuple")


@pytest.mark.parametrize(
    "method", [interpret.occlusion, interpret.integrated_gradients, interpret.deletion_curve]
)
@pytest.mark.parametrize(
    ("baseline", "words"),
    [
        (torch.zeros(8, 8), ("[2, 8, 8] or [4, 2, 8, 8]", "got [8, 8]")),
        (torch.zeros(3, 2, 8, 8), ("got [3, 2, 8, 8]",)),
        ("black", ("got str",)),
        (float("nan"), ("finite",)),
        (torch.full((2, 8, 8), torch.inf), ("finite",)),
    ],
)
def test_baselines(method, baseline, words):
    more = (X,) if method is interpret.deletion_curve else ()
    call = partial(method, image_network(), X, *more, target=TARGET, baseline=baseline)
    refused(call, "baseline", *words)


def test_baselines_of_several_inputs():
    pair = torch.ones(2, 2), torch.ones(2, 3, 3)
    call = partial(interpret.integrated_gradients, Two(), pair, 0, baseline=(0.0,))
    refused(call, "baseline: expected 2")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"window": 0}, ("window", "[2, 8, 8]", "got 0")),
        ({"window": (2, 9, 2)}, ("window", "(2, 9, 2)")),
        ({"window": (2, 2)}, ("window", "(2, 2)")),
        ({"window": 1.5}, ("window", "whole number")),
        ({"window": 2, "stride": (2, 3, 2)}, ("stride", "[2, 2, 2]")),
    ],
)
def test_windows(options, words):
    refused(lambda: interpret.occlusion(image_network(), X, TARGET, **options), *words)


def test_too_few_steps():
    x = torch.tensor([[2.0, 0.0, 0.0], [0.5, 1.0, 1.0]])
    call = partial(interpret.integrated_gradients, Polynomial(), x, steps=1)
    refused(call, "gap of 25.0% in sample 0 with 1 steps", "steps=4")
    refused(partial(call, steps=0), "steps")
    refused(partial(call, tolerance=0.0), "tolerance")


def test_noise():
    call = partial(interpret.smooth_grad, image_network(), X, TARGET)
    refused(partial(call, noise=-0.1), "noise", ">= 0")
    refused(partial(call, noise=torch.ones(8)), "noise", "[2, 8, 8]")
    refused(partial(call, noise=(0.1, 0.2)), "noise: expected 1")
    refused(partial(call, samples=0), "samples")


def test_attributions_of_another_shape():
    for method in (interpret.deletion_curve, interpret.insertion_curve, interpret.completeness_gap):
        call = partial(method, image_network(), X, X[:, :1], TARGET)
        refused(call, "attributions", "[4, 1, 8, 8]")
    call = partial(interpret.deletion_curve, image_network(), X, X / 0, TARGET)
    refused(call, "attributions", "finite")
