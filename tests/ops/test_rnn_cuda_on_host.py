"""The CUDA kernels of the recurrence where there is no GPU, on the host."""

from __future__ import annotations

import ctypes
import sys

import pytest
import torch

from pyneural.ops.rnn import GATES
from tests.ops.cuda_on_host_build import ASCENDING, DESCENDING, SHUFFLED, build
from tests.ops.test_rnn import arguments
from tests.tolerances import FLOAT64, FLOAT64_GRADIENT, assert_close

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="coroutines by ucontext.h")
HOPPER, LITTLE = 227 << 10, 48 << 10  # bytes of shared memory of a block
CELLS = tuple(GATES)
OPS = torch.ops.pyneural


@pytest.fixture(scope="module")
def library():
    return build("rnn")


class Machine(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_int)
        for name in ("multiprocessors", "shared_bytes", "has_clusters", "order")
    ]


class OnHost:
    """One layer's forward and backward by the CUDA kernels, on a machine."""

    def __init__(self, library, cell, shape, lengths, reverse, machine):
        self.library, self.machine = library, machine
        self.cell, self.shape, self.reverse = cell, shape, reverse
        self.tensors, ragged = arguments(cell, shape)
        self.lengths = ragged if lengths else None
        self.given = *self.tensors, self.lengths, cell, reverse
        steps, rows, _, hidden = shape
        self.sizes = torch.tensor([CELLS.index(cell), reverse, steps, rows, hidden])
        if CELLS.index(cell) > 1:  # the order of CellKind
            self.sizes[0] = {"lstm": 2, "gru": 3}[cell]
        # Groups, group size, whether weights are shared and groups are clusters.
        self.used = torch.zeros(4, dtype=torch.int64)

    def call(self, name, *tensors):
        def pointer(tensor):
            return ctypes.c_void_p(0 if tensor is None else tensor.data_ptr())

        code = getattr(self.library, name)(
            self.machine,
            pointer(self.sizes),
            pointer(self.lengths),
            *map(pointer, tensors),
            pointer(self.used),
        )
        assert code == 0

    def check_forward(self):
        x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh = self.tensors
        y, h_n, c_n, saved = OPS.rnn_with_saved(*self.given)
        x_gates = torch.nn.functional.linear(x, weight_ih, bias_ih)
        h, h_next, c = (
            h0.clone(),
            torch.full_like(h0, torch.nan),
            None if c0 is None else c0.clone(),
        )
        found = torch.full_like(y, torch.nan), torch.full_like(saved, torch.nan)
        found_saved = found[1] if saved.numel() else None
        self.call(
            "forward_double", x_gates, weight_hh, bias_hh, h, h_next, c, found[0], found_saved
        )
        assert_close(found[0], y, FLOAT64)
        assert_close(h_next if self.shape[0] % 2 else h, h_n, FLOAT64)
        if c is not None:
            assert_close(c, c_n, FLOAT64)
        if found_saved is not None:
            assert_close(found_saved, saved, FLOAT64)

    def check_backward(self):
        x, h0, c0, weight_ih, weight_hh, *_ = self.tensors
        y, h_n, c_n, saved = OPS.rnn_with_saved(*self.given)
        grad_y, dh = torch.randn_like(y), torch.randn_like(h_n)
        dc = torch.randn_like(c_n) if c0 is not None else None
        exact = OPS.rnn_backward(
            grad_y, dh, dc, *self.given[:-2], y, saved, self.cell, self.reverse, [True] * 7
        )
        dh, dc = dh.clone(), None if dc is None else dc.clone()
        steps, rows, _, hidden = self.shape
        blocks = 4 if self.cell == "gru" else GATES[self.cell]
        grad_z = torch.full((steps, rows, blocks, hidden), torch.nan, dtype=torch.float64)
        given = saved if saved.numel() else None
        self.call("backward_double", weight_hh, h0, c0, y, given, grad_y, dh, dc, grad_z)
        of_input = grad_z[:, :, [0, 1, 3]] if self.cell == "gru" else grad_z
        of_hidden = grad_z[:, :, : GATES[self.cell]]
        assert_close(of_input.flatten(2) @ weight_ih, exact[0], FLOAT64_GRADIENT)
        assert_close(dh, exact[1], FLOAT64_GRADIENT)
        if dc is not None:
            assert_close(dc, exact[2], FLOAT64_GRADIENT)
        assert_close(of_input.sum((0, 1)).flatten(), exact[5], FLOAT64_GRADIENT)
        assert_close(of_hidden.sum((0, 1)).flatten(), exact[6], FLOAT64_GRADIENT)
        x_rows, z_rows = x.flatten(0, 1), of_input.flatten(2).flatten(0, 1)
        assert_close(z_rows.T @ x_rows, exact[3], FLOAT64_GRADIENT)


@pytest.mark.parametrize("order", [ASCENDING, DESCENDING, SHUFFLED])
@pytest.mark.parametrize(("lengths", "reverse"), [(False, False), (True, True)])
@pytest.mark.parametrize("clusters", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_cells(library, cell, clusters, lengths, reverse, order):
    machine = Machine(6, HOPPER, clusters, order)
    host = OnHost(library, cell, (5, 3, 2, 19), lengths, reverse, machine)
    for check in (host.check_forward, host.check_backward):
        check()
        assert host.used.tolist() == ([2, 3, 1, 1] if clusters else [1, 3, 1, 0])


# steps, rows, inputs, hidden; multiprocessors, shared memory, whether there are clusters; groups,
# group size, and whether weights are shared and groups are clusters, forward and backward: one
# block, more rows than a tile, several groups of several ranks, too little shared memory.
SETTINGS = [
    ((4, 1, 1, 1), 132, HOPPER, 0, [1, 1, 1, 0], [1, 1, 1, 0]),
    ((4, 1, 1, 1), 132, HOPPER, 1, [1, 1, 1, 1], [1, 1, 1, 1]),
    ((3, 140, 2, 5), 1, HOPPER, 0, [1, 1, 1, 0], [1, 1, 1, 0]),
    ((3, 140, 2, 5), 1, HOPPER, 1, [1, 1, 1, 1], [1, 1, 1, 1]),
    ((3, 70, 2, 21), 8, HOPPER, 0, [3, 2, 1, 0], [3, 2, 1, 0]),
    ((3, 7, 2, 70), 16, HOPPER, 1, [2, 8, 1, 1], [2, 8, 1, 1]),
    ((2, 2, 1, 70), 24, LITTLE, 1, [1, 24, 0, 0], [1, 10, 1, 0]),
]


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
@pytest.mark.parametrize("cell", ["tanh", "lstm"])
def test_groups_and_shared_memory(library, cell, setting):
    shape, multiprocessors, shared, clusters, *used = setting
    machine = Machine(multiprocessors, shared, clusters, SHUFFLED)
    host = OnHost(library, cell, shape, True, False, machine)
    for check, expected in zip((host.check_forward, host.check_backward), used, strict=True):
        check()
        if cell == "lstm":
            assert host.used.tolist() == expected
