"""Recurrent layers in plain torch, step by step."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import linear

from pyneural.ops.activations import VALUES


def rnn(
    x: Tensor,
    h0: Tensor,
    c0: Tensor | None,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    lengths: Tensor | None,
    cell: str,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """(y, h_n, c_n), step by step; c_n is empty but for an lstm."""
    steps = len(x)
    active = None
    if lengths is not None:
        active = (torch.arange(steps)[:, None] < lengths).to(x.device)[:, :, None]  # [T, N, 1]
        x = x.masked_fill(~active, 0)  # what lies beyond may be NaN
    from_x = linear(x, weight_ih, bias_ih)
    h, c = h0, c0
    ys: list[Tensor] = [h0] * steps
    for t in reversed(range(steps)) if reverse else range(steps):
        from_h = linear(h, weight_hh, bias_hh)
        h_new, c_new = _recurrent_step(cell, from_x[t], from_h, h, c)
        ys[t] = h_new if active is None else h_new * active[t]
        h = h_new if active is None else torch.where(active[t], h_new, h)
        if c is not None and c_new is not None:
            c = c_new if active is None else torch.where(active[t], c_new, c)
    return torch.stack(ys), h, x.new_zeros(0) if c is None else c


def _recurrent_step(
    cell: str, from_x: Tensor, from_h: Tensor, h: Tensor, c: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The new h and, of an lstm, c, from the gates' two products."""
    if c is not None:
        i, f, g, o = (from_x + from_h).chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c
    if cell == "gru":
        xr, xz, xn = from_x.chunk(3, -1)
        hr, hz, hn = from_h.chunk(3, -1)
        z = torch.sigmoid(xz + hz)
        n = torch.tanh(xn + torch.sigmoid(xr + hr) * hn)
        return n + z * (h - n), None
    return VALUES[cell](from_x + from_h), None
