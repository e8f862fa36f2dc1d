"""The CUDA kernel of samplers where there is no GPU: arithmetic, barriers, buffers, on the host."""

from __future__ import annotations

import ctypes
import sys

import pytest
import torch

from pyneural.ops.activations import NAMES
from pyneural.ops.reference.diffusion_sampler import normal
from tests.fuzz.op_fuzzer import guarded
from tests.ops.cuda_on_host_build import ASCENDING, DESCENDING, SHUFFLED, build
from tests.ops.diffusion_samplers import SEED, DiffusionSampler
from tests.tolerances import assert_close

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="coroutines by ucontext.h")
HOPPER, LITTLE = 227 << 10, 40 << 10  # bytes of shared memory of a block
IN_GLOBAL_MEMORY, IN_SHARED_MEMORY = 0, 1
TOLERANCE = {torch.float64: 1e-13, torch.float32: 3e-5}


@pytest.fixture(scope="module")
def library():
    return build("diffusion_sampler")


def run(library, sampler, order=ASCENDING, multiprocessors=1, shared=HOPPER, fits=True):
    """What the kernel gives."""
    pairs = zip(sampler.weights, sampler.biases, strict=True)
    flat = torch.cat([part.flatten() for pair in pairs for part in pair])
    widths = [sampler.weights[0].shape[1], *map(len, sampler.biases)]
    y = torch.full_like(sampler.x, float("nan"))
    condition = sampler.condition
    inputs = sampler.x, condition, flat, sampler.shifts, sampler.coefficients, SEED
    tensors = *(t if t is None else guarded(t) for t in inputs), y
    pointers = [ctypes.c_void_p(0 if t is None else t.data_ptr()) for t in tensors]
    sizes = (
        *sampler.x.shape, 0 if condition is None else condition.shape[1],
        len(sampler.shifts), sampler.coefficients.shape[1] - 2,
    )  # fmt: skip
    function = library.run_double if y.dtype == torch.float64 else library.run_float
    code = function(
        multiprocessors, shared, order, sampler.activation.encode(), len(sampler.weights),
        (ctypes.c_int64 * len(widths))(*widths), *map(ctypes.c_int64, sizes),
        ctypes.c_double(sampler.guidance), *pointers,
    )  # fmt: skip
    assert code == (IN_SHARED_MEMORY if fits else IN_GLOBAL_MEMORY)
    return y


def check(library, shared=HOPPER, fits=True, **options):
    for dtype, limit in TOLERANCE.items():
        sampler = DiffusionSampler.random(dtype=torch.float64, noise=0.4, **options)
        noise = [normal(SEED, sampler.x, i) for i in range(len(sampler.shifts))]
        exact = sampler.by_steps(noise)
        sampler = sampler.map(lambda t, dtype=dtype: t.to(dtype))
        found = run(library, sampler, shared=shared, fits=fits)
        assert_close(found, exact, limit)
    return sampler, found


CASES = {
    "a point on a line": {"features": 1, "rows": 1},
    "three features": {},
    "a linear network": {"hidden": (), "features": 5},
    "condition": {"condition": 2, "hidden": (33, 20), "activation": "gelu"},
    "guidance": {"condition": 3, "hidden": (9, 8, 7), "guidance": 1.5, "memory": 4, "steps": 9},
    "several tiles": {"features": 7, "rows": 100, "hidden": (16, 24), "activation": "elu"},
    "wider than a product tile": {"hidden": (140, 40), "rows": 33, "features": 2, "steps": 2},
}


@pytest.mark.parametrize("name", CASES)
def test_cases(library, name):
    sampler, first = check(library, **CASES[name])
    for order in (DESCENDING, SHUFFLED):
        assert torch.equal(run(library, sampler, order), first)
    assert torch.equal(run(library, sampler, multiprocessors=2), first)


@pytest.mark.parametrize("activation", NAMES)
def test_activations(library, activation):
    check(library, hidden=(9, 8), activation=activation, steps=2)


def test_layers_that_do_not_fit_into_shared_memory(library):
    check(library, shared=LITTLE, fits=False, hidden=(40, 64), rows=70, condition=2, guidance=0.5)
