"""The CUDA kernels of the recurrence in halves where there is no GPU, on the host.

Each step is computed again in float64 from the halves that the kernel itself has left, so that what
is compared has been rounded once: to the nearest half, or to float32.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pyneural.ops import reference
from pyneural.ops.rnn import GATES
from tests.ops.cuda_on_host_build import SHUFFLED, build
from tests.ops.test_rnn import values_and_gradients
from tests.ops.test_rnn_cuda_on_host import HOPPER, Machine, OnHost, divide
from tests.tolerances import error

HALVES = [torch.bfloat16, torch.float16]
IN_FLOAT = 2e-6  # sums of some hundred products in float32, cut off by the tensor cores


@pytest.fixture(scope="module")
def library():
    return build("rnn")


def cell_of(name: str, products: list[Tensor], of_x: list[Tensor], h: Tensor, c: Tensor | None):
    """(h, c, saved) of a step, as torch.nn has them; a list of gates [N, H] each."""
    if name == "lstm":
        i, f, g, o = (a + b for a, b in zip(products, of_x, strict=True))
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        c = f * c + i * g
        return o * c.tanh(), c, [i, f, g, o, c]
    if name == "gru":
        r, z = ((products[k] + of_x[k]).sigmoid() for k in range(2))
        n = (of_x[2] + r * products[2]).tanh()
        return (1 - z) * n + z * h, None, [r, z, n, products[2]]
    z = products[0] + of_x[0]
    return (z.tanh() if name == "tanh" else z.relu()), None, []


def assert_rounded(found: Tensor, exact: Tensor) -> None:
    """The nearest half, but for an error in float32 before."""
    ulp = torch.finfo(found.dtype).eps * exact.abs() + torch.finfo(found.dtype).smallest_normal / 8
    difference = (found.double() - exact).abs()
    assert not difference.isnan().any()
    assert (difference <= ulp / 2 + IN_FLOAT * (1 + exact.abs().max())).all()


class InHalves:
    """One layer on the host, its steps in float64 beside it."""

    def __init__(self, library, cell, shape, lengths, reverse, machine, dtype):
        self.host = OnHost(library, cell, shape, lengths, reverse, machine, dtype)
        self.wide = [None if t is None else t.double() for t in self.host.tensors]
        self.lengths = self.host.lengths
        steps = range(shape[0])
        self.times = list(reversed(steps)) if reverse else list(steps)

    def active(self, t: int) -> Tensor:
        rows = self.host.shape[1]
        if self.lengths is None:
            return torch.ones(rows, 1, dtype=torch.bool)
        return (t < self.lengths).unsqueeze(1)

    def check_forward(self):
        x_gates, (y, h_n, c_n, saved) = self.host.x_gates(), self.host.forward()
        _, h, c, _, weight_hh, _, bias_hh = self.wide
        gates, known = GATES[self.host.cell], h
        for t in self.times:
            products = (known @ weight_hh.T + bias_hh).chunk(gates, 1)
            of_x = x_gates[t].double().chunk(gates, 1)
            after, c_after, to_save = cell_of(self.host.cell, products, of_x, h, c)
            on = self.active(t)
            assert_rounded(y[t], torch.where(on, after, 0.0))
            for k, one in enumerate(to_save):
                assert error(saved[t, :, k], torch.where(on, one, 0.0)) < 4 * IN_FLOAT
            h = torch.where(on, after, h)
            c = None if c is None else torch.where(on, c_after, c)
            known = torch.where(on, y[t].double(), known)
        assert_rounded(h_n, h)
        if c is not None:
            assert_rounded(c_n, c)
        return y, saved

    def check_backward(self):
        cell, (y, _, _, saved) = self.host.cell, self.host.forward()
        _, h0, c0, _, weight_hh, *_ = self.wide
        generator = torch.Generator().manual_seed(1)
        grad_y, dh, dc = (
            torch.randn(like.shape, generator=generator).to(y) for like in (y, h0, h0)
        )
        dc = dc if c0 is not None else None
        found = self.host.backward(y, saved, grad_y, dh, dc)
        found_dh, found_dc, of_input, of_hidden = found
        dh, dc = dh.double(), None if dc is None else dc.double()
        steps = self.host.shape[0]
        for t in reversed(self.times):
            on = self.active(t)
            before = t + 1 if self.host.reverse else t - 1
            first = torch.tensor(not 0 <= before < steps)
            if self.host.reverse and self.lengths is not None:
                first = (self.lengths - 1 == t).unsqueeze(1)
            inside = min(max(before, 0), steps - 1)
            h_before = torch.where(first, h0, y[inside].double())
            total = dh + grad_y[t].double()
            s = saved[t].double().unbind(1) if saved is not None else ()
            direct, c_grad = torch.zeros_like(dh), None
            if cell == "lstm":
                i, f, g, o, c = s
                c_before = torch.where(first, c0, saved[inside, :, 4].double())
                c_grad = dc + total * o * (1 - c.tanh() ** 2)
                hidden = [
                    c_grad * g * i * (1 - i),
                    c_grad * c_before * f * (1 - f),
                    c_grad * i * (1 - g**2),
                    total * c.tanh() * o * (1 - o),
                ]
                c_grad, grads = c_grad * f, hidden
            elif cell == "gru":
                r, z, n, product = s
                into_n = total * (1 - z) * (1 - n**2)
                into_z = total * (h_before - n) * z * (1 - z)
                into_r = into_n * product * r * (1 - r)
                hidden, grads = [into_r, into_z, into_n * r], [into_r, into_z, into_n]
                direct = total * z
            else:
                value = y[t].double()
                slope = 1 - value**2 if cell == "tanh" else (value > 0).double()
                hidden = grads = [total * slope]
            for k, (of_h, of_x) in enumerate(zip(hidden, grads, strict=True)):
                assert_rounded(of_hidden[t, :, k], torch.where(on, of_h, 0.0))
                assert_rounded(of_input[t, :, k], torch.where(on, of_x, 0.0))
            dh = torch.where(on, direct, dh) + of_hidden[t].flatten(1).double() @ weight_hh
            dc = None if dc is None else torch.where(on, c_grad, dc)
        assert_rounded(found_dh, dh)
        if dc is not None:
            assert_rounded(found_dc, dc)


# steps, rows, inputs, hidden; multiprocessors, shared memory, multiprocessors that a cluster is
# within; what is to be seen of the division of an LSTM.
SETTINGS = [
    ((4, 1, 1, 1), 132, HOPPER, 0, {"group_size": 1, "columns": 16, "depth": 16}),
    ((3, 4, 2, 7), 132, HOPPER, 16, {"group_size": 1, "tile_rows": 8}),
    ((3, 16, 3, 64), 8, 36 << 10, 4, {"group_size": 4, "in_clusters": 1, "item_rows": 8}),
    ((3, 16, 3, 64), 2, 40 << 10, 2, {"group_size": 2, "in_clusters": 1, "item_rows": 16}),
    ((2, 64, 2, 64), 2, HOPPER, 0, {"group_size": 1, "item_rows": 32, "slices": 1}),
    ((2, 100, 1, 31), 1, HOPPER, 0, {"group_size": 1, "tiles": 2, "item_rows": 32}),
    ((2, 100, 2, 128), 16, 80 << 10, 16, {"group_size": 4, "in_clusters": 1, "item_rows": 32}),
    ((2, 16, 2, 256), 16, HOPPER, 16, {"group_size": 8, "in_clusters": 1, "slices": 2}),
    ((2, 20, 2, 128), 12, 48 << 10, 0, {"in_clusters": 0, "shared_weights": 1, "item_rows": 24}),
    ((3, 33, 2, 75), 5, 32 << 10, 0, {"group_size": 5, "groups": 2, "groups_at_once": 1}),
    ((2, 4, 2, 131), 3, 24 << 10, 0, {"group_size": 3, "shared_weights": 0, "slices": 1}),
]


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
@pytest.mark.parametrize("cell", GATES)
def test_each_step(library, cell, setting, dtype):
    shape, multiprocessors, shared, group, expected = setting
    machine = Machine(multiprocessors, shared, group, SHUFFLED)
    reverse = dtype == torch.float16  # each order and the lengths once a setting
    layer = InHalves(library, cell, shape, True, reverse, machine, dtype)
    layer.check_forward()
    seen = {name: getattr(layer.host.division, name) for name in expected}
    layer.check_backward()
    if cell == "lstm":
        assert seen == expected


# Of a GPU with clusters and of one without, as of float32.
@pytest.mark.parametrize("hidden", [64, 128, 256, 512])
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("clusters", [False, True])
def test_multiply_adds_are_of_use(library, hidden, backward, clusters):
    rows = 64
    machine = Machine(132, HOPPER, 16, 0) if clusters else Machine(108, 163 << 10, 0, 0)
    division = divide(library, "lstm", rows, hidden, backward, machine, 2)
    padded_rows = division.groups * division.tiles * division.tile_rows
    done = division.group_size * division.depth * division.columns * padded_rows
    assert 4 * hidden * hidden * rows / done > 0.94
    assert division.in_clusters == (clusters and hidden in (128, 256))
    assert division.shared_weights


def norm_error(found: Tensor, exact: Tensor) -> float:
    return float((found.detach().double() - exact.detach()).norm() / exact.detach().norm())


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("cell", ["tanh", "gru", "lstm"])
def test_all_steps_are_as_good_as_torchs(library, cell, dtype):
    """Beside plain torch in the same halves, both against float64.

    A relu is left out: where rounding moves a sum across 0, its slope jumps.
    """
    shape = (30, 5, 8, 40)
    host = OnHost(library, cell, shape, False, False, Machine(6, 20 << 10, 6, SHUFFLED), dtype)
    wide = [None if t is None else t.double() for t in host.tensors]
    by_torch = values_and_gradients(reference.rnn, host.tensors, None, cell, False)
    exact = values_and_gradients(reference.rnn, wide, None, cell, False)
    y, h_n, c_n, saved = host.forward()
    factors = [torch.linspace(0.5, 1.5, e.numel()).view_as(e).to(dtype) for e in exact[:3]]
    dh, dc, of_input, of_hidden = host.backward(
        y, saved, factors[0], factors[1], factors[2] if cell == "lstm" else None
    )
    x, h0, _, weight_ih, *_ = wide
    of_input, of_hidden = (t.double().flatten(2).flatten(0, 1) for t in (of_input, of_hidden))
    h_before = torch.cat([h0.unsqueeze(0), y[:-1].double()]).flatten(0, 1)
    found = [y, h_n, *([c_n] if cell == "lstm" else [x.new_zeros(0)])]
    found += [(of_input @ weight_ih).view_as(x), dh, *([dc] if cell == "lstm" else [])]
    found += [of_input.T @ x.flatten(0, 1), of_hidden.T @ h_before]
    found += [of_input.sum(0), of_hidden.sum(0)]
    for one, other, all_digits in zip(found, by_torch, exact, strict=True):
        if one.numel():
            error_of_torch = norm_error(other, all_digits)
            assert 0 < norm_error(one.to(dtype), all_digits) <= 1.1 * error_of_torch
