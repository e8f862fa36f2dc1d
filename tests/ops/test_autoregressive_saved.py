"""What the forward of ops.autoregressive keeps for its backward."""

from __future__ import annotations

import pytest
import torch

from pyneural import ops
from tests.ops.flow_layers import FlowLayer
from tests.ops.test_autoregressive import gradients_like, in_plain_torch, value_and_gradients
from tests.tolerances import FLOAT64_GRADIENT, assert_close

OPS = torch.ops.pyneural
OPTIONS = "silu", "affine", 5.0, 1e-3, False


def layer_of(rows, dtype=torch.float64, **options):
    return FlowLayer.random(
        5, 1, (12, 9), rows, activation="silu", transform="affine", dtype=dtype, **options
    )


def arguments(layer):
    return layer.x, layer.context, layer.weights, layer.biases, layer.all_degrees


@pytest.mark.parametrize("rows", [1, 15, 16, 17, 63, 64, 65, 127, 200, 1003])
@pytest.mark.parametrize("stays", [None, [1, 2]])
def test_blocks_of_any_number_of_rows(rows, stays, threads):
    """Some end within a vector, some within a cache line."""
    threads(2)
    layer = layer_of(rows, stays=stays)
    grads = gradients_like(layer)
    for inverse in (False, True):
        found, exact = (
            value_and_gradients(form, layer, grads, inverse=inverse)
            for form in (ops.autoregressive, in_plain_torch)
        )
        for one, other in zip(found, exact, strict=True):
            assert_close(one, other, FLOAT64_GRADIENT)


def test_other_threads_in_the_backward(threads):
    layer = FlowLayer.random(7, 0, (64, 64), 3000, dtype=torch.float64).leaves()
    grads = gradients_like(layer)
    found = []
    for forward, backward in ((1, 2), (2, 1), (2, 2)):
        threads(forward)
        results = layer.call(ops.autoregressive)
        threads(backward)
        found.append(torch.autograd.grad(results, layer.tensors, grads))
    for one in found[1:]:
        for a, b in zip(one, found[0], strict=True):
            assert_close(a, b, FLOAT64_GRADIENT)


def test_calls_do_not_share_what_they_keep():
    layers = [layer_of(100, seed=seed).leaves() for seed in range(3)]
    grads = gradients_like(layers[0])
    alone = [value_and_gradients(ops.autoregressive, layer, grads)[2:] for layer in layers]
    results = [layer.call(ops.autoregressive) for layer in layers]
    for layer, result, exact in zip(layers, results, alone, strict=True):
        found = torch.autograd.grad(result, layer.tensors, grads, retain_graph=True)
        again = torch.autograd.grad(result, layer.tensors, grads)
        assert all(map(torch.equal, found, exact))
        assert all(map(torch.equal, again, exact))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_anything_else_is_refused(dtype):
    layer = layer_of(100, dtype)
    y, ladj, saved = OPS.autoregressive_with_saved(*arguments(layer), *OPTIONS)
    other = OPS.autoregressive_with_saved(*arguments(layer_of(90, dtype)), *OPTIONS)[2]
    for wrong in (
        saved[1:],
        other,
        saved * torch.nan,
        torch.zeros_like(saved),
        saved.clone() * 1e9,
    ):
        with pytest.raises(ValueError, match="saved: expected what autoregressive_with_saved"):
            OPS.autoregressive_backward(
                y, ladj, *arguments(layer), wrong, *OPTIONS, [True, True, True]
            )
    with pytest.raises(ValueError, match=r"saved: expected (Float|Double) like x, got Half"):
        OPS.autoregressive_backward(
            y, ladj, *arguments(layer), saved.half(), *OPTIONS, [True, True, True]
        )
