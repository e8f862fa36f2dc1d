"""ops.autoregressive and its form in plain torch against zuko, and under all that checks an op."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch

from pyneural import ops
from pyneural.ops import reference
from pyneural.ops.activations import NAMES
from tests.ops.flow_layers import FlowLayer, linears
from tests.tolerances import (
    FLOAT64,
    FLOAT64_GRADIENT,
    SPLINE_ERROR_RATIO,
    assert_as_good_as_torch,
    assert_close,
)

# Orders, passes, depths and widths; off every tile; few rows, blocks and threads.
LAYERS = {
    "two features": {"features": 2},
    "in descending order": {"order": [4, 3, 2, 1, 0], "rows": 1},
    "permuted": {"features": 7, "order": [3, 0, 6, 2, 5, 1, 4], "rows": 150},
    "two passes": {"features": 5, "passes": 2},
    "three passes": {"features": 7, "order": [3, 0, 6, 2, 5, 1, 4], "passes": 3},
    "context": {"context": 3},
    "two passes with context": {"features": 4, "context": 2, "passes": 2},
    "no hidden layer": {"hidden": ()},
    "one hidden layer": {"hidden": (20,), "activation": "relu"},
    "three of other widths": {"hidden": (20, 7, 33), "activation": "silu", "context": 1},
    "fewer units than degrees": {"features": 9, "hidden": (3, 5)},
    "many features": {"features": 64, "hidden": (70, 70), "rows": 5},
    "wide, many rows": {"features": 3, "hidden": (140, 100), "rows": 500, "context": 2},
    "one of two stays": {"features": 2, "stays": [1]},
    "every second stays": {"features": 7, "stays": [0, 2, 4, 6], "rows": 150},
    "most stay, context": {"features": 5, "stays": [0, 1, 3, 4], "context": 2},
    "one of many stays": {"features": 64, "stays": [40], "hidden": (70,), "rows": 5, "context": 1},
    "half stay, many rows": {"features": 6, "stays": [1, 2, 5], "hidden": (140, 90), "rows": 500},
    "some stay, no hidden layer": {"features": 4, "stays": [0, 2], "hidden": ()},
}


def in_plain_torch(x, context, weights, biases, degrees, activation, transform, inverse=False):
    options = activation, transform, 5.0, 1e-3, inverse
    return reference.autoregressive(x, context, weights, biases, degrees, *options)


FORMS = {"kernel": ops.autoregressive, "plain torch": in_plain_torch}
# Plain torch inverts by a pass for each feature.
CASES = [*itertools.product(LAYERS, ["affine", "spline"], FORMS)]
CASES = [case for case in CASES if case[::2] != ("many features", "plain torch")]


def value_and_gradients(function, layer, grads, **options):
    """y, ladj and the gradients of all tensors of the layer."""
    layer = layer.leaves()
    results = layer.call(function, **options)
    return [*results, *torch.autograd.grad(results, layer.tensors, grads)]


def gradients_like(layer):
    generator = torch.Generator().manual_seed(1)
    shapes = layer.x.shape, layer.x.shape[:1]
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64).to(layer.x) for shape in shapes
    ]


def assert_all_close(found, exact):
    assert len(found) == len(exact)
    for one, other in zip(found, exact, strict=True):
        assert_close(one, other, FLOAT64_GRADIENT)


@pytest.mark.parametrize(("name", "transform", "form"), CASES)
def test_against_zuko(name, transform, form):
    layer = FlowLayer.random(**LAYERS[name], transform=transform).leaves()
    lazy = layer.zuko()
    theirs = lazy(layer.context)
    exact = theirs.call_and_ladj(layer.x)
    grads = gradients_like(layer)
    found = value_and_gradients(FORMS[form], layer, grads)
    for one, other in zip(found, exact, strict=False):
        assert_close(one, other, FLOAT64)

    layers = linears(lazy)
    parameters = [*(m.weight for m in layers), *(m.bias for m in layers)]
    inputs = layer.tensors[: len(layer.tensors) - len(parameters)]
    assert_all_close(found[2:], torch.autograd.grad(exact, [*inputs, *parameters], grads))

    with torch.no_grad():
        y, ladj = exact
        x, inverse_ladj = layer.at(y.detach()).call(FORMS[form], inverse=True)
        assert_close(x, layer.x, FLOAT64_GRADIENT)
        assert_close(x, theirs.inv(y), FLOAT64_GRADIENT)
        assert_close(inverse_ladj, -ladj, FLOAT64_GRADIENT)


@pytest.mark.parametrize("form", FORMS)
def test_one_feature_is_transformed_by_the_context_alone(form):
    layer = FlowLayer.random(features=1, context=2, hidden=(8,))
    y, ladj = layer.call(FORMS[form])
    a = torch.tanh(layer.context @ layer.weights[0][:, 1:].T + layer.biases[0])
    parameters = a @ layer.weights[1].T + layer.biases[1]
    transforms = pytest.importorskip("zuko.transforms")
    spline = transforms.MonotonicRQSTransform(*parameters[:, None].split((4, 4, 3), -1))
    exact = spline.call_and_ladj(layer.x)
    assert_close(y, exact[0], FLOAT64)
    assert_close(ladj, exact[1].sum(1), FLOAT64)


@pytest.mark.parametrize(("name", "transform", "form"), CASES)
def test_gradient_of_the_inverse(name, transform, form):
    """It is that of the solution x of f(x) = y: solved with the Jacobian, row by row."""
    layer = FlowLayer.random(**LAYERS[name] | {"rows": 6}, transform=transform)
    grad_x, grad_ladj = gradients_like(layer)
    found = value_and_gradients(FORMS[form], layer, (grad_x, grad_ladj), inverse=True)

    at_x = layer.at(found[0].detach()).leaves()
    y, ladj = at_x.call(in_plain_torch)
    (of_ladj,) = torch.autograd.grad(ladj, at_x.x, -grad_ladj, retain_graph=True)
    jacobian = torch.stack(
        [torch.autograd.grad(y[:, d].sum(), at_x.x, retain_graph=True)[0]
         for d in range(y.shape[1])], 1
    )  # fmt: skip
    grad_y = torch.linalg.solve(jacobian.mT, grad_x + of_ladj)
    others = torch.autograd.grad((y, ladj), at_x.tensors[1:], (-grad_y, -grad_ladj))
    assert_close(y, layer.x, FLOAT64_GRADIENT)
    assert_close(found[1], -ladj, FLOAT64_GRADIENT)
    assert_all_close(found[2:], [grad_y, *others])


@pytest.mark.parametrize("activation", NAMES)
@pytest.mark.parametrize("stays", [None, [1, 4]])
@pytest.mark.parametrize("transform", ["affine", "spline"])
def test_every_activation_in_float32(activation, transform, stays):
    layer = FlowLayer.random(
        5, 2, (33, 20), 150, [2, 0, 4, 1, 3], activation=activation, transform=transform,
        dtype=torch.float32, stays=stays,
    )  # fmt: skip
    grads = gradients_like(layer)
    exact = value_and_gradients(in_plain_torch, layer.map(torch.Tensor.double),
                                [g.double() for g in grads])  # fmt: skip
    theirs = value_and_gradients(in_plain_torch, layer, grads)
    for triple in zip(
        value_and_gradients(ops.autoregressive, layer, grads), theirs, exact, strict=True
    ):
        assert_as_good_as_torch(*triple, SPLINE_ERROR_RATIO)


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("transform", ["affine", "spline"])
@pytest.mark.parametrize("name", LAYERS)
def test_round_trip(name, transform, dtype, limit):
    """For parameters of order 1, as a network has them; a random one may be ill-conditioned."""
    layer = FlowLayer.random(**LAYERS[name], transform=transform, dtype=dtype)
    layer.weights[-1].mul_(0.3)
    y, ladj = layer.call(ops.autoregressive)
    x, inverse_ladj = layer.at(y).call(ops.autoregressive, inverse=True)
    assert (x - layer.x).abs().max() <= limit * layer.x.abs().max().clamp_min(1)
    assert (ladj + inverse_ladj).abs().max() <= 10 * limit


def masked_elements(layer):
    """For each weight, where no path of rising degrees leads through it."""
    if layer.stays is not None:
        return [torch.zeros_like(weight, dtype=torch.bool) for weight in layer.weights]
    features = layer.x.shape[1]
    widths = [len(w) for w in layer.weights[:-1]]
    order, *hidden = layer.degrees.split([features, *widths])
    columns = layer.weights[0].shape[1] - features
    below = [torch.cat((order + 1, torch.zeros(columns, dtype=torch.long))), *hidden]
    above = [*hidden, order.repeat_interleave(len(layer.weights[-1]) // features)]
    return [i[None] > o[:, None] for i, o in zip(below, above, strict=True)]


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_masked_weights_have_no_gradient_and_no_effect(name, inverse):
    layer = FlowLayer.random(**LAYERS[name])
    grads = gradients_like(layer)
    found = value_and_gradients(ops.autoregressive, layer, grads, inverse=inverse)
    inputs = 2 + 1 + (layer.context is not None)
    masks = masked_elements(layer)
    for grad, mask in zip(found[inputs:], masks, strict=False):
        assert (grad[mask] == 0).all()
    spoiled = [w.masked_fill(m, torch.nan) for w, m in zip(layer.weights, masks, strict=True)]
    again = value_and_gradients(
        ops.autoregressive, replace(layer, weights=spoiled), grads, inverse=inverse
    )
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))


def test_any_degrees():
    """Gaps, ties, hidden units that see nothing and such as no feature sees; also of coupling."""
    generator = torch.Generator().manual_seed(3)
    for seed in range(10):
        layer = FlowLayer.random(4, 2, (9, 11), 7, seed=seed)
        degrees = torch.randint(-2, 9, layer.degrees.shape, generator=generator)
        coupling = FlowLayer.random(4, 2, (9, 11), 7, seed=seed, stays=[1, 2])
        stays = torch.where(coupling.stays, -1, degrees[:4].clamp_min(0))
        others = replace(coupling, degrees=torch.cat((stays, degrees[4:])))
        for one in (replace(layer, degrees=degrees), others):
            grads = gradients_like(one)
            for inverse in (False, True):
                found, exact = (
                    value_and_gradients(f, one, grads, inverse=inverse) for f in FORMS.values()
                )
                assert_all_close(found, exact)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize(("features", "stays"), [(1, None), (3, None), (3, [1])])
def test_no_rows(features, stays, inverse, form):
    layer = FlowLayer.random(features, 2, (5,), rows=0, stays=stays)
    y, ladj, *grads = value_and_gradients(
        FORMS[form], layer, gradients_like(layer), inverse=inverse
    )
    assert y.shape == (0, features)
    assert ladj.shape == (0,)
    assert not any(grad.any() for grad in grads)


@pytest.mark.parametrize("stays", [None, [0, 3]])
def test_only_the_gradients_asked_for(stays):
    layer = FlowLayer.random(context=2, stays=stays)
    for inverse in (False, True):
        exact = value_and_gradients(
            ops.autoregressive, layer, gradients_like(layer), inverse=inverse
        )[2:]
        for wanted, expected in enumerate(exact):
            tensors = [t.clone() for t in layer.tensors]
            tensors[wanted].requires_grad_()
            results = layer.of(tensors).call(ops.autoregressive, inverse=inverse)
            found = torch.autograd.grad(results, tensors[wanted], gradients_like(layer))
            assert torch.equal(found[0], expected)


@pytest.mark.parametrize("stays", [None, [0, 3]])
def test_not_contiguous(stays):
    layer = FlowLayer.random(context=2, stays=stays)
    strided = layer.map(lambda t: t.repeat_interleave(2, dim=-1)[..., ::2])
    strided = replace(strided, degrees=layer.degrees.repeat_interleave(2)[::2])
    assert not any(t.is_contiguous() for t in strided.tensors)
    grads = gradients_like(layer)
    found, exact = (value_and_gradients(ops.autoregressive, one, grads) for one in (strided, layer))
    assert all(torch.equal(a, b) for a, b in zip(found, exact, strict=True))


def small(**options):
    return FlowLayer.random(**{"features": 3, "hidden": (4,), "rows": 2, "bins": 3} | options)


@pytest.mark.parametrize(
    ("transform", "inverse", "context", "stays"),
    [*itertools.product(["affine", "spline"], [False, True], [0, 1], [None, [1]])],
)
def test_gradcheck(transform, inverse, context, stays):
    layer = small(
        features=2, hidden=(3,), bins=2, transform=transform, context=context, stays=stays
    ).leaves()

    def function(*tensors):
        return layer.of(tensors).call(ops.autoregressive, inverse=inverse)

    assert torch.autograd.gradcheck(function, layer.tensors)
    assert torch.autograd.gradgradcheck(function, layer.tensors)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize(("context", "stays"), [(0, None), (2, None), (2, [0])])
def test_opcheck_and_compile(inverse, context, stays):
    layer = small(context=context, stays=stays).leaves()
    arguments = (
        layer.x, layer.context, layer.weights, layer.biases, layer.all_degrees, "tanh", "spline",
        5.0, 1e-3, inverse,
    )  # fmt: skip
    torch.library.opcheck(torch.ops.pyneural.autoregressive.default, arguments)
    compiled = torch.compile(ops.autoregressive, fullgraph=True)
    grads = gradients_like(layer)
    found = value_and_gradients(compiled, layer, grads, inverse=inverse)
    exact = value_and_gradients(ops.autoregressive, layer, grads, inverse=inverse)
    assert_all_close(found, exact)


@pytest.mark.parametrize("stays", [None, [0]])
def test_torch_func(stays):
    layer = small(context=1, stays=stays)

    def function(x):
        y, ladj = (
            layer.at(x[None])
            .of([x[None], layer.context[:1], *layer.tensors[2:]])
            .call(ops.autoregressive)
        )
        return torch.cat((y[0], ladj))

    jacobian = torch.func.vmap(torch.func.jacrev(function))(layer.x)
    assert_close(torch.func.vmap(torch.func.jacfwd(function))(layer.x), jacobian, FLOAT64)
    # The logarithm of the determinant is the sum of those of the diagonal.
    ladj = torch.func.vmap(function)(layer.x)[:, -1]
    assert_close(torch.linalg.slogdet(jacobian[:, :3])[1], ladj, FLOAT64_GRADIENT)


def test_autocast_computes_in_float32():
    layer = FlowLayer.random(context=2, dtype=torch.float32)
    exact = layer.call(ops.autoregressive)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer.map(torch.Tensor.bfloat16).call(ops.autoregressive)
        same = layer.call(ops.autoregressive)
    assert all(t.dtype == torch.float32 for t in found)
    assert all(torch.equal(a, b) for a, b in zip(same, exact, strict=True))


@pytest.mark.parametrize("inverse", [False, True])
def test_far_points_have_finite_results(inverse):
    far = torch.tensor([-1e6, -5.0, 0.0, 5.0, 1e6, 1e30])
    for transform, stays in itertools.product(("affine", "spline"), (None, [1])):
        layer = FlowLayer.random(
            3, hidden=(8,), transform=transform, dtype=torch.float32, stays=stays
        )
        layer = layer.at(torch.cartesian_prod(far, far, far))
        grads = gradients_like(layer)
        for result in value_and_gradients(ops.autoregressive, layer, grads, inverse=inverse):
            assert result.isfinite().all()
