"""Recurrent layers under autocast on the CPU, whose states may stay float32."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pyneural import ops
from pyneural.ops.rnn import State
from pyneural.ops.transforms import by_autocast


def keeps_float32(x: Tensor, state: Tensor | None, cell: str, in_one_call: bool = False) -> bool:
    """Whether torch's states are float32 under autocast, which rounds products alone.

    A gru adds z * h_(t-1), and an lstm f * c_(t-1), to what is rounded: the sum has the wider dtype
    of the two, that of the first state included.

    Args:
        x: of the layer.
        state: h_0 of a gru, c_0 of an lstm; None for zeros, which are like x.
        cell: that of ``ops.rnn``.
        in_one_call: whether it is a layer without projection, of padded sequences: all steps of an
            lstm are one call of oneDNN, which rounds the states too.
    """
    if cell not in ("gru", "lstm") or x.device.type != "cpu" or not by_autocast("cpu"):
        return False
    lower = torch.get_autocast_dtype("cpu")
    is_whole = cell == "lstm" and in_one_call and x.numel() > 0
    if is_whole and x.dtype in (torch.float32, lower) and torch.backends.mkldnn.is_available():
        return False
    start = x if state is None else state
    return torch.promote_types(start.dtype, lower) == torch.float32


def rnn_in_float32(
    x: Tensor,
    state: State | None,
    weights: Sequence[Tensor | None],
    cell: str,
    lengths: Tensor | None = None,
    reverse: bool = False,
) -> tuple[Tensor, State]:
    """``ops.rnn`` in float32 under autocast; a projection's y and h have the lower precision."""
    lower = torch.get_autocast_dtype("cpu")
    start = tuple(map(_widened, state)) if isinstance(state, tuple | list) else _widened(state)
    with torch.autocast("cpu", enabled=False):
        wide = [_widened(w) for w in weights]
        y, end = ops.rnn(_widened(x), start, wide, cell, lengths, reverse)  # type: ignore[arg-type]
    if len(weights) == 5:
        return y.to(lower), (end[0].to(lower), end[1])
    return y, end


def _widened(t: Tensor | None) -> Tensor | None:
    """float32 from a lower precision; the kernel's check refuses float64, as torch does."""
    return t.float() if t is not None and t.dtype in (torch.bfloat16, torch.float16) else t
