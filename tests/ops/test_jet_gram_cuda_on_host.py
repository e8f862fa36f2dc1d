"""The CUDA kernels of residuals' Jacobians and Gram matrices where there is no GPU."""

from __future__ import annotations

import ctypes
import random
import sys
from ctypes import POINTER, c_char_p, c_double, c_int, c_int64

import pytest
import torch
from torch import Tensor

from pyneural import ops
from pyneural.ops import LinearOperator, record_residual
from pyneural.ops.jet.derivatives import encode
from tests.ops.cuda_on_host_build import ASCENDING, DESCENDING, SHUFFLED, build
from tests.ops.jet_oracle import residual_jacobian
from tests.ops.networks import KINKED, SMOOTH, Network
from tests.ops.test_jet_gram import CASES, of_coordinates, options, subject, system
from tests.tolerances import FLOAT64_GRADIENT, assert_close

HOPPER, NO_SLAB = 227 << 10, 8 << 10  # bytes of shared memory of a block
# Relative to the norms of the factors. In float32 the product of the tf32 remainders is left out, a
# tensor core's sum of 16 columns is cut off twice, by 2^-23 at most, and sums of 256 are rounded.
PRODUCT = {torch.float64: 1e-14, torch.float32: 1e-6}
FLOAT32 = 3e-5  # right or wrong; how close the device comes is for test_jet_gram.py to say

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="coroutines by ucontext.h")


@pytest.fixture(scope="module")
def library():
    return build("jet_gram")


class Problem(ctypes.Structure):
    _fields_ = [
        ("multiprocessors", c_int),
        ("shared_bytes", c_int),
        ("order", c_int),
        ("points_at_once", c_int64),
        ("derivatives", POINTER(c_int64)),
        ("elements", c_int64),
        ("operator_coefficients", POINTER(c_double)),
        ("operator_coefficient_count", c_int64),
        ("activation", c_char_p),
        ("layers", c_int64),
        ("widths", POINTER(c_int64)),
        ("points", c_int64),
        ("has_jet_x", c_int64),
        ("residual", POINTER(c_int64)),
        ("residual_elements", c_int64),
        ("constants", POINTER(c_double)),
        ("constant_count", c_int64),
        ("coefficients", c_int64),
        ("columns", c_int64),
    ]


def pointer(tensor):
    return ctypes.c_void_p(0 if tensor is None else tensor.data_ptr())


class OnHost:
    """One equation's Jacobian and Gram matrix by the CUDA kernels, with the arguments of the ops.

    at_once: points of a chunk; 0: as on a GPU.
    """

    def __init__(
        self, library, x, weights, biases, activation, derivatives, program, coefficients, columns,
        at_once=0, order=ASCENDING, multiprocessors=1, shared=HOPPER,
    ):  # fmt: skip
        self.function = library.run_double if x.dtype == torch.float64 else library.run_float
        pairs = zip(weights, biases, strict=True)
        parameters = torch.cat([part.flatten() for pair in pairs for part in pair])
        self.tensors = x.contiguous(), parameters, coefficients, columns.contiguous()
        widths = [x.shape[-1], *map(len, weights)]
        indices, factors = encode("jet_mlp", derivatives)
        code, constants = program

        def array(kind, values):
            return (kind * len(values))(*values), len(values)

        self.problem = Problem(
            multiprocessors, shared, order, at_once,
            *array(c_int64, indices), *array(c_double, factors),
            activation.encode(), len(weights), array(c_int64, widths)[0],
            x.shape[-2], x.dim() == 3,
            *array(c_int64, code), *array(c_double, constants), len(coefficients), len(columns),
        )  # fmt: skip
        self.size = len(parameters) + len(coefficients)
        self.equations = len(program.residuals())

    def _run(self, *results):
        tensors = *self.tensors, *results
        assert self.function(ctypes.byref(self.problem), *map(pointer, tensors)) == 0

    def _nan(self, *shape):
        return self.tensors[0].new_full(shape, float("nan"))

    def jacobian(self):
        shape = self.equations, self.problem.points
        results = self._nan(*shape), self._nan(self.size, *shape)
        self._run(*results, None, None, None)
        return results

    def gram(self):
        results = self._nan(), self._nan(self.size), self._nan(self.size, self.size)
        self._run(None, None, *results)
        return results


def choices(library):
    """Of the last run: splits of the columns, points of a tile, whether it was in shared memory."""
    values = torch.zeros(3, dtype=torch.int64)
    library.choices_of_last_run(pointer(values))
    return values.tolist()


def products(r, transposed):
    """(loss, gradient, gram) of (r, J^T)."""
    flat, points = transposed.flatten(1), r.shape[1]
    return tuple(p / points for p in (r.square().sum(), flat @ r.flatten(), flat @ flat.T))


def joined(mean, gradient, gram):
    """The Gram matrix of the rows of J^T and r."""
    above = torch.cat([gram, gradient[:, None]], 1)
    return torch.cat([above, torch.cat([gradient, mean[None]])[None]])


def compare(library, network, activation, derivatives, residual, coefficients, columns, **machine):
    """Against autograd in float64 and against the op on the CPU, in both precisions."""
    program = record_residual(residual)
    rest = activation, derivatives, program
    of_autograd = residual_jacobian(*network.parts, *rest[:2], residual, coefficients, columns)
    exact = products(*of_autograd)
    kernels = OnHost(library, *network.parts, *rest, coefficients, columns, **machine)
    for found, expected in zip(kernels.jacobian(), of_autograd, strict=True):
        assert_close(found, expected, FLOAT64_GRADIENT)
    by_cpu = ops.jet_mlp_gram(*network.parts, *rest, coefficients, columns)
    found = kernels.gram()
    for one, expected, other in zip(found, exact, by_cpu, strict=True):
        assert_close(one, expected, FLOAT64_GRADIENT)
        assert_close(one, other, FLOAT64_GRADIENT)
    assert torch.equal(found[2], found[2].T)

    single = network.map(Tensor.float)
    others = coefficients.float(), columns.float()
    kernels = OnHost(library, *single.parts, *rest, *others, **machine)
    own = kernels.jacobian()
    for one, expected in zip(own, of_autograd, strict=True):
        assert_close(one, expected, FLOAT32)
    by_cpu = ops.jet_mlp_gram(*single.parts, *rest, *others)
    found = kernels.gram()
    for one, other in zip(found, by_cpu, strict=True):
        assert_close(one, other, FLOAT32)
    assert torch.equal(found[2], found[2].T)
    # The products of the Jacobian that the kernels made, which a tile's points do not change.
    r, transposed = (part.double().flatten(-2) for part in own)
    rows = torch.cat([transposed, r[None]])
    norms = rows.norm(dim=1)
    errors = (joined(*found) - rows @ rows.T / len(columns[0])).abs()
    assert (errors <= PRODUCT[torch.float32] * norms * norms[:, None] / len(columns[0])).all()


# Most of its time would go into the tensor cores' stand-in, of which test_products has all sizes.
@pytest.mark.parametrize("case", sorted({*CASES} - {"burgers"}))
def test_cases_of_the_op(library, case):
    """Systems, operators, jets of inputs, coefficients and columns, one layer, no gradient."""
    activation, derivatives, *_, residual, _ = CASES[case]
    network, *others = subject(case)
    compare(library, network, activation, derivatives, residual, *others)


@pytest.mark.parametrize("activation", [*SMOOTH, *KINKED])
@pytest.mark.parametrize("order", [0, 1, 2, 3, 4])
def test_activations(library, activation, order):
    if activation in KINKED and order > 1:
        return
    derivatives = [(1,) * order] if order else []
    network = Network.random((2, 6, 5, 1), 21, seed=random.randrange(1 << 30))
    others = torch.tensor([0.3, 1.2]).double(), network.x.T
    compare(library, network, activation, derivatives, of_coordinates(len(derivatives), 0), *others)


def every_function(jet, x, c, r):
    """All that a program can be made of, with operands where it is defined."""
    a, b = jet[0, 0], jet[1, 0]
    positive = 1 + a**2
    return (
        -a.sin() * b.cos() + (0.3 * a).exp() / positive,
        positive.sqrt() + positive.log() - a.tanh() * abs(b),
        abs(a - a) + c[0] * x[0] - r[0] * c[1] + c[0] * a,
    )


def test_every_function(library):
    draw = torch.Generator().manual_seed(random.randrange(1 << 30))
    network = Network.random((2, 9, 1), 45, seed=random.randrange(1 << 30))
    others = (torch.randn(n, generator=draw, dtype=torch.float64) for n in ([2], [1, 45]))
    compare(library, network, "tanh", [(1,)], every_function, *others)


def heat(jet, x, c, r):
    return jet[1, 0] - c[0] * jet[0, 0] * r[0], (jet[2, 0] - r[1]) * x[0]


SIZES = [  # widths, points, points of a chunk
    ((2, 1, 1), 3, 0),
    ((2, 12, 12, 1), 70, 64),  # 2 chunks; 208 rows with r
    ((2, 9, 8, 1), 200, 64),  # 4 chunks, 119 rows
    ((2, 31, 1), 130, 128),  # 125 + 2 coefficients + r: a whole panel
    ((2, 130, 1), 40, 0),
    ((1 + 1, 130, 3, 1), 33, 8),
]


@pytest.mark.parametrize("machine", [(1, HOPPER), (7, HOPPER), (132, NO_SLAB)])
@pytest.mark.parametrize(("widths", "points", "at_once"), SIZES)
def test_sizes_and_machines(library, widths, points, at_once, machine):
    multiprocessors, shared = machine
    network = Network.random(widths, points, seed=random.randrange(1 << 30))
    others = torch.randn(2, dtype=torch.float64), torch.randn(2, points, dtype=torch.float64)
    derivatives = [(0,), LinearOperator({(0,): 1, (1, 1): -0.3})]
    options = {"at_once": at_once, "multiprocessors": multiprocessors, "shared": shared}
    compare(library, network, "tanh", derivatives, heat, *others, **options)
    *_, is_shared = choices(library)
    assert is_shared == (shared == HOPPER)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("case", ["third order", "a jet", "one point"])
def test_the_order_of_threads_and_blocks_does_not_matter(library, case, dtype):
    """The same bits, which a missing barrier or two blocks at one sum would change."""
    network, *others = subject(case, dtype)
    runs = []
    for order in (ASCENDING, DESCENDING, SHUFFLED):
        arguments = *network.parts, *options(case), *others
        kernels = OnHost(library, *arguments, at_once=32, order=order, multiprocessors=40)
        runs.append([*kernels.jacobian(), *kernels.gram()])
    for run in runs[1:]:
        assert all(map(torch.equal, runs[0], run))


@pytest.mark.parametrize("seed", range(6))
def test_random_networks(library, seed):
    draw = random.Random(random.randrange(1 << 30))
    widths = [2, *(draw.randint(1, 24) for _ in range(draw.randint(0, 3))), 1]
    points = draw.randint(1, 150)
    network = Network.random(widths, points, seed=draw.randrange(1 << 30))
    others = torch.randn(2, dtype=torch.float64), torch.randn(2, points, dtype=torch.float64)
    at_once = draw.choice([0, 1, 8, 33, 64])
    compare(library, network, draw.choice(SMOOTH), [(0,), (1, 1)], system, *others, at_once=at_once)


PRODUCTS = [  # rows, columns, columns of a launch, multiprocessors
    (1, 1, 1, 1),
    (2, 300, 300, 1),
    (128, 17, 17, 1),
    (129, 16, 16, 132),
    (131, 700, 512, 2),
    (257, 530, 300, 20),
    (300, 64, 64, 1),
    (5, 2100, 2048, 132),
]


def gram(library, x, at_once, multiprocessors, order):
    """The Gram matrix of the rows of x [rows, depth], from its parts, symmetric or not."""
    rows, depth = x.shape
    function = library.gram_double if x.dtype == torch.float64 else library.gram_float
    sizes = (rows - 1, rows - 1), (rows - 1,), ()
    inner, last, corner = (x.new_full(size, float("nan")) for size in sizes)
    numbers = map(c_int64, (rows, depth, at_once))
    pointers = map(pointer, (x, corner, last, inner))
    assert function(multiprocessors, order, *numbers, *pointers) == 0
    return joined(corner, last, inner)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize(("rows", "depth", "at_once", "multiprocessors"), PRODUCTS)
def test_products(library, rows, depth, at_once, multiprocessors, dtype):
    """Panels, parts of the columns and launches, against torch in float64."""
    x = torch.randn(rows, depth, dtype=torch.float64).to(dtype)
    found, again = (
        gram(library, x, at_once, multiprocessors, order) for order in (ASCENDING, SHUFFLED)
    )
    assert torch.equal(found, again)
    assert torch.equal(found, found.T)
    norms = x.double().norm(dim=1)
    exact = x.double() @ x.double().T
    assert ((found - exact).abs() <= PRODUCT[dtype] * norms * norms[:, None]).all()
    side = -(-rows // 128)
    idle = multiprocessors // (side * (side + 1) // 2)
    assert choices(library)[0] == max(1, min(idle, -(-at_once // 256)))


def test_infinite_products_are_those_of_torch(library):
    """Which the split of a float32 in two would make NaN."""
    x = torch.randn(130, 600)
    x[3, 300], x[7, 599] = float("inf"), float("nan")
    exact = x.double() @ x.double().T
    found = gram(library, x, 600, 1, ASCENDING).double()
    for classify in (torch.isnan, torch.isposinf, torch.isneginf):
        assert torch.equal(classify(found), classify(exact))
