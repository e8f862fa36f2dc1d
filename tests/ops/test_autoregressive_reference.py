"""The layer of an autoregressive flow in plain torch against zuko."""

from __future__ import annotations

import pytest
import torch

from pyneural.ops import reference
from tests.ops.flow_layers import FlowLayer, linears
from tests.tolerances import FLOAT64, FLOAT64_GRADIENT, assert_close

LAYERS = {
    "two features": {"features": 2},
    "in descending order": {"order": [4, 3, 2, 1, 0]},
    "permuted": {"features": 7, "order": [3, 0, 6, 2, 5, 1, 4]},
    "coupling": {"features": 5, "passes": 2},
    "three passes": {"features": 7, "order": [3, 0, 6, 2, 5, 1, 4], "passes": 3},
    "context": {"context": 3},
    "coupling with context": {"features": 4, "context": 2, "passes": 2},
    "no hidden layer": {"hidden": ()},
    "one hidden layer": {"hidden": (20,), "activation": "relu"},
    "three of other widths": {"hidden": (20, 7, 33), "activation": "silu", "context": 1},
    "fewer units than degrees": {"features": 9, "hidden": (3, 5)},
    "many features": {"features": 64, "hidden": (70, 70), "rows": 5},
}


def reference_layer(x, context, weights, biases, degrees, activation, transform, inverse=False):
    options = activation, transform, 5.0, 1e-3, inverse
    return reference.autoregressive(x, context, weights, biases, degrees, *options)


@pytest.mark.parametrize("transform", ["affine", "spline"])
@pytest.mark.parametrize("name", LAYERS)
def test_against_zuko(name, transform):
    layer = FlowLayer.random(**LAYERS[name], transform=transform).leaves()
    lazy = layer.zuko()
    theirs = lazy(layer.context)
    y, ladj = theirs.call_and_ladj(layer.x)
    found = layer.call(reference_layer)
    assert_close(found[0], y, FLOAT64)
    assert_close(found[1], ladj, FLOAT64)

    grad_y, grad_ladj = torch.randn_like(y), torch.randn_like(ladj)
    layers = linears(lazy)
    parameters = [*(m.weight for m in layers), *(m.bias for m in layers)]
    inputs = layer.tensors[: len(layer.tensors) - len(parameters)]
    exact = torch.autograd.grad((y, ladj), [*inputs, *parameters], (grad_y, grad_ladj))
    grads = torch.autograd.grad(found, layer.tensors, (grad_y, grad_ladj))
    for one, other in zip(grads, exact, strict=True):
        assert_close(one, other, FLOAT64_GRADIENT)

    with torch.no_grad():
        x, inverse_ladj = layer.at(y.detach()).call(reference_layer, inverse=True)
        assert_close(x, layer.x, FLOAT64_GRADIENT)
        assert_close(x, theirs.inv(y), FLOAT64_GRADIENT)
        assert_close(inverse_ladj, -ladj, FLOAT64_GRADIENT)


def test_one_feature_is_transformed_by_the_context_alone():
    layer = FlowLayer.random(features=1, context=2, hidden=(8,))
    y, ladj = layer.call(reference_layer)
    a = torch.tanh(layer.context @ layer.weights[0][:, 1:].T + layer.biases[0])
    parameters = a @ layer.weights[1].T + layer.biases[1]
    transforms = pytest.importorskip("zuko.transforms")
    spline = transforms.MonotonicRQSTransform(*parameters[:, None].split((4, 4, 3), -1))
    exact = spline.call_and_ladj(layer.x)
    assert_close(y, exact[0], FLOAT64)
    assert_close(ladj, exact[1].sum(1), FLOAT64)
