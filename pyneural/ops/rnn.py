"""Recurrent layer, all steps in one call; its autograd is in ``csrc/rnn/rnn_autograd.cpp``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pyneural.errors import ArgumentError
from pyneural.ops import reference
from pyneural.ops.calls import by_kernel
from pyneural.ops.dense import dense
from pyneural.ops.registration import empty_gradients, register_derivative, register_reference
from pyneural.ops.transforms import by_autocast

State = Tensor | tuple[Tensor, Tensor]

GATES = {"tanh": 1, "relu": 1, "lstm": 4, "gru": 3}
_SAVED = {"tanh": 0, "relu": 0, "lstm": 5, "gru": 4}  # elements saved for each step and unit


def rnn(
    x: Tensor,
    h0: State | None,
    weights: Sequence[Tensor | None],
    cell: str = "tanh",
    lengths: Tensor | Sequence[int] | None = None,
    reverse: bool = False,
) -> tuple[Tensor, State]:
    """Recurrent layer, one direction.

        tanh, relu:  h_t = f(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh)
        gru:         r, z = sigmoid(...),  n = tanh(W_in x_t + b_in + r * (W_hn h_(t-1) + b_hn))
                     h_t = (1 - z) * n + z * h_(t-1)
        lstm:        i, f, o = sigmoid(...),  g = tanh(...)
                     c_t = f * c_(t-1) + i * g,  h_t = o * tanh(c_t)

    Weights are those of ``torch.nn.RNN``, ``GRU`` (r, z, n) and ``LSTM`` (i, f, g, o). All steps
    are one kernel call, forward and backward, with no Python and no dispatcher between the steps;
    the result is the same on every run with the same number of threads. Differentiable to any
    order in x, h0 and the weights: the first backward is a kernel, further ones are plain torch.
    For bfloat16 and float16 the state is float32; on CUDA the products of the next step take it
    rounded to these.

    Args:
        x: [T, N, I], T >= 1, float32, float64, bfloat16 or float16.
        h0: [N, H], for an lstm (h0, c0); None for zeros.
        weights: (weight_ih [G H, I], weight_hh [G H, H], bias_ih [G H] or None, bias_hh [G H] or
            None), G gates. For an lstm also (..., weight_hr [P, H]): h is projected to width P,
            weight_hh is [4 H, P] and h0 [N, P].
        cell: "tanh", "relu", "gru" or "lstm".
        lengths: [N], the length of each sequence, 1 to T, in any order; None if all are T. Steps
            beyond it are ignored: y is 0 there, and h_n is the state at the sequence's own end.
        reverse: from the last step of each sequence to the first; y stays in the order of x.

    Returns:
        y, [T, N, H], the h of every step, and h_n, [N, H], for an lstm (h_n, c_n).

    Raises:
        ArgumentError: shapes, dtypes or devices that do not match, an unknown cell, a wrong number
            of weights, no steps, lengths beyond 1 to T.

    Source: Elman 1990; Hochreiter and Schmidhuber 1997; Cho et al. 2014.

    Example:
        >>> x = torch.ones(3, 1, 1)
        >>> y, h_n = rnn(x, None, (torch.ones(1, 1), torch.ones(1, 1), None, None), "relu")
        >>> y.flatten(), h_n  # h_t = x_t + h_(t-1)
        (tensor([1., 2., 3.]), tensor([[3.]]))
    """
    if len(weights) not in ((4, 5) if cell == "lstm" else (4,)):
        wanted = "4, or 5 with a projection," if cell == "lstm" else "4"
        raise ArgumentError(
            f"rnn: weights: expected {wanted} (weight_ih, weight_hh, bias_ih or None, bias_hh or "
            f"None), got {len(weights)}; give them in torch's order"
        )
    if lengths is not None:
        lengths = torch.as_tensor(lengths, dtype=torch.int64, device="cpu")
    weight_ih, weight_hh, bias_ih, bias_hh, *projection = weights
    weight_hr = projection[0] if projection else None
    if weight_ih is None or weight_hh is None or None in projection:
        raise ArgumentError(
            "rnn: weights: expected tensors weight_ih, weight_hh and weight_hr, got None; only "
            "biases may be None"
        )
    if weight_hr is not None:
        biases = bias_ih, bias_hh
        return _projected(x, h0, weight_ih, weight_hh, biases, weight_hr, lengths, reverse)
    h, c = _initial_state(x, h0, weight_hh, cell)
    y, h_n, c_n = _rnn(x, h, c, weight_ih, weight_hh, bias_ih, bias_hh, lengths, cell, reverse)
    return y, ((h_n, c_n) if cell == "lstm" else h_n)


def _projected(
    x: Tensor, start: State | None, weight_ih: Tensor, weight_hh: Tensor,
    biases: tuple[Tensor | None, Tensor | None], weight_hr: Tensor, lengths: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, State]:  # fmt: skip
    """An lstm with projection, computed with one without.

        W_hh h_(t-1) = (W_hh W_hr) (o * tanh(c))_(t-1),   but at the first step W_hh h_0

    h_0 need not be a projection: it enters as an input of the first step.
    """
    steps, rows = x.shape[:2] if x.dim() == 3 else (0, 0)
    hidden, projected = weight_hh.shape[0] // GATES["lstm"], weight_hh.shape[-1]
    _check_like_x("weight_hr", weight_hr, (projected, hidden), "[P, H]", x)
    _check_like_x("weight_hh", weight_hh, (4 * hidden, projected), "[4 H, P]", x)
    # Views keep their values where `.data` of a weight is replaced before the backward, as torch's.
    weight_ih, weight_hh, weight_hr = (w.view_as(w) for w in (weight_ih, weight_hh, weight_hr))
    views = [None if bias is None else bias.view_as(bias) for bias in biases]
    inner: State | None = None
    if start is not None:
        _initial_state(x, start, weight_hh, "lstm")  # raises unless it is a pair
        h, c = start
        inner = x.new_zeros(rows, hidden), c
        _check_like_x("h0", h, (rows, projected), "[N, P]", x)
        first = torch.zeros(rows, dtype=torch.int64, device="cpu")
        if reverse:
            first = first + steps - 1 if lengths is None else lengths - 1
        is_first = torch.arange(steps, device="cpu")[:, None, None] == first[:, None]  # [T, N, 1]
        x = torch.cat([x, is_first.to(x.device) * h], -1)
        weight_ih = torch.cat([weight_ih, weight_hh], 1)
    weights = weight_ih, weight_hh @ weight_hr, *views
    y, (h_n, c_n) = rnn(x, inner, weights, "lstm", lengths, reverse)
    return dense(y, weight_hr), (dense(h_n, weight_hr), c_n)


def _check_like_x(name: str, t: Tensor, shape: tuple[int, ...], letters: str, x: Tensor) -> None:
    """The kernel's check of its arguments, for those that are not passed to it."""
    is_other_dtype = t.dtype != x.dtype and not by_autocast(x.device.type)
    if t.shape != shape or is_other_dtype or t.device != x.device:
        raise ArgumentError(
            f"rnn: {name}: expected shape {letters} = {list(shape)}, {x.dtype} on {x.device}, got "
            f"{list(t.shape)}, {t.dtype} on {t.device}; it must fit x and the other weights"
        )


def _initial_state(
    x: Tensor, h0: State | None, weight_hh: Tensor, cell: str
) -> tuple[Tensor, Tensor | None]:
    """h0 and c0; c0 is None unless the cell is an lstm."""
    is_pair = isinstance(h0, tuple | list)
    if h0 is not None and is_pair != (cell == "lstm"):
        wanted, got = (
            ("a pair (h0, c0)", "one tensor") if cell == "lstm" else ("a tensor", "a pair")
        )
        raise ArgumentError(
            f"rnn: h0: expected {wanted} for cell {cell!r}, got {got}; "
            "only an lstm has a cell state"
        )
    if h0 is None:
        rows = x.shape[1] if x.dim() == 3 else 0
        h = x.new_zeros(rows, weight_hh.shape[-1])
        hidden = weight_hh.shape[0] // GATES.get(cell, 1)
        return h, x.new_zeros(rows, hidden) if cell == "lstm" else None
    if is_pair:
        h, c = h0
        return h, c
    return h0, None  # type: ignore[return-value]


_rnn = by_kernel("rnn", reference.rnn, operands=range(7))


def _fake(x, h0, *options):
    y = x.new_empty(x.shape[0], x.shape[1], h0.shape[1])
    return y, x.new_empty(h0.shape), x.new_empty(h0.shape if options[-2] == "lstm" else 0)


def _fake_with_saved(x, h0, *options):
    count = _SAVED[options[-2]]
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    shape = (x.shape[0], x.shape[1], count, h0.shape[1]) if count else (0,)
    return *_fake(x, h0, *options), x.new_empty(shape, dtype=dtype)


def _fake_backward(grad_y, grad_h_n, grad_c_n, x, h0, c0, weight_ih, weight_hh, *rest):
    gates = weight_hh.shape[:1]
    c_shape = h0.shape if c0 is not None else (0,)
    shapes = x.shape, h0.shape, c_shape, weight_ih.shape, weight_hh.shape, gates, gates
    return empty_gradients(x, shapes, rest[-1])


register_reference("rnn", reference.rnn, _fake)
register_reference("rnn_with_saved", reference.rnn_with_saved, _fake_with_saved)
register_derivative("rnn_backward", reference.rnn_backward, _fake_backward, ["y", "saved"])
