"""Bank conflicts of the CUDA kernels in shared memory, computed from their accesses on the host."""

from __future__ import annotations

import ctypes
import platform
import sys

import pytest
import torch

from pyneural.ops import record_residual
from tests.ops.cuda_on_host_build import ASCENDING, build
from tests.ops.networks import Network
from tests.ops.test_dense_cuda_on_host import operands, product
from tests.ops.test_jet_gram_cuda_on_host import OnHost as JacobiansOnHost
from tests.ops.test_jet_gram_cuda_on_host import choices, gram
from tests.ops.test_rnn_cuda_on_host import HOPPER, Machine
from tests.ops.test_rnn_cuda_on_host import OnHost as RecurrenceOnHost

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="gcc's instrumentation"
)


@pytest.fixture(scope="module")
def dense():
    return build("dense", traced=True)


@pytest.fixture(scope="module")
def jet_gram():
    return build("jet_gram", traced=True)


def wavefronts(library):
    """Of reads and of writes: those of the requests since trace(), and the fewest possible."""
    counts = torch.zeros(2, 2, dtype=torch.int64)
    library.wavefronts_since(ctypes.c_void_p(counts.data_ptr()))
    return counts.tolist()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("along_k", [True, False])
@pytest.mark.parametrize("size", [128, 126, 127])
def test_the_tiles_of_dense(dense, size, along_k, dtype):
    """None, whether lines begin at 16 bytes, at 4 or 8, or at any element."""
    shape = (128, 128, size) if along_k else (size, size, 32)
    a, b, _ = operands(*shape, dtype)
    dense.trace()
    product(dense, a, b, None, along=(along_k, along_k))
    (reads, fewest_reads), (writes, fewest_writes) = wavefronts(dense)
    assert fewest_reads > 0 < fewest_writes
    assert reads == fewest_reads
    assert writes == fewest_writes


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("shape", [(128, 64), (128, 63), (200, 48)])
def test_gram_matrices(jet_gram, shape, dtype):
    """None in the product with itself, nor where both triangles are stored."""
    x = torch.randn(shape, dtype=dtype)
    jet_gram.trace()
    gram(jet_gram, x, at_once=shape[1], multiprocessors=1, order=ASCENDING)
    (reads, fewest_reads), (writes, fewest_writes) = wavefronts(jet_gram)
    assert fewest_reads > 0 < fewest_writes
    assert reads == fewest_reads
    assert writes == fewest_writes


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_jacobians_of_residuals(jet_gram, dtype):
    """None in tiles of 32 points or more."""
    network = Network.random((2, 20, 20, 1), 64, dtype)
    program = record_residual(lambda jet, x, c: jet[1, 0] + jet[0, 0] * jet[2, 0] - jet[3, 0])
    given = network.x.new_empty(0), network.x.new_empty(0, 64)
    derivatives = [(0,), (1,), (1, 1)]
    kernels = JacobiansOnHost(jet_gram, *network.parts, "tanh", derivatives, program, *given)
    jet_gram.trace()
    kernels.jacobian()
    (reads, fewest_reads), (writes, fewest_writes) = wavefronts(jet_gram)
    assert choices(jet_gram)[1:] == [32, True]
    assert reads == fewest_reads > 0
    assert writes == fewest_writes > 0


@pytest.fixture(scope="module")
def rnn():
    return build("rnn", traced=True)


def of_a_step(library, backward, rows, hidden, machine, dtype):
    """The wavefronts that one step more takes."""
    counts = []
    for steps in (2, 3):
        host = RecurrenceOnHost(
            library, "lstm", (steps, rows, 1, hidden), False, False, machine, dtype
        )
        y, h_n, c_n, saved = host.forward()
        library.trace()
        if backward:
            host.backward(y, saved, y, h_n, c_n)
        else:
            host.forward()
        counts.append(torch.tensor(wavefronts(library)))
    return (counts[1] - counts[0]).tolist()


# One block; clusters; values that pass through shared memory, in float32 weights too.
@pytest.mark.parametrize(
    ("rows", "hidden", "machine"),
    [
        (32, 64, (1, HOPPER, 0)),
        (24, 128, (4, 120 << 10, 4)),
        (16, 128, (4, 36 << 10, 0)),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("backward", [False, True])
def test_the_steps_of_a_recurrence(rnn, backward, dtype, rows, hidden, machine):
    (reads, fewest_reads), (writes, fewest_writes) = of_a_step(
        rnn, backward, rows, hidden, Machine(*machine, ASCENDING), dtype
    )
    assert fewest_reads > 0 < fewest_writes
    assert reads == fewest_reads
    assert writes == fewest_writes
