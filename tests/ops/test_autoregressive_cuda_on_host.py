"""The CUDA kernels of flow layers where there is no GPU: on the host, by a stand-in."""

from __future__ import annotations

import ctypes
import math
import sys

import pytest
import torch

from pyneural.ops import reference
from pyneural.ops.activations import VALUES
from tests.ops.cuda_on_host_build import ASCENDING, DESCENDING, SHUFFLED, build
from tests.ops.flow_layers import FlowLayer
from tests.tolerances import assert_close

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="coroutines by ucontext.h")
HOPPER, LITTLE = 227 << 10, 48 << 10  # bytes of shared memory of a block
GLOBAL, SHARED = 0, 1
BOUND, SLOPE = 5.0, 1e-3
TOLERANCE = {torch.float64: 1e-11, torch.float32: 2e-4}
for_both_types = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
for_both_ways = pytest.mark.parametrize("inverse", [False, True], ids=["forward", "inverse"])
for_both_transforms = pytest.mark.parametrize("transform", ["affine", "spline"])


@pytest.fixture(scope="module")
def library():
    return build("autoregressive")


def random_grads(layer):
    generator = torch.Generator().manual_seed(5)
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64).to(layer.x.dtype)
        for shape in (layer.x.shape, layer.x.shape[:1])
    ]


def transformed(layer):
    seen = layer.weights[0].shape[1] - (0 if layer.context is None else layer.context.shape[1])
    features = layer.x.shape[1]
    return features - seen if seen < features else features


def run(
    library, layer, inverse, order=ASCENDING, multiprocessors=1, shared=HOPPER, wanted=(True,) * 3
):
    """y, ladj, the wanted gradients of x, context and all parameters, where the slabs were."""
    x, context, dtype = layer.x.contiguous(), layer.context, layer.x.dtype
    pairs = zip(layer.weights, layer.biases, strict=True)
    flat = torch.cat([part.flatten() for pair in pairs for part in pair])
    widths = [layer.weights[0].shape[1], *(len(w) for w in layer.weights)]
    columns = 0 if context is None else context.shape[1]
    each = widths[-1] // transformed(layer)
    function = library.run_double if dtype == torch.float64 else library.run_float

    def call(backward, seen, results):
        tensors = layer.degrees, x, context, flat, seen, *random_grads(layer), *results
        return function(
            backward, multiprocessors, shared, order, layer.activation.encode(),
            int(layer.transform == "affine"), ctypes.c_double(BOUND), ctypes.c_double(SLOPE),
            int(inverse), len(layer.weights), (ctypes.c_int64 * len(widths))(*widths),
            *map(ctypes.c_int64, (*x.shape, columns, each)),
            *(ctypes.c_void_p(0 if t is None else t.data_ptr()) for t in tensors),
        )  # fmt: skip

    values = torch.full_like(x, math.nan), x.new_full((len(x),), math.nan)
    places = [call(0, None, (*values, None, None, None))]
    grads = [
        torch.full_like(t, math.nan) if want and t is not None else None
        for want, t in zip(wanted, (x, context, flat), strict=True)
    ]
    places.append(call(1, values[0] if inverse else x, (None, None, *grads)))
    return [t for t in (*values, *grads) if t is not None], places


def exact(layer, inverse):
    """The same by plain torch in float64."""
    wide = layer.map(torch.Tensor.double)
    y, ladj = wide.call(reference.autoregressive, bound=BOUND, slope=SLOPE, inverse=inverse)
    grad_y, grad_ladj = (g.double() for g in random_grads(layer))
    grads = reference.autoregressive_backward(
        grad_y, grad_ladj, wide.x, wide.context, wide.weights, wide.biases, [wide.degrees], y,
        wide.activation, wide.transform, BOUND, SLOPE, inverse, (True,) * 3,
    )  # fmt: skip
    return [y, ladj, *(g for g in grads if g.numel())]


def check(library, layer, inverse, **options):
    found, places = run(library, layer, inverse, **options)
    for one, other in zip(found, exact(layer, inverse), strict=True):
        assert_close(one, other, TOLERANCE[layer.x.dtype])
    return found, places


LAYERS = {
    "one feature": {"features": 1, "context": 2, "hidden": (5,)},
    "no hidden layer": {"features": 3, "hidden": ()},
    "two": {"features": 5, "hidden": (16, 16), "rows": 130},
    "context": {"features": 4, "context": 3, "hidden": (37, 21, 9), "rows": 70},
    "random order": {"features": 7, "hidden": (40, 70), "order": [3, 0, 6, 1, 5, 2, 4]},
    "passes": {"features": 6, "hidden": (12, 12), "passes": 2},
    "many": {"features": 70, "hidden": (150,), "rows": 3},
    "narrow": {"features": 9, "hidden": (3, 2)},
    "coupling": {"features": 7, "hidden": (20, 33), "rows": 70, "stays": [0, 2, 5, 6]},
    "coupling by a context": {"features": 3, "context": 2, "hidden": (9,), "stays": [1]},
}


@for_both_types
@for_both_ways
@for_both_transforms
@pytest.mark.parametrize("name", LAYERS)
def test_against_plain_torch(library, name, transform, inverse, dtype):
    layer = FlowLayer.random(**LAYERS[name], transform=transform, dtype=dtype)
    _, places = check(library, layer, inverse)
    assert places == [SHARED, SHARED] or name == "many"


@pytest.mark.parametrize("activation", VALUES)
def test_activations(library, activation):
    check(library, FlowLayer.random(3, 1, (9, 8), activation=activation), True)
    check(library, FlowLayer.random(3, 1, (9, 8), activation=activation), False)


@for_both_ways
def test_the_order_of_threads_makes_no_difference(library, inverse):
    layer = FlowLayer.random(4, 2, (20, 11), rows=70, dtype=torch.float32)
    first, *others = (
        run(library, layer, inverse, order)[0] for order in (ASCENDING, DESCENDING, SHUFFLED)
    )
    for other in others:
        assert all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


@for_both_ways
@for_both_transforms
def test_units_that_do_not_fit_into_shared_memory(library, transform, inverse):
    layer = FlowLayer.random(20, 2, (100, 70), rows=70, transform=transform)
    assert check(library, layer, inverse, shared=LITTLE)[1] == [GLOBAL, GLOBAL]


@for_both_ways
def test_parameters_that_fit_for_a_few_features_at_a_time(library, inverse):
    layer = FlowLayer.random(7, 0, (30, 30), bins=8, rows=70)
    assert check(library, layer, inverse, shared=150 << 10)[1] == [SHARED, SHARED]


@for_both_ways
def test_blocks_share_the_rows(library, inverse):
    layer = FlowLayer.random(3, 2, (12, 12), rows=400)
    alone, _ = check(library, layer, inverse)
    shared, _ = check(library, layer, inverse, multiprocessors=2)
    assert all(torch.equal(a, b) for a, b in zip(alone[:-1], shared[:-1], strict=True))


@for_both_ways
def test_only_what_is_wanted(library, inverse):
    layer = FlowLayer.random(3, 2, (9, 8))
    (_, _, *grads), _ = run(library, layer, inverse)
    for i, grad in enumerate(grads):
        wanted = tuple(j == i for j in range(3))
        found, _ = run(library, layer, inverse, wanted=wanted)
        assert torch.equal(found[2], grad)


@for_both_ways
def test_as_many_features_must_stay_as_the_network_sees(library, inverse):
    layer = FlowLayer.random(5, hidden=(9,), stays=[0, 2])
    layer.degrees[0] = 0
    (_, ladj, *_), _ = run(library, layer, inverse)
    assert ladj.isnan().all()  # what degrees are, only the device knows


def test_what_is_masked_has_no_gradient(library):
    layer = FlowLayer.random(3, 0, (9,), transform="affine")
    flat = run(library, layer, False)[0][-1]
    of_first = flat[: layer.weights[0].numel()].view_as(layer.weights[0])
    assert not of_first[:, 2].any()  # no unit sees the last feature
