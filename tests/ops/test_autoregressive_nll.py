"""ops.autoregressive_nll: the loss of a flow and its gradient in one call."""

from __future__ import annotations

from dataclasses import replace
from math import log, pi

import pytest
import torch

from pyneural import ops
from pyneural.errors import ArgumentError
from pyneural.ops import reference
from tests.ops.flow_layers import FlowLayer
from tests.ops.test_autoregressive import LAYERS, assert_all_close
from tests.ops.test_autoregressive_layers import FLOWS, in_turn, layers_of, small
from tests.tolerances import FLOAT64, FLOAT64_GRADIENT, assert_as_good_as_torch, assert_close


def parts(flow):
    """The arguments of the op."""
    each = flow.degrees if isinstance(flow.degrees, list) else [flow.degrees]
    options = flow.activation, flow.transform, 5.0, 1e-3
    return flow.x, flow.context, flow.weights, flow.biases, each, *options


def by_layers(*arguments):
    """By the op of the layers, whose tests compare it with zuko."""
    z, ladj = ops.autoregressive(*arguments)
    normal = torch.distributions.Normal(0, torch.ones((), dtype=z.dtype))
    return -(normal.log_prob(z).sum(1) + ladj).mean()


def loss_and_gradients(function, flow, wanted=None, factor=1.0):
    flow = flow.leaves()
    loss = function(*parts(flow))
    tensors = flow.tensors if wanted is None else [flow.tensors[i] for i in wanted]
    return [loss, *torch.autograd.grad(factor * loss, tensors)]


@pytest.mark.parametrize("transform", ["affine", "spline"])
@pytest.mark.parametrize("name", [*LAYERS, *FLOWS])
def test_against_the_layers(name, transform, threads):
    threads(2)
    if name in FLOWS:
        flow = in_turn(layers_of(name, transform))
    else:
        flow = FlowLayer.random(**LAYERS[name], transform=transform)
    found = loss_and_gradients(ops.autoregressive_nll, flow, factor=-2.5)
    assert_all_close(found, loss_and_gradients(by_layers, flow, factor=-2.5))
    with torch.no_grad():
        assert_close(ops.autoregressive_nll(*parts(flow)), found[0], FLOAT64)
        assert_close(reference.autoregressive_nll(*parts(flow)), found[0], FLOAT64)


@pytest.mark.parametrize("rows", [1, 63, 64, 65, 700])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_rows_and_threads(rows, count, threads):
    flow = in_turn(layers_of("coupling by halves", "affine", rows=rows))
    exact = loss_and_gradients(by_layers, flow)
    threads(count)
    assert_all_close(loss_and_gradients(ops.autoregressive_nll, flow), exact)


def test_float32():
    exact = in_turn(layers_of("in both directions", rows=300))
    tensors = loss_and_gradients(by_layers, exact)
    single = replace(
        exact,
        x=exact.x.float(),
        weights=[w.float() for w in exact.weights],
        biases=[b.float() for b in exact.biases],
    )
    found = loss_and_gradients(ops.autoregressive_nll, single)
    theirs = loss_and_gradients(reference.autoregressive_nll, single)
    for one, other, true in zip(found, theirs, tensors, strict=True):
        assert one.dtype == torch.float32
        assert_as_good_as_torch(one, other, true)


def test_only_the_gradients_asked_for():
    """Frozen tensors get none, and those of the others are the same."""
    flow = in_turn(layers_of("of both kinds, other widths"))
    every = loss_and_gradients(ops.autoregressive_nll, flow)[1:]
    for wanted, expected in enumerate(every):
        tensors = [tensor.clone() for tensor in flow.tensors]
        tensors[wanted].requires_grad_()
        loss = ops.autoregressive_nll(*parts(flow.of(tensors)))
        (found,) = torch.autograd.grad(loss, tensors[wanted])
        assert_close(found, expected, FLOAT64)


def test_a_weight_that_is_shared_gets_the_sum():
    flow = in_turn(layers_of("coupling by halves", "affine")).leaves()
    depth = len(flow.weights) // len(flow.degrees)
    weights = [*flow.weights[: 2 * depth], *flow.weights[: 2 * depth]]  # layers 2 and 3 are 0 and 1
    shared = replace(flow, weights=weights)
    found, expected = (
        torch.autograd.grad(function(*parts(shared)), flow.weights[: 2 * depth])
        for function in (ops.autoregressive_nll, by_layers)
    )
    assert_all_close(found, expected)


def test_gradient_of_the_gradient():
    flow = small().leaves()

    def function(*tensors):
        return ops.autoregressive_nll(*parts(flow.of(tensors)))

    assert torch.autograd.gradcheck(function, flow.tensors)
    assert torch.autograd.gradgradcheck(function, flow.tensors)


def test_a_second_backward_and_a_changed_weight():
    flow = small().leaves()
    loss = ops.autoregressive_nll(*parts(flow))
    first = torch.autograd.grad(loss, flow.tensors, retain_graph=True)
    assert_all_close(torch.autograd.grad(loss, flow.tensors, retain_graph=True), first)
    with torch.no_grad():
        flow.weights[0].add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(loss, flow.tensors)


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("kind", ["a weight twice", "a bias of a weight", "rows of a bias"])
def test_inputs_that_depend_on_each_other(kind, create_graph):
    flow = in_turn(layers_of("coupling by halves", "affine")).leaves()
    x, context, weights, biases, *others = parts(flow)
    if kind == "a weight twice":
        half = len(weights) // 2  # layers 2 and 3 have the shapes of 0 and 1
        weights = [*weights[:half], *weights[:half]]
    elif kind == "a bias of a weight":
        biases = [weights[0].sum(1), *biases[1:]]
    else:
        x = x * biases[0].sum()
    found, expected = (
        torch.autograd.grad(
            function(x, context, weights, biases, *others),
            [weights[0], biases[1]],
            create_graph=create_graph,
        )
        for function in (ops.autoregressive_nll, by_layers)
    )
    assert_all_close(found, expected)


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_gradients_belong_to_the_caller(factor):
    """To change the first ones changes no others, though the last are what the forward saved."""
    flow = small().leaves()
    loss = factor * ops.autoregressive_nll(*parts(flow))
    expected = loss_and_gradients(by_layers, flow, factor=factor)[1:]
    for last in (False, False, True):
        found = torch.autograd.grad(loss, flow.tensors, retain_graph=not last)
        assert_all_close(found, expected)
        for gradient in found:
            gradient.zero_()


def test_gradients_of_several_multiples():
    """The backward of a batch of gradients, which are no plain tensors."""
    flow = small().leaves()
    factors = torch.tensor([1.0, -0.5], dtype=torch.float64)
    loss = ops.autoregressive_nll(*parts(flow))
    found = torch.autograd.grad(loss, flow.tensors, factors, is_grads_batched=True)
    for factor, *ours in zip(factors, *found, strict=True):
        assert_all_close(ours, loss_and_gradients(by_layers, flow, factor=factor)[1:])


def test_opcheck_and_compile():
    flow = small().leaves()
    torch.library.opcheck(torch.ops.pyneural.autoregressive_nll.default, parts(flow))
    compiled = torch.compile(ops.autoregressive_nll, fullgraph=True)
    found = loss_and_gradients(compiled, flow)
    assert_all_close(found, loss_and_gradients(ops.autoregressive_nll, flow))


def test_torch_func():
    flow = small()
    x, context, *others = parts(flow)

    def loss(x):
        return ops.autoregressive_nll(x, context, *others)

    (found,) = torch.autograd.grad(loss(x.requires_grad_()), x)
    assert_close(torch.func.grad(loss)(x.detach()), found, FLOAT64_GRADIENT)


def test_autocast_computes_in_float32():
    flow = small().map(lambda tensor: tensor.float())
    half = replace(flow, x=flow.x.bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        found = loss_and_gradients(ops.autoregressive_nll, half)
    flow = replace(flow, x=half.x.float())
    expected = loss_and_gradients(ops.autoregressive_nll, flow)
    assert found[0].dtype == torch.float32
    assert found[1].dtype == torch.bfloat16
    torch.testing.assert_close(found[1], expected.pop(1).bfloat16(), rtol=0, atol=0)
    assert all(torch.equal(a, b) for a, b in zip([found[0], *found[2:]], expected, strict=True))


def test_of_no_layer_it_is_that_of_the_normal_distribution():
    zero = [torch.zeros(4, 2)], [torch.zeros(4)]
    degrees = ops.autoregressive_degrees(torch.tensor([0, 1]), [])
    found = ops.autoregressive_nll(torch.ones(3, 2), None, *zero, degrees)
    assert float(found) == pytest.approx(1 + log(2 * pi))


def test_no_rows_are_refused():
    flow = small()
    with pytest.raises(ArgumentError, match="x: expected at least one row"):
        ops.autoregressive_nll(flow.x[:0], *parts(flow)[1:])
    with pytest.raises(ArgumentError, match=r"autoregressive_nll: degrees\[0\]"):
        ops.autoregressive_nll(flow.x[:, :1], *parts(flow)[1:])
