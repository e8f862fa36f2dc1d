"""Recurrent layers, drop-in for torch's, with one kernel call for each layer and direction."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from pyneural import ops
from pyneural.errors import ArgumentError
from pyneural.nn.autocast import keeps_float32, rnn_in_float32
from pyneural.nn.checks import check_input, of_layer
from pyneural.nn.drop_in import call_without_tensors
from pyneural.nn.quantization import Quantizable
from pyneural.nn.stored import stored
from pyneural.ops.transforms import has_no_kernel, is_torchs

State = Tensor | tuple[Tensor, Tensor]
_CELL_WEIGHTS = "weight_ih", "weight_hh", "bias_ih", "bias_hh"


class _HasCell(Quantizable):
    """The cell of ``ops.rnn`` that a layer computes."""

    _gated: str | None = None  # None for a plain recurrence with its nonlinearity

    @property
    def _cell(self) -> str:
        return self._gated or self.nonlinearity  # type: ignore[return-value]


class _Recurrent(_HasCell, torch.nn.RNNBase):
    """Common base of RNN, LSTM and GRU: layers, directions, dropout and the shapes of the input."""

    def forward(
        self, input: Tensor | PackedSequence, hx: State | None = None
    ) -> tuple[Tensor | PackedSequence, State]:
        """(y, final state) from x and the initial state, zeros by default."""
        data = input.data if isinstance(input, PackedSequence) else input
        if not isinstance(data, Tensor):
            return call_without_tensors(self, input, hx)
        if is_torchs(data):
            return super().forward(input, hx)
        try:
            if isinstance(input, PackedSequence):
                return self._forward_packed(input, hx)
            return self._forward(input, hx)
        except (ValueError, RuntimeError) as error:
            weight: Tensor = self.weight_ih_l0  # type: ignore[assignment]
            if has_no_kernel((data, weight)):
                return super().forward(input, hx)
            check_input(self, "input", data, self.input_size, weight)
            raise of_layer(self, "rnn", error) from None

    def _forward(self, input: Tensor, hx: State | None) -> tuple[Tensor, State]:
        """The same for a tensor."""
        if input.dim() not in (2, 3):
            raise ArgumentError(
                f"{type(self).__name__}: input: expected [T, I], "
                f"{'[N, T, I]' if self.batch_first else '[T, N, I]'} or a PackedSequence, got "
                f"shape {list(input.shape)}; x.unsqueeze(...) adds the missing dimensions"
            )
        batched = input.dim() == 3
        x = input if batched else input.unsqueeze(1)
        state = self._checked_state(hx, x.shape[0 if self.batch_first else 1] if batched else None)
        state = state if batched else [part.unsqueeze(1) for part in state]
        x = x.transpose(0, 1) if self.batch_first and batched else x
        y, ends = self._run(x, state, None)
        if y.requires_grad and y.device.type == "cpu" and self._cell != "lstm":
            # The op's backward needs its y. Torch's does not on the CPU, but for an LSTM, so that a
            # program may change it in place.
            y = y if self.bidirectional else y.clone()
        if not batched:
            return y.squeeze(1), self._as_state([part.squeeze(1) for part in ends])
        return y.transpose(0, 1) if self.batch_first else y, self._as_state(ends)

    def _forward_packed(
        self, packed: PackedSequence, hx: State | None
    ) -> tuple[PackedSequence, State]:
        """The same for a PackedSequence, whose rows are in the order of their lengths."""
        data, batch_sizes, order, original = packed
        steps, rows = len(batch_sizes), int(batch_sizes[0])
        row = torch.arange(rows, device="cpu")  # as batch_sizes is, whatever the default device
        lengths = (batch_sizes[:, None] > row).sum(0)
        at = (row < batch_sizes[:, None]).flatten().nonzero().flatten()
        at = at.to(data.device)
        x = data.new_zeros(steps * rows, data.shape[1]).index_add(0, at, data)
        state = self._checked_state(hx, rows)
        state = state if order is None else [part.index_select(1, order) for part in state]
        y, ends = self._run(x.view(steps, rows, -1), state, lengths)
        ends = ends if original is None else [part.index_select(1, original) for part in ends]
        found = y.flatten(0, 1).index_select(0, at)
        return PackedSequence(found, batch_sizes, order, original), self._as_state(ends)

    def _run(
        self, x: Tensor, state: Sequence[Tensor], lengths: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        """The y [T, N, D H] and the final states, each [L D, N, H], of x [T, N, I]."""
        directions = 2 if self.bidirectional else 1
        in_one_call = lengths is None and not self.proj_size
        in_float32 = keeps_float32(x, state[-1] if state else None, self._cell, in_one_call)
        run = rnn_in_float32 if in_float32 else ops.rnn
        ends: list[tuple[Tensor, ...]] = []
        for layer in range(self.num_layers):
            if layer > 0 and self.training:
                x = ops.dropout(x, self.dropout)
            ys = []
            for direction in range(directions):
                index = layer * directions + direction
                start = self._as_state([part[index] for part in state]) if state else None
                y, end = run(
                    x, start, self._weights(index), self._cell, lengths, reverse=direction == 1
                )
                ys.append(y)
                ends.append(end if isinstance(end, tuple) else (end,))
            x = ys[0] if directions == 1 else torch.cat(ys, -1)
        return x, [torch.stack(parts) for parts in zip(*ends, strict=True)]

    def _weights(self, index: int) -> list[Tensor | None]:
        """Weights of a layer and direction, in the order of ``ops.rnn``."""
        found = [stored(self, name) for name in self._all_weights[index]]
        biases = found[2:4] if self.bias else [None, None]
        projection = found[4:] if self.bias else found[2:]
        return [*found[:2], *biases, *projection]

    def _checked_state(self, hx: State | None, rows: int | None) -> list[Tensor]:
        """The state as a list of tensors, empty for none; ``rows`` is None for unbatched input."""
        if hx is None:
            return []
        is_pair, pair = isinstance(hx, tuple | list), self._cell == "lstm"
        if is_pair != pair:
            wanted = "a pair (h_0, c_0)" if pair else "a tensor h_0"
            raise ArgumentError(
                f"{type(self).__name__}: hx: expected {wanted}, got a {type(hx).__name__}; "
                "only an LSTM has a cell state"
            )
        state: list[Tensor] = list(hx) if isinstance(hx, tuple | list) else [hx]
        count = self.num_layers * (2 if self.bidirectional else 1)
        widths = (self.proj_size, "P") if self.proj_size else (self.hidden_size, "H")
        for name, part, (width, letter) in zip(
            ("h_0", "c_0"), state, (widths, (self.hidden_size, "H")), strict=False
        ):
            shape = [count, width] if rows is None else [count, rows, width]
            if list(part.shape) != shape:
                letters = f"[{count}, {letter}]" if rows is None else f"[{count}, N, {letter}]"
                raise ArgumentError(
                    f"{type(self).__name__}: {name}: expected {letters} = {shape} for "
                    f"{self.num_layers} layers, got {list(part.shape)}; give one state for each "
                    "layer and direction, batched as the input is"
                )
        return state

    @staticmethod
    def _as_state(parts: Sequence[Tensor]) -> State:
        return parts[0] if len(parts) == 1 else (parts[0], parts[1])


class RNN(_Recurrent, torch.nn.RNN):  # type: ignore[misc]
    """Recurrent layer of Elman.

        h_t = f(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh),  f tanh or relu

    ``torch.nn.RNN`` with a faster forward and backward, and second derivatives: same constructor,
    same initialisation under the same seed, same ``state_dict``, packed and unbatched input.

    Args:
        input_size: I.
        hidden_size: H.
        num_layers: number of stacked layers.
        nonlinearity: "tanh" or "relu".
        bias: whether there are b_ih and b_hh.
        batch_first: whether x and y are [N, T, .].
        dropout: probability that an element between two layers becomes 0 in training.
        bidirectional: whether a second layer runs from the end to the beginning.
        device, dtype: of the parameters.

    Shape:
        x [T, N, I] to y [T, N, D H] and h_n [D L, N, H], D directions and L layers.

    Raises:
        ArgumentError: shapes, dtypes or devices that do not match.

    ``torch.compile`` accepts no subclass of ``torch.nn.RNN``, ``LSTM`` or ``GRU`` unless
    ``torch._dynamo.config.allow_rnn = True``; it then compiles in one graph.

    Source: Elman, Cognitive Science 14, 179 (1990).

    >>> layer = RNN(3, 5)
    >>> y, h_n = layer(torch.rand(7, 2, 3))
    >>> y.shape, h_n.shape
    (torch.Size([7, 2, 5]), torch.Size([1, 2, 5]))
    """

    _twin = torch.nn.RNN


class LSTM(_Recurrent, torch.nn.LSTM):  # type: ignore[misc]
    """Long short-term memory.

        i, f, o = sigmoid(W x_t + b + W' h_(t-1) + b'),  g = tanh(...)
        c_t = f * c_(t-1) + i * g,  h_t = o * tanh(c_t)

    ``torch.nn.LSTM`` with a faster forward and backward, and second derivatives. Arguments as for
    ``RNN``, but for the nonlinearity, and ``proj_size``, P: h_t is multiplied by W_hr [P, H]. The
    state is a pair (h, c).

    Raises:
        ArgumentError: shapes, dtypes or devices that do not match.

    Source: Hochreiter and Schmidhuber, Neural Computation 9, 1735 (1997).

    >>> layer = LSTM(3, 5, num_layers=2, bidirectional=True)
    >>> y, (h_n, c_n) = layer(torch.rand(7, 2, 3))
    >>> y.shape, h_n.shape
    (torch.Size([7, 2, 10]), torch.Size([4, 2, 5]))
    """

    _twin = torch.nn.LSTM
    _gated = "lstm"


class GRU(_Recurrent, torch.nn.GRU):  # type: ignore[misc]
    """Gated recurrent unit.

        r, z = sigmoid(W x_t + b + W' h_(t-1) + b')
        n = tanh(W_n x_t + b_n + r * (W'_n h_(t-1) + b'_n)),  h_t = (1 - z) * n + z * h_(t-1)

    ``torch.nn.GRU`` with a faster forward and backward, and second derivatives. Arguments as for
    ``RNN``, but for the nonlinearity.

    Raises:
        ArgumentError: shapes, dtypes or devices that do not match.

    Source: Cho et al., arXiv:1406.1078 (2014).

    >>> layer = GRU(3, 5, batch_first=True)
    >>> y, h_n = layer(torch.rand(2, 7, 3))
    >>> y.shape, h_n.shape
    (torch.Size([2, 7, 5]), torch.Size([1, 2, 5]))
    """

    _twin = torch.nn.GRU
    _gated = "gru"


class _RecurrentCell(_HasCell, torch.nn.RNNCellBase):
    """Common base of RNNCell, LSTMCell and GRUCell: one step of ``ops.rnn``."""

    def forward(self, input: Tensor, hx: State | None = None) -> State:
        """The new state from x [N, I] or [I] and the state before, zeros by default."""
        if not isinstance(input, Tensor):
            return call_without_tensors(self, input, hx)
        if is_torchs(input):
            return super().forward(input, hx)
        try:
            return self._forward(input, hx)
        except (ValueError, RuntimeError) as error:
            if has_no_kernel((input, self.weight_ih)):
                return super().forward(input, hx)
            check_input(self, "input", input, self.input_size, self.weight_ih)
            raise of_layer(self, "rnn", error) from None

    def _forward(self, input: Tensor, hx: State | None) -> State:
        """By our op."""
        if input.dim() not in (1, 2):
            raise ArgumentError(
                f"{type(self).__name__}: input: expected [N, I] or [I], got shape "
                f"{list(input.shape)}; a cell computes one step, the layer all steps"
            )
        is_pair = isinstance(hx, tuple | list)
        batched = input.dim() == 2
        start = hx
        if hx is not None and not batched:
            start = (hx[0][None], hx[1][None]) if is_pair else hx[None]  # type: ignore[call-overload]
        weights = [stored(self, name) for name in _CELL_WEIGHTS]
        x = input[None] if batched else input[None, None]
        state = start[-1] if isinstance(start, tuple | list) else start
        run = rnn_in_float32 if keeps_float32(x, state, self._cell) else ops.rnn
        _, end = run(x, start, weights, self._cell)
        if batched:
            return end
        return (end[0][0], end[1][0]) if isinstance(end, tuple) else end[0]


class RNNCell(_RecurrentCell, torch.nn.RNNCell):  # type: ignore[misc]
    """One step of ``RNN``: ``torch.nn.RNNCell`` on our kernel.

    >>> RNNCell(3, 5)(torch.rand(2, 3)).shape
    torch.Size([2, 5])
    """

    _twin = torch.nn.RNNCell


class LSTMCell(_RecurrentCell, torch.nn.LSTMCell):  # type: ignore[misc]
    """One step of ``LSTM``: ``torch.nn.LSTMCell`` on our kernel.

    >>> h, c = LSTMCell(3, 5)(torch.rand(2, 3))
    >>> h.shape
    torch.Size([2, 5])
    """

    _twin = torch.nn.LSTMCell
    _gated = "lstm"


class GRUCell(_RecurrentCell, torch.nn.GRUCell):  # type: ignore[misc]
    """One step of ``GRU``: ``torch.nn.GRUCell`` on our kernel.

    >>> GRUCell(3, 5)(torch.rand(2, 3)).shape
    torch.Size([2, 5])
    """

    _twin = torch.nn.GRUCell
    _gated = "gru"
