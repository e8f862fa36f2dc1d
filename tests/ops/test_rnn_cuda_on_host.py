"""The CUDA kernels of the recurrence where there is no GPU, on the host."""

from __future__ import annotations

import ctypes
import sys
from typing import NamedTuple

import pytest
import torch

from pyneural.ops.rnn import GATES
from tests.ops.cuda_on_host_build import ASCENDING, DESCENDING, SHUFFLED, build
from tests.ops.test_rnn import arguments
from tests.tolerances import (
    FLOAT64,
    FLOAT64_GRADIENT,
    assert_as_good_as_torch,
    assert_close,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="coroutines by ucontext.h")
HOPPER = 227 << 10  # bytes of shared memory of a block
CELLS = tuple(GATES)
OPS = torch.ops.pyneural


@pytest.fixture(scope="module")
def library():
    return build("rnn")


class Machine(ctypes.Structure):
    """A GPU whose clusters are each within a group of multiprocessors; 0: it has no clusters."""

    _fields_ = [
        (name, ctypes.c_int)
        for name in ("multiprocessors", "shared_bytes", "group_of_multiprocessors", "order")
    ]


class Division(NamedTuple):
    """How a launch is divided, as ``rnn.cpp`` describes it."""

    groups: int
    group_size: int
    shared_weights: int
    in_clusters: int
    depth: int
    columns: int
    tile_rows: int
    tiles: int
    slices: int
    item_rows: int
    shared_bytes: int
    groups_at_once: int


class OnHost:
    """One layer's forward and backward by the CUDA kernels, on a machine."""

    def __init__(self, library, cell, shape, lengths, reverse, machine, dtype=torch.float64):
        self.library, self.machine = library, machine
        self.cell, self.shape, self.reverse = cell, shape, reverse
        self.dtype = str(dtype).removeprefix("torch.")
        self.tensors, ragged = arguments(cell, shape, dtype)
        self.lengths = ragged if lengths else None
        self.given = *self.tensors, self.lengths, cell, reverse
        steps, rows, _, hidden = shape
        self.sizes = torch.tensor([CELLS.index(cell), reverse, steps, rows, hidden])
        if CELLS.index(cell) > 1:  # the order of CellKind
            self.sizes[0] = {"lstm": 2, "gru": 3}[cell]
        self.used = torch.zeros(len(Division._fields), dtype=torch.int64)

    def call(self, name, *tensors):
        def pointer(tensor):
            return ctypes.c_void_p(0 if tensor is None else tensor.data_ptr())

        code = getattr(self.library, f"{name}_{self.dtype}")(
            self.machine,
            pointer(self.sizes),
            pointer(self.lengths),
            *map(pointer, tensors),
            pointer(self.used),
        )
        assert code == 0

    @property
    def division(self):
        return Division(*self.used.tolist())

    def x_gates(self):
        x, _, _, weight_ih, _, bias_ih, _ = self.tensors
        return torch.nn.functional.linear(x, weight_ih, bias_ih)

    def forward(self):
        """(y, h_n, c_n, saved) by the CUDA kernels; c_n and saved are None where there is none."""
        _, h0, c0, _, weight_hh, _, bias_hh = self.tensors
        steps, rows, _, hidden = self.shape
        h, c = torch.full_like(h0, torch.nan), None if c0 is None else c0.clone()
        y = torch.full_like(h, torch.nan).repeat(steps, 1, 1)
        kept = {"lstm": 5, "gru": 4}.get(self.cell)
        sums = torch.float64 if h0.dtype == torch.float64 else torch.float32
        saved = torch.full((steps, rows, kept, hidden), torch.nan, dtype=sums) if kept else None
        self.call("forward", self.x_gates(), weight_hh, bias_hh, h0, h, c, y, saved)
        return y, h, c, saved

    def check_forward(self):
        exact = OPS.rnn_with_saved(*self.given)
        for one, by_cpu in zip(self.forward(), exact, strict=True):
            if one is not None:
                assert_close(one, by_cpu, FLOAT64)

    def check_backward(self):
        x, _, c0, weight_ih, *_ = self.tensors
        y, h_n, c_n, saved = OPS.rnn_with_saved(*self.given)
        grad_y, dh = torch.randn_like(y), torch.randn_like(h_n)
        dc = torch.randn_like(c_n) if c0 is not None else None
        exact = OPS.rnn_backward(
            grad_y, dh, dc, *self.given[:-2], y, saved, self.cell, self.reverse, [True] * 7
        )
        dh, dc, of_input, of_hidden = self.backward(y, saved, grad_y, dh, dc)
        assert_close(of_input.flatten(2) @ weight_ih, exact[0], FLOAT64_GRADIENT)
        assert_close(dh, exact[1], FLOAT64_GRADIENT)
        if dc is not None:
            assert_close(dc, exact[2], FLOAT64_GRADIENT)
        assert_close(of_input.sum((0, 1)).flatten(), exact[5], FLOAT64_GRADIENT)
        assert_close(of_hidden.sum((0, 1)).flatten(), exact[6], FLOAT64_GRADIENT)
        x_rows, z_rows = x.flatten(0, 1), of_input.flatten(2).flatten(0, 1)
        assert_close(z_rows.T @ x_rows, exact[3], FLOAT64_GRADIENT)

    def backward(self, y, saved, grad_y, dh, dc):
        """(grad_h0, grad_c0, gradients of the gates' input and hidden products)."""
        _, h0, c0, _, weight_hh, *_ = self.tensors
        dh, dc = dh.clone(), None if dc is None else dc.clone()
        steps, rows, _, hidden = self.shape
        blocks = 4 if self.cell == "gru" else GATES[self.cell]
        grad_z = torch.full((steps, rows, blocks, hidden), torch.nan, dtype=y.dtype)
        given = saved if saved is not None and saved.numel() else None
        self.call("backward", weight_hh, h0, c0, y, given, grad_y, dh, dc, grad_z)
        of_input = grad_z[:, :, [0, 1, 3]] if self.cell == "gru" else grad_z
        return dh, dc, of_input, grad_z[:, :, : GATES[self.cell]]


@pytest.mark.parametrize("order", [ASCENDING, DESCENDING, SHUFFLED])
@pytest.mark.parametrize(("lengths", "reverse"), [(False, False), (True, True)])
@pytest.mark.parametrize("clusters", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_cells(library, cell, clusters, lengths, reverse, order):
    machine = Machine(6, 24 << 10, 6 if clusters else 0, order)
    host = OnHost(library, cell, (4, 5, 2, 31), lengths, reverse, machine)
    for check in (host.check_forward, host.check_backward):
        check()
        assert (host.division.group_size > 1) == (GATES[cell] > 1)
        assert host.division.in_clusters == (clusters and GATES[cell] > 1)


# steps, rows, inputs, hidden; multiprocessors, shared memory, multiprocessors that a cluster is
# within; what is to be seen of the divisions of an LSTM: one block, several tiles, groups one after
# the other in one launch and in several, clusters, those that fit fewer times or not at all where
# the multiprocessors are in smaller groups, values that pass through shared memory in parts,
# weights that do not fit.
SETTINGS = [
    ((4, 1, 1, 1), 132, HOPPER, 0, {"groups": 1, "group_size": 1}),
    ((3, 120, 2, 21), 1, HOPPER, 1, {"groups": 1, "tiles": 2, "item_rows": 8}),
    ((3, 70, 2, 21), 8, 20 << 10, 0, {"groups": 18, "groups_at_once": 8, "group_size": 1}),
    ((3, 7, 2, 70), 16, 64 << 10, 16, {"groups": 2, "group_size": 8, "in_clusters": 1}),
    ((3, 7, 2, 70), 16, 64 << 10, 14, {"groups": 2, "group_size": 4, "in_clusters": 1}),
    ((3, 7, 2, 70), 16, 64 << 10, 4, {"group_size": 4, "in_clusters": 1}),
    ((2, 2, 1, 70), 24, 16 << 10, 0, {"group_size": 24, "shared_weights": 1}),
    ((2, 2, 1, 70), 24, 12 << 10, 12, {"group_size": 24, "in_clusters": 0, "shared_weights": 0}),
]


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
@pytest.mark.parametrize("cell", ["tanh", "lstm"])
def test_divisions(library, cell, setting):
    shape, multiprocessors, shared, group, expected = setting
    machine = Machine(multiprocessors, shared, group, SHUFFLED)
    host = OnHost(library, cell, shape, True, False, machine)
    host.check_forward()
    seen = {name: getattr(host.division, name) for name in expected}
    host.check_backward()
    if cell == "lstm":
        assert seen == expected


@pytest.mark.parametrize(
    ("cell", "shape", "machine"),
    [
        *((cell, (6, 5, 3, 24), Machine(6, 20 << 10, 6, SHUFFLED)) for cell in CELLS),
        ("tanh", (2, 136, 1, 64), Machine(1, HOPPER, 0, SHUFFLED)),  # several tiles backward too
    ],
    ids=lambda value: value if isinstance(value, (str, tuple)) else "",
)
def test_float32(library, cell, shape, machine):
    host = OnHost(library, cell, shape, True, True, machine, torch.float32)
    exact = OnHost(library, cell, shape, True, True, machine)
    exact.tensors = [None if t is None else t.double() for t in host.tensors]
    by_cpu = OPS.rnn_with_saved(*host.given)
    for one, other, all_digits in zip(host.forward(), by_cpu, exact.forward(), strict=True):
        if one is not None:
            assert_as_good_as_torch(one, other, all_digits)
    y, h_n, c_n, saved = by_cpu
    grads = torch.ones_like(y), torch.ones_like(h_n), torch.ones_like(c_n) if c_n.numel() else None
    doubles = (None if t is None else t.double() for t in (y, saved, *grads))
    for one, all_digits in zip(
        host.backward(y, saved, *grads), exact.backward(*doubles), strict=True
    ):
        if one is not None:
            assert_close(one, all_digits, 1e-6)
    assert host.division.tiles == (2 if shape[1] > 5 else 1)


def divide(library, cell, rows, hidden, backward, machine, element_bytes=4):
    used = torch.zeros(len(Division._fields), dtype=torch.int64)
    sizes = torch.tensor([{"lstm": 2, "gru": 3}.get(cell, 0), 0, 1, rows, hidden])
    pointers = (ctypes.c_void_p(t.data_ptr()) for t in (sizes, used))
    assert library.divide(machine, next(pointers), backward, element_bytes, next(pointers)) == 0
    return Division(*used.tolist())


# Of a GPU with clusters and of one without: the share of a step's multiply-adds that are not on
# padding, and whether the group is a cluster.
@pytest.mark.parametrize("hidden", [64, 128, 256, 512])
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("clusters", [False, True])
def test_multiply_adds_are_of_use(library, hidden, backward, clusters):
    rows = 64
    machine = Machine(132, HOPPER, 16, 0) if clusters else Machine(108, 163 << 10, 0, 0)
    division = divide(library, "lstm", rows, hidden, backward, machine)
    padded_rows = division.groups * division.tiles * division.tile_rows
    done = division.group_size * division.depth * division.columns * padded_rows
    assert 4 * hidden * hidden * rows / done > 0.88
    assert division.in_clusters == (clusters and hidden in (128, 256))
    blocks = division.groups_at_once * division.group_size
    assert blocks == 16 if hidden == 64 else blocks > 0.85 * machine.multiprocessors
