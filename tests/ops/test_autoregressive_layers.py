"""Several layers of a flow in one call of ops.autoregressive, against a call for each."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pyneural import ops
from tests.ops.flow_layers import FlowLayer
from tests.ops.test_autoregressive import FORMS, assert_all_close, gradients_like
from tests.tolerances import FLOAT64_GRADIENT, assert_close

# Of each flow: what its layers share, and what each has of its own.
FLOWS = {
    "one": ({"features": 3}, [{}]),
    "in both directions": (
        {"features": 5, "hidden": (16, 9), "rows": 150},
        [{"order": order} for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3])],
    ),
    "coupling by halves": (
        {"features": 7, "context": 2, "rows": 300},
        [{"stays": [1, 3, 5]}, {"stays": [0, 2, 4, 6]}] * 2,
    ),
    "of both kinds, other widths": (
        {"features": 4, "context": 1, "activation": "silu"},
        [{"hidden": (9, 30), "stays": [2]}, {"hidden": (20, 4)}, {"hidden": (3, 5), "passes": 2}],
    ),
    "no hidden layer": ({"features": 3, "hidden": ()}, [{}, {"stays": [0]}]),
}


def layers_of(name, transform="spline", **options):
    shared, own = FLOWS[name]
    return [
        FlowLayer.random(**{**shared, **each, **options}, transform=transform, seed=seed)
        for seed, each in enumerate(own)
    ]


def in_turn(layers):
    """The layers as arguments of one call, with x and context of the first."""
    return replace(
        layers[0],
        weights=[weight for layer in layers for weight in layer.weights],
        biases=[bias for layer in layers for bias in layer.biases],
        degrees=[layer.degrees for layer in layers],
    )


def one_by_one(x, context, weights, biases, degrees, *options, inverse=False):
    depth, total = len(weights) // len(degrees), 0
    order = range(len(degrees))
    for i in reversed(order) if inverse else order:
        own = slice(depth * i, depth * (i + 1))
        x, ladj = ops.autoregressive(
            x, context, weights[own], biases[own], degrees[i], *options, inverse=inverse
        )
        total = total + ladj
    return x, total


def results_and_gradients(function, flow, wanted=None, **options):
    flow = flow.leaves()
    results = flow.call(function, **options)
    tensors = flow.tensors if wanted is None else [flow.tensors[i] for i in wanted]
    return [*results, *torch.autograd.grad(results, tensors, gradients_like(flow))]


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("transform", ["affine", "spline"])
@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("form", FORMS)
def test_against_a_call_for_each_layer(name, transform, inverse, form, threads):
    threads(2)
    flow = in_turn(layers_of(name, transform))
    found = results_and_gradients(FORMS[form], flow, inverse=inverse)
    assert_all_close(found, results_and_gradients(one_by_one, flow, inverse=inverse))


@pytest.mark.parametrize("name", FLOWS)
def test_round_trip(name):
    flow = in_turn(layers_of(name, "affine"))
    y, ladj = flow.call(ops.autoregressive)
    x, inverse_ladj = flow.at(y).call(ops.autoregressive, inverse=True)
    assert_close(x, flow.x, FLOAT64_GRADIENT)
    assert_close(inverse_ladj, -ladj, FLOAT64_GRADIENT)


@pytest.mark.parametrize("inverse", [False, True])
def test_only_the_gradients_asked_for(inverse):
    """Between the layers there is a gradient all the same."""
    flow = in_turn(layers_of("of both kinds, other widths"))
    every = results_and_gradients(ops.autoregressive, flow, inverse=inverse)[2:]
    for wanted, expected in enumerate(every):
        tensors = [tensor.clone() for tensor in flow.tensors]
        tensors[wanted].requires_grad_()
        results = flow.of(tensors).call(ops.autoregressive, inverse=inverse)
        found = torch.autograd.grad(results, tensors[wanted], gradients_like(flow))
        assert torch.equal(found[0], expected)


def test_no_rows():
    flow = in_turn(layers_of("coupling by halves", rows=0))
    y, ladj, *grads = results_and_gradients(ops.autoregressive, flow)
    assert y.shape == (0, 7)
    assert ladj.shape == (0,)
    assert not any(grad.any() for grad in grads)


def small():
    """Two layers of both kinds, for differences of functions."""
    shared = {"features": 2, "rows": 2, "bins": 2, "hidden": (3,)}
    return in_turn([FlowLayer.random(**shared, stays=[0]), FlowLayer.random(**shared, seed=1)])


@pytest.mark.parametrize("inverse", [False, True])
def test_gradcheck(inverse):
    flow = small().leaves()

    def function(*tensors):
        return flow.of(tensors).call(ops.autoregressive, inverse=inverse)

    assert torch.autograd.gradgradcheck(function, flow.tensors)


def test_opcheck_and_compile():
    flow = small().leaves()
    arguments = (
        flow.x, None, flow.weights, flow.biases, flow.degrees, "silu", "spline", 5.0, 1e-3, False,
    )  # fmt: skip
    torch.library.opcheck(torch.ops.pyneural.autoregressive.default, arguments)
    compiled = torch.compile(ops.autoregressive, fullgraph=True)
    found = results_and_gradients(compiled, flow)
    assert_all_close(found, results_and_gradients(ops.autoregressive, flow))


def test_what_is_saved_of_other_layers_is_refused():
    layers = layers_of("in both directions", "affine")
    options = "tanh", "affine", 5.0, 1e-3, False

    def arguments(flow):
        return flow.x, flow.context, flow.weights, flow.biases, flow.degrees

    two, three = in_turn(layers[:2]), in_turn(layers)
    y, ladj, saved = torch.ops.pyneural.autoregressive_with_saved(*arguments(two), *options)
    with pytest.raises(ValueError, match="saved: expected what autoregressive_with_saved"):
        torch.ops.pyneural.autoregressive_backward(
            y, ladj, *arguments(three), saved, *options, [True] * 3
        )
