"""The CUDA kernels of the mlp where there is no GPU: arithmetic, barriers, buffers, on the host."""

from __future__ import annotations

import ctypes
import random
import sys
from itertools import pairwise

import pytest
import torch

from pyneural.ops import reference
from pyneural.ops.activations import VALUES
from tests.ops.cuda_on_host_build import ASCENDING, DESCENDING, SHUFFLED, build
from tests.tolerances import assert_close

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="coroutines by ucontext.h")
# Bytes of shared memory of a block.
AMPERE, HOPPER, LITTLE, NO_SLAB = 163 << 10, 227 << 10, 48 << 10, 8 << 10
# Of up to 16 layers; rounding errors add up from layer to layer.
TOLERANCE = {torch.float64: 1e-13, torch.float32: 3e-5}


@pytest.fixture(scope="module")
def library():
    return build("mlp")


class OnHost:
    """One network's forward and backward by the CUDA kernels."""

    def __init__(self, library, widths, rows, hidden, final, dtype):
        self.x = torch.randn(rows, widths[0], dtype=torch.float64)
        self.pairs = [
            (torch.randn(o, i, dtype=torch.float64) / i**0.5, torch.randn(o, dtype=torch.float64))
            for i, o in pairwise(widths)
        ]
        self.grad_y = torch.randn(rows, widths[-1], dtype=torch.float64)
        self.hidden, self.final, self.dtype = hidden, final, dtype
        self.widths, self.rows = widths, rows
        self.function = library.run_double if dtype == torch.float64 else library.run_float

    def exact(self):
        """y, grad_x and the flat gradient of the parameters."""
        weights, biases = ([p.requires_grad_() for p in ps] for ps in zip(*self.pairs, strict=True))
        x = self.x.clone().requires_grad_()
        y = reference.mlp(x, weights, biases, self.hidden, self.final)
        parameters = [part for pair in zip(weights, biases, strict=True) for part in pair]
        grad_x, *grads = torch.autograd.grad(y, [x, *parameters], self.grad_y)
        return y.detach(), grad_x, torch.cat([grad.flatten() for grad in grads])

    def run(self, backward, order=ASCENDING, multiprocessors=1, shared=HOPPER, wanted=(True, True)):
        flat = torch.cat([part.detach().flatten() for pair in self.pairs for part in pair])
        inputs = [t.to(self.dtype) for t in (self.x, flat, self.grad_y)]
        y, grad_x, grad_parameters = (
            torch.full_like(like.to(self.dtype), float("nan"))
            for like in (self.grad_y, self.x, flat)
        )
        results = [None if backward else y] + [
            result if backward and want else None
            for result, want in zip((grad_x, grad_parameters), wanted, strict=True)
        ]
        pointers = [ctypes.c_void_p(0 if t is None else t.data_ptr()) for t in (*inputs, *results)]
        layers = len(self.pairs)
        code = self.function(
            int(backward), multiprocessors, shared, order, self.hidden.encode(),
            self.final.encode(), layers, (ctypes.c_int64 * (layers + 1))(*self.widths),
            ctypes.c_int64(self.rows), *pointers,
        )  # fmt: skip
        assert code == 0
        return [result for result in results if result is not None]

    def both(self, *args, **kwargs):
        """y, grad_x and the flat gradient of the parameters."""
        return [*self.run(False, *args, **kwargs), *self.run(True, *args, **kwargs)]


def tile(library):
    """Columns of the last run's tiles, whether their slabs were shared memory, its blocks."""
    values = torch.zeros(3, dtype=torch.int64)
    library.tile_of_last_run(ctypes.c_void_p(values.data_ptr()))
    columns, is_shared, blocks = values.tolist()
    return columns, bool(is_shared), blocks


def check(library, widths, rows, hidden="tanh", final="linear", multiprocessors=1, shared=HOPPER):
    for dtype in TOLERANCE:
        network = OnHost(library, widths, rows, hidden, final, dtype)
        expected = network.exact()
        first = network.both(ASCENDING, multiprocessors, shared)
        for found, exact in zip(first, expected, strict=True):
            assert_close(found, exact, TOLERANCE[dtype] * max(1, len(widths) / 16))
    return network, first, expected


NETWORKS = [[1, 1], [3, 4], [2, 20, 20, 1], [7, 33, 5, 9], [3, *[6] * 12, 2], [40, 128, 3]]


@pytest.mark.parametrize("rows", [0, 1, 5, 128, 333])
@pytest.mark.parametrize("widths", NETWORKS, ids=str)
def test_shapes(library, widths, rows):
    network, first, _ = check(library, widths, rows)
    for order in (DESCENDING, SHUFFLED):
        again = network.both(order)
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize(
    "widths", [[2, *[3] * 63, 1], [3, 0, 5, 2], [0, 4, 1], [2, 7, 0, 3]], ids=str
)
def test_most_layers_and_layers_without_units(library, widths):
    check(library, widths, 37)


@pytest.mark.parametrize("seed", range(8))
def test_random_shapes(library, seed):
    draw = random.Random(seed)
    widths = [draw.randint(1, 90) for _ in range(draw.randint(2, 7))]
    hidden, final = draw.choices(list(VALUES), k=2)
    machine = draw.choice([1, 3, 20]), draw.choice([HOPPER, AMPERE, NO_SLAB])
    network, first, _ = check(library, widths, draw.randint(1, 300), hidden, final, *machine)
    again = network.both(draw.choice([DESCENDING, SHUFFLED]), *machine)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


# Multiprocessors of a machine on which 333 rows are divided into tiles of so many columns.
DIVISIONS = {128: 1, 64: 3, 32: 20}


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shared", [HOPPER, NO_SLAB])
def test_tiles_and_slabs(library, shared, dtype):
    """Sums over units do not depend on the tile, those over rows do."""
    network = OnHost(library, [3, 17, 9, 2], 333, "silu", "tanh", dtype)
    expected, of_all = network.exact(), []
    for columns, multiprocessors in DIVISIONS.items():
        runs = []
        for order in (ASCENDING, DESCENDING, SHUFFLED):
            runs.append(network.both(order, multiprocessors, shared))
            assert tile(library)[:2] == (columns, shared == HOPPER)
        for run in runs[1:]:
            assert all(torch.equal(a, b) for a, b in zip(run, runs[0], strict=True))
        for found, exact in zip(runs[0], expected, strict=True):
            assert_close(found, exact, TOLERANCE[dtype])
        of_all.append(runs[0])
    for y, grad_x, _ in of_all[1:]:
        assert torch.equal(y, of_all[0][0])
        assert torch.equal(grad_x, of_all[0][1])


@pytest.mark.parametrize(
    ("rows", "multiprocessors", "columns", "blocks"),
    [(1, 132, 32, 1), (1000, 132, 32, 32), (10_000, 132, 64, 157), (8000, 10, 128, 20)],
)
def test_tiles_fill_the_last_round(library, rows, multiprocessors, columns, blocks):
    """On multiprocessors that run two blocks each."""
    network = OnHost(library, [1, 2, 1], rows, "tanh", "linear", torch.float32)
    network.run(False, multiprocessors=multiprocessors)
    assert tile(library) == (columns, True, blocks)


def test_slabs_that_fill_a_multiprocessor(library):
    """Low tiles fit into shared memory, once a multiprocessor: better than others that do not."""
    network = OnHost(library, [2, 120, 120, 1], 380, "tanh", "linear", torch.float64)
    network.run(True, multiprocessors=4)
    assert tile(library) == (32, True, 4)


@pytest.mark.parametrize("activation", VALUES)
def test_activations(library, activation):
    check(library, [3, 9, 8, 2], 37, activation, "linear")
    check(library, [3, 9, 8, 2], 37, "relu", activation)
    check(library, [3, 9, 2], 37, activation, activation)


@pytest.mark.parametrize("shared", [LITTLE, AMPERE])
def test_layers_that_do_not_fit_into_shared_memory(library, shared):
    check(library, [8, *[64] * 4, 3], 150, "silu", "tanh", 1, shared)


def test_wider_than_a_product_tile(library):
    check(library, [4, 200, 2], 140, "gelu", "sigmoid")


def test_blocks_share_the_rows(library):
    network, first, expected = check(library, [2, 20, 20, 1], 1000)
    y, grad_x, grad_parameters = (*network.both(multiprocessors=2),)
    assert torch.equal(y, first[0])
    assert torch.equal(grad_x, first[1])
    assert_close(grad_parameters, expected[2], TOLERANCE[torch.float32])


def test_only_what_is_wanted(library):
    network, first, _ = check(library, [3, 9, 8, 2], 37, "sin")
    assert torch.equal(*network.run(True, wanted=(True, False)), first[1])
    assert torch.equal(*network.run(True, wanted=(False, True)), first[2])


def test_a_kernel_is_set_up_once_and_for_all_sizes(library):
    """A graph may capture launches of several sizes, and threads make them at the same time."""
    machine = 201 << 10  # of no other test
    pairs = torch.zeros(64, 2, dtype=torch.int64)

    def calls():
        count = library.calls_since(ctypes.c_int64(len(pairs)), ctypes.c_void_p(pairs.data_ptr()))
        return pairs[:count].tolist()

    calls()
    networks = [
        OnHost(library, widths, 100, "tanh", "linear", torch.float32)
        for widths in ([2, 20, 1], [2, 120, 1], [2, 40, 1])
    ]
    for network in networks:
        network.run(False, shared=machine)
    (set_up, bytes_of_all), *launches = calls()
    assert set_up
    assert bytes_of_all == machine
    assert [is_set_up for is_set_up, _ in launches] == [False] * 3
    assert launches[1][1] > 48 << 10 > launches[0][1]
    assert launches[1][1] > launches[2][1]
    for network in networks:  # another kernel
        network.run(True, shared=machine, wanted=(True, False))
    assert [is_set_up for is_set_up, _ in calls()] == [True, False, False, False]
