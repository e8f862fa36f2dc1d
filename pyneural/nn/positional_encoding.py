"""Encodings of the position of a token, added to the token."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pyneural.errors import ArgumentError
from pyneural.nn.checks import check_probability, check_tokens
from pyneural.nn.drop_in import call_without_tensors
from pyneural.nn.dropout import Dropout


class PositionalEncoding(torch.nn.Module):
    """Sinusoidal encoding of positions; attention itself does not depend on the order.

        y_t = dropout(x_t + p_t),  p_t,2i = sin(t / 10000^(2i/E)),  p_t,2i+1 = cos(t / 10000^(2i/E))

    Args:
        d_model: width E of a token.
        dropout: probability that an element becomes 0 in training.
        batch_first: whether x is [N, L, E], as for torch's transformer layers.

    Shape:
        x [L, N, E], [N, L, E] or [L, E] to the same.

    Raises:
        ArgumentError: ``d_model`` below 1, ``dropout`` not from 0 to 1, ``start`` below 0, or x of
            another width or of an integer dtype.

    Source: Vaswani et al. 2017, section 3.5.

    >>> PositionalEncoding(4)(torch.zeros(3, 4))
    tensor([[ 0.0000,  1.0000,  0.0000,  1.0000],
            [ 0.8415,  0.5403,  0.0100,  0.9999],
            [ 0.9093, -0.4161,  0.0200,  0.9998]])
    """

    def __init__(self, d_model: int, dropout: float = 0.0, batch_first: bool = False) -> None:
        super().__init__()
        if d_model < 1:
            raise ArgumentError(
                f"PositionalEncoding: d_model: expected >= 1, got {d_model}; give the width "
                "of a token"
            )
        check_probability("PositionalEncoding", "dropout", dropout)
        self.d_model = d_model
        self.batch_first = batch_first
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        """The tokens with their positions added.

        Args:
            x: the tokens.
            start: position of the first one, as ``len(cache)`` of a ``KeyValueCache``.
        """
        if not isinstance(x, Tensor):
            return call_without_tensors(self, x, start)
        remedy = "d_model must be the width of a token"
        check_tokens("PositionalEncoding", "x", x, x, self.d_model, "L", self.batch_first, remedy)
        if start < 0:
            raise ArgumentError(
                f"PositionalEncoding: start: expected >= 0, got {start}; give the position of the "
                "first token"
            )
        by_row = self.batch_first or x.dim() == 2
        p = self.positions(x.shape[-2] if by_row else x.shape[0], start, x)
        return self.dropout(x + (p if by_row else p[:, None]))

    def positions(self, count: int, start: int, like: Tensor) -> Tensor:
        """The p_t of ``count`` positions from ``start`` on, [count, E]."""
        place = torch.arange(start, start + count, device=like.device, dtype=torch.float64)
        even = torch.arange(0, self.d_model, 2, device=like.device, dtype=torch.float64)
        angle = place[:, None] * torch.exp(even * (-math.log(10_000) / self.d_model))
        both = torch.stack([angle.sin(), angle.cos()], -1).flatten(1)
        return both[:, : self.d_model].to(like.dtype)

    def extra_repr(self) -> str:
        """For ``print``."""
        return f"d_model={self.d_model}, batch_first={self.batch_first}"
