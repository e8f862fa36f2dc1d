"""Recurrent layers in plain torch, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from pyneural.ops.activations import VALUES
from pyneural.ops.vjp import gradients


def rnn(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    """(y, h_n, c_n), step by step, of the arguments of ``rnn_with_saved``.

    c_n is empty unless the cell is an lstm.
    """
    return _run(*arguments)[:3]


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
    y, h_n, c_n, gates = _run(x, h0, c0, *weights, lengths, cell, reverse)
    saved = x.new_empty(0)
    if gates[0]:
        saved = torch.stack([torch.stack(of_step, 1) for of_step in gates])
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

    ``y`` and ``saved`` are not read.
    """
    bias_ih, bias_hh = (
        weight_hh.new_zeros(len(weight_hh)) if bias is None else bias for bias in (bias_ih, bias_hh)
    )
    tensors = x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh
    wanted = [w and t is not None for w, t in zip(output_mask, tensors, strict=True)]
    grads = [grad_y, grad_h_n] if grad_c_n is None else [grad_y, grad_h_n, grad_c_n]

    def layer(*tensors: Tensor) -> tuple[Tensor, ...]:
        return rnn(*tensors, lengths, cell, reverse)[: len(grads)]

    return gradients(layer, tensors, grads, wanted, x.new_empty(0))


def _run(
    x: Tensor, h0: Tensor, c0: Tensor | None, weight_ih: Tensor, weight_hh: Tensor,
    bias_ih: Tensor | None, bias_hh: Tensor | None, lengths: Tensor | None, cell: str,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Sequence[tuple[Tensor, ...]]]:  # fmt: skip
    """(y, h_n, c_n) and the gates of each step, in the order of x."""
    active = _active(x, lengths)
    if active is not None:
        x = x.masked_fill(~active, 0)  # elements beyond the end may be NaN
    from_x = linear(x, weight_ih, bias_ih)
    h, c = h0, c0
    steps: dict[int, tuple[Tensor, tuple[Tensor, ...]]] = {}
    for t in reversed(range(len(x))) if reverse else range(len(x)):
        h_new, c_new, gates = _step(cell, from_x[t], linear(h, weight_hh, bias_hh), h, c)
        steps[t] = h_new, gates
        h = h_new if active is None else torch.where(active[t], h_new, h)
        if c is not None and c_new is not None:
            c = c_new if active is None else torch.where(active[t], c_new, c)
    of_h, of_gates = zip(*(steps[t] for t in range(len(x))), strict=True)
    y = torch.stack(of_h)
    y = y if active is None else y.masked_fill(~active, 0)
    return y, h, x.new_zeros(0) if c is None else c, of_gates


def _active(x: Tensor, lengths: Tensor | None) -> Tensor | None:
    """Which rows take part in which steps, [T, N, 1]; None for all."""
    if lengths is None:
        return None
    return (torch.arange(len(x), device="cpu")[:, None] < lengths).to(x.device)[:, :, None]


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
