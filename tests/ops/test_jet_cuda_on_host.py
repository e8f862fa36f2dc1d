"""The CUDA kernels of the jet where there is no GPU: arithmetic, barriers, buffers, on the host."""

from __future__ import annotations

import ctypes
import random
import sys

import pytest
import torch
from torch import Tensor

from pyneural import ops
from pyneural.ops import Laplacian, LinearOperator, reference
from pyneural.ops.jet.derivatives import encode
from tests.ops.cuda_on_host_build import ASCENDING, DESCENDING, SHUFFLED, build
from tests.ops.jet_oracle import nested_jet
from tests.ops.networks import KINKED, SMOOTH, Network, gradients, jet
from tests.tolerances import FLOAT64, FLOAT64_GRADIENT, assert_close

FORWARD, BACKWARD, JACOBIAN = range(3)
HOPPER, NO_SLAB = 227 << 10, 8 << 10  # bytes of shared memory of a block

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="coroutines by ucontext.h")


@pytest.fixture(scope="module")
def library():
    return build("jet")


def flat(network: Network) -> Tensor:
    pairs = zip(network.weights, network.biases, strict=True)
    return torch.cat([part.flatten() for pair in pairs for part in pair])


def layer_by_layer(parameters: Tensor, network: Network) -> Tensor:
    """What networks.gradients gives, all weights before all biases, in the order of the kernels."""
    parts = parameters.split([tensor.numel() for tensor in network.tensors[1:]])
    return flat(network.of([network.x, *parts]))


class OnHost:
    """One network's ops by the CUDA kernels."""

    def __init__(
        self, library, network, activation, derivatives, order, multiprocessors, shared=HOPPER
    ):
        dtype = network.x.dtype
        self.function = library.run_double if dtype == torch.float64 else library.run_float
        self.network, self.parameters = network, flat(network)
        widths = [network.x.shape[-1], *map(len, network.weights)]
        encoded, coefficients = encode("jet_mlp", derivatives)
        self.options = (
            multiprocessors,
            shared,
            order,
            (ctypes.c_int64 * len(encoded))(*encoded),
            ctypes.c_int64(len(encoded)),
            (ctypes.c_double * len(coefficients))(*coefficients),
            ctypes.c_int64(len(coefficients)),
            activation.encode(),
            len(network.weights),
            (ctypes.c_int64 * len(widths))(*widths),
            ctypes.c_int64(network.x.shape[-2]),
            network.x.dim() == 3,
        )
        self.outputs = 1 + len(derivatives), network.x.shape[-2], widths[-1]

    def _run(self, op, grad_output=None, output=None, grad_x=None, grad_parameters=None):
        tensors = self.network.x, self.parameters, grad_output, output, grad_x, grad_parameters
        pointers = [ctypes.c_void_p(0 if t is None else t.data_ptr()) for t in tensors]
        assert self.function(op, *self.options, *pointers) == 0

    def _nan(self, *shape):
        return self.network.x.new_full(shape, float("nan"))

    def jet(self):
        output = self._nan(*self.outputs)
        self._run(FORWARD, output=output)
        return output

    def backward(self, grad_output, for_x=True, for_parameters=True):
        grad_x = self._nan(*self.network.x.shape) if for_x else None
        grad_parameters = self._nan(len(self.parameters)) if for_parameters else None
        self._run(BACKWARD, grad_output, grad_x=grad_x, grad_parameters=grad_parameters)
        return grad_x, grad_parameters

    def jacobian(self):
        channels, points, outputs = self.outputs
        jacobian = self._nan(points, channels * outputs, len(self.parameters))
        self._run(JACOBIAN, output=jacobian)
        return jacobian


FLOAT32 = 3e-5  # right or wrong; how close the device comes is for test_jet.py to say
BURGERS = [(1,), LinearOperator({(0,): 1, (1, 1): -0.003})]
CASES = [  # widths, derivatives, points, activation
    ([2, 20, 20, 1], [(0,), (1,), (1, 1)], 333, "tanh"),
    ([2, 20, 20, 1], BURGERS, 333, "tanh"),
    ([2, 20, 20, 1], BURGERS, 1, "tanh"),
    ([2, 7, 3], [], 5, "sin"),
    ([2, 7, 3], [], 130, "silu"),
    ([3, 33, 5, 2], [Laplacian(0, 1, 2), (0, 2)], 70, "gelu"),
    ([3, 9, 2], [LinearOperator({(0, 0, 1): -2, (2,): 0.5}), (1,), (1,)], 40, "sigmoid"),
    ([2, 9, 9, 2], [(0, 0, 1, 1), (1, 1, 1)], 21, "softplus"),
    ([1, 40, 1], [(0, 0, 0, 0)], 67, "silu"),
    ([2, 3], [(0,), (0, 1)], 9, "tanh"),
    ([4, 6, 5, 4], [(0, 1, 2, 3)], 11, "tanh"),
    ([2, *[6] * 12, 1], [(0,), (1, 1)], 40, "tanh"),
    ([2, 130, 130, 1], [(0,), (1, 1)], 37, "tanh"),  # slabs too large for shared memory
    ([70, 5, 1], [Laplacian(*range(70))], 3, "tanh"),  # a tile of one point
    ([2, *[3] * 63, 1], [(0,)], 9, "sin"),  # as many layers as there can be
    *(([2, 8, 8, 2], [(1,), (0,)], 50, activation) for activation in (*SMOOTH, *KINKED)),
]


OF_JETS = [  # of the network's inputs, as functions of coordinates
    ([3, 20, 20, 1], BURGERS, 333, "tanh"),
    ([130, 9, 2], [(0, 0, 1), (1,)], 1, "silu"),
    ([4, 7, 3], [], 70, "sin"),
    ([2, 3], [(0, 1, 1, 2)], 40, "gelu"),
    ([3, 130, 130, 1], [(0,), (1, 1)], 37, "tanh"),
]


@pytest.mark.parametrize(("widths", "derivatives", "points", "activation"), OF_JETS)
def test_jets_of_inputs_against_nested_autograd(library, widths, derivatives, points, activation):
    network = Network.random(widths, points)
    channels = 1 + len(ops.input_channels(derivatives))
    x = torch.randn(channels, points, widths[0], dtype=torch.float64)
    compare(library, network.of([x, *network.tensors[1:]]), derivatives, activation)


@pytest.mark.parametrize(("widths", "derivatives", "points", "activation"), CASES)
def test_against_nested_autograd(library, widths, derivatives, points, activation):
    compare(library, Network.random(widths, points), derivatives, activation)


def compare(library, network, derivatives, activation):
    network = network.leaves()
    exact = jet(nested_jet, network, activation, derivatives)
    grad_output = torch.randn_like(exact)
    exact_x, exact_parameters = gradients(exact, network, grad_output)
    network = network.map(Tensor.detach)
    exact_parameters = layer_by_layer(exact_parameters, network)
    small = len(exact_parameters) < 2000
    exact_jacobian = (
        reference.jet_mlp_jacobian(*network.parts, activation, *encode("", derivatives))
        if small
        else None
    )

    first = None
    for order in (ASCENDING, DESCENDING, SHUFFLED):
        kernels = OnHost(library, network, activation, derivatives, order, multiprocessors=1)
        found = kernels.jet(), *kernels.backward(grad_output)
        first = first or found
        assert all(torch.equal(a, b) for a, b in zip(first, found, strict=True))
    assert_close(first[0], exact, FLOAT64)
    assert_close(first[1], exact_x, FLOAT64_GRADIENT)
    assert_close(first[2], exact_parameters, FLOAT64_GRADIENT)

    assert torch.equal(kernels.backward(grad_output, for_parameters=False)[0], first[1])
    assert torch.equal(kernels.backward(grad_output, for_x=False)[1], first[2])
    if small:
        assert_close(kernels.jacobian(), exact_jacobian, FLOAT64_GRADIENT)

    # More blocks share the tiles in another way, and have lower ones or slabs in global memory,
    # which only the sum over points can see.
    for multiprocessors, shared in (3, HOPPER), (100, NO_SLAB):
        kernels = OnHost(
            library, network, activation, derivatives, ASCENDING, multiprocessors, shared
        )
        assert torch.equal(kernels.jet(), first[0])
        grad_x, grad_parameters = kernels.backward(grad_output)
        assert torch.equal(grad_x, first[1])
        assert_close(grad_parameters, exact_parameters, FLOAT64_GRADIENT)
    single = network.map(Tensor.float)
    kernels = OnHost(library, single, activation, derivatives, ASCENDING, multiprocessors=1)
    assert_close(kernels.jet(), exact, FLOAT32)
    grad_x, grad_parameters = kernels.backward(grad_output.float())
    assert_close(grad_x, exact_x, FLOAT32)
    assert_close(grad_parameters, exact_parameters, FLOAT32)


@pytest.mark.parametrize("seed", range(8))
def test_random_shapes(library, seed):
    draw = random.Random(seed)
    widths = [*(draw.randint(1, 40) for _ in range(draw.randint(1, 4))), draw.randint(1, 3)]
    derivatives = [
        tuple(draw.randrange(widths[0]) for _ in range(draw.randint(1, 3)))
        for _ in range(draw.randint(0, 3))
    ]
    network = Network.random(widths, draw.randint(1, 50), seed=seed)
    compare(library, network, derivatives, draw.choice(SMOOTH))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shared", [HOPPER, NO_SLAB])
@pytest.mark.parametrize(
    ("multiprocessors", "columns", "points_of_tile"), [(1, 128, 32), (5, 64, 16), (40, 32, 8)]
)
def test_tiles_and_slabs(library, dtype, shared, multiprocessors, columns, points_of_tile):
    """Four channels; 150 points on machines of several sizes. The same bits on every run."""
    derivatives = [(0,), (1, 1)]
    network = Network.random([2, 17, 9, 1], 150, dtype)
    runs = []
    for order in (ASCENDING, DESCENDING, SHUFFLED):
        kernels = OnHost(library, network, "tanh", derivatives, order, multiprocessors, shared)
        output = kernels.jet()
        grad_x, grad_parameters = kernels.backward(torch.ones_like(output))
        values = torch.zeros(3, dtype=torch.int64)
        library.tile_of_last_run(ctypes.c_void_p(values.data_ptr()))
        tiles = -(-150 // points_of_tile)
        assert values.tolist() == [columns, shared == HOPPER, min(tiles, 2 * multiprocessors)]
        runs.append((output, grad_x, grad_parameters))
        assert all(torch.equal(a, b) for a, b in zip(runs[0], runs[-1], strict=True))
    leaves = network.map(Tensor.double).leaves()
    exact = jet(nested_jet, leaves, "tanh", derivatives)
    exact_x, exact_parameters = gradients(exact, leaves, torch.ones_like(exact))
    tolerance = FLOAT64_GRADIENT if dtype == torch.float64 else FLOAT32
    assert_close(output, exact.detach(), tolerance)
    assert_close(grad_x, exact_x, tolerance)
    assert_close(grad_parameters, layer_by_layer(exact_parameters, network), tolerance)
