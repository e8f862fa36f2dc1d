"""Recurrent layers in plain torch, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

from pyneural.ops.activations import VALUES


def rnn(
    x: Tensor, h0: Tensor, c0: Tensor | None, weight_ih: Tensor, weight_hh: Tensor,
    bias_ih: Tensor | None, bias_hh: Tensor | None, lengths: Tensor | None, cell: str,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """(y, h_n, c_n), step by step; c_n is empty unless the cell is an lstm."""
    weights = weight_ih, weight_hh, bias_ih, bias_hh
    return _run(x, h0, c0, *weights, lengths, cell, reverse)[:3]


def rnn_with_saved(
    x: Tensor, h0: Tensor, c0: Tensor | None, weight_ih: Tensor, weight_hh: Tensor,
    bias_ih: Tensor | None, bias_hh: Tensor | None, lengths: Tensor | None, cell: str,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """(y, h_n, c_n) and the gates that the kernels save for their backward.

    That is [T, N, K, H]: i, f, g, o and c of an lstm; r, z, n and W_hn h + b_hn of a gru; else
    empty.
    """
    weights = weight_ih, weight_hh, bias_ih, bias_hh
    y, h_n, c_n, steps = _run(x, h0, c0, *weights, lengths, cell, reverse)
    saved = x.new_empty(0)
    if steps[0].gates:
        saved = torch.stack([torch.stack(step.gates, 1) for step in steps])
        active = _active(x, lengths)
        if active is not None:
            saved = saved.masked_fill(~active[..., None], 0)
    return y, h_n, c_n, saved if x.dtype == torch.float64 else saved.float()


def rnn_backward(
    grad_y: Tensor, grad_h_n: Tensor, grad_c_n: Tensor | None, x: Tensor, h0: Tensor,
    c0: Tensor | None, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor | None,
    bias_hh: Tensor | None, lengths: Tensor | None, y: Tensor, saved: Tensor, cell: str,
    reverse: bool, output_mask: Sequence[bool],
) -> list[Tensor]:  # fmt: skip
    """Gradients for x, h0, c0, the weights and the biases, empty where not wanted.

    All steps are computed anew rather than taken from ``y`` and ``saved``, so that derivatives of
    this reach the inputs.
    """
    weights = weight_ih, weight_hh, bias_ih, bias_hh
    steps = _run(x, h0, c0, *weights, lengths, cell, reverse)[3]
    active = _active(x, lengths)
    dh, dc = grad_h_n, grad_c_n
    of_x, of_h = [x] * len(x), [x] * len(x)  # gradients of the products W_ih x + b and W_hh h + b
    for t in range(len(x)) if reverse else reversed(range(len(x))):
        of_x[t], of_h[t], dh_before, dc_before = _step_gradients(cell, steps[t], dh + grad_y[t], dc)
        dh_before = dh_before + of_h[t] @ weight_hh
        if active is None:
            dh, dc = dh_before, dc_before
            continue
        of_x[t], of_h[t] = (of.masked_fill(~active[t], 0) for of in (of_x[t], of_h[t]))
        dh = torch.where(active[t], dh_before, dh)
        if dc is not None and dc_before is not None:
            dc = torch.where(active[t], dc_before, dc)
    by_x, by_h = torch.stack(of_x), torch.stack(of_h)
    x = x if active is None else x.masked_fill(~active, 0)
    h_before = torch.stack([step.h_before for step in steps])
    empty = x.new_empty(0)
    return [
        by_x @ weight_ih if output_mask[0] else empty,
        dh if output_mask[1] else empty,
        dc if output_mask[2] and dc is not None else empty,
        _rows(by_x).mT @ _rows(x) if output_mask[3] else empty,
        _rows(by_h).mT @ _rows(h_before) if output_mask[4] else empty,
        by_x.sum((0, 1)) if output_mask[5] else empty,
        by_h.sum((0, 1)) if output_mask[6] else empty,
    ]


def _rows(t: Tensor) -> Tensor:
    """[T, N, .] as [T N, .]; no flatten, which torch cannot batch with is_grads_batched."""
    return t.reshape(t.shape[0] * t.shape[1], t.shape[2])


class _Step(NamedTuple):
    """A step as its gradients need it; the gates are those of ``rnn_with_saved``."""

    h_before: Tensor
    c_before: Tensor | None
    h: Tensor
    gates: tuple[Tensor, ...]


def _run(
    x: Tensor, h0: Tensor, c0: Tensor | None, weight_ih: Tensor, weight_hh: Tensor,
    bias_ih: Tensor | None, bias_hh: Tensor | None, lengths: Tensor | None, cell: str,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, list[_Step]]:  # fmt: skip
    """(y, h_n, c_n) and the steps, in the order of x."""
    active = _active(x, lengths)
    if active is not None:
        x = x.masked_fill(~active, 0)  # elements beyond the end may be NaN
    from_x = linear(x, weight_ih, bias_ih)
    h, c = h0, c0
    steps: dict[int, _Step] = {}
    for t in reversed(range(len(x))) if reverse else range(len(x)):
        h_new, c_new, gates = _step(cell, from_x[t], linear(h, weight_hh, bias_hh), h, c)
        steps[t] = _Step(h, c, h_new, gates)
        h = h_new if active is None else torch.where(active[t], h_new, h)
        if c is not None and c_new is not None:
            c = c_new if active is None else torch.where(active[t], c_new, c)
    in_order = [steps[t] for t in range(len(x))]
    y = torch.stack([step.h for step in in_order])
    return y if active is None else y * active, h, x.new_zeros(0) if c is None else c, in_order


def _active(x: Tensor, lengths: Tensor | None) -> Tensor | None:
    """Which rows take part in which steps, [T, N, 1]; None for all."""
    if lengths is None:
        return None
    return (torch.arange(len(x))[:, None] < lengths).to(x.device)[:, :, None]


def _step(
    cell: str, from_x: Tensor, from_h: Tensor, h: Tensor, c: Tensor | None
) -> tuple[Tensor, Tensor | None, tuple[Tensor, ...]]:
    """The new h, c of an lstm, and the gates, from the products W_ih x + b and W_hh h + b."""
    if c is not None:
        i, f, g, o = (from_x + from_h).chunk(4, -1)
        i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
        c = f * c + i * g
        return o * torch.tanh(c), c, (i, f, g, o, c)
    if cell == "gru":
        xr, xz, xn = from_x.chunk(3, -1)
        hr, hz, hn = from_h.chunk(3, -1)
        r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
        n = torch.tanh(xn + r * hn)
        return n + z * (h - n), None, (r, z, n, hn)
    return VALUES[cell](from_x + from_h), None, ()


def _step_gradients(
    cell: str, step: _Step, dh: Tensor, dc: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Gradients of W_ih x + b and of W_hh h + b, and those of h and c before on other paths."""
    if step.c_before is not None and dc is not None:
        i, f, g, o, c = step.gates
        tanh_c = torch.tanh(c)
        dc = dc + dh * o * (1 - tanh_c * tanh_c)
        di, df = dc * g * i * (1 - i), dc * step.c_before * f * (1 - f)
        dz = torch.cat([di, df, dc * i * (1 - g * g), dh * tanh_c * o * (1 - o)], -1)
        return dz, dz, torch.zeros_like(dh), dc * f
    if cell == "gru":
        r, z, n, hn = step.gates
        dn = dh * (1 - z) * (1 - n * n)
        dr, dz = dn * hn * r * (1 - r), dh * (step.h_before - n) * z * (1 - z)
        return torch.cat([dr, dz, dn], -1), torch.cat([dr, dz, dn * r], -1), dh * z, None
    dz = dh * (1 - step.h * step.h) if cell == "tanh" else dh * (step.h > 0)
    return dz, dz, torch.zeros_like(dh), None
