"""The transformer that translates: attention alone, no recurrence."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pyneural import nn
from pyneural.data.vocabulary import END, PADDING, START
from pyneural.training import Model


class TransformerTranslator(Model):
    """Encoder and decoder of attention: a text becomes a row of vectors, and these another text.

        memory = encoder(sqrt(E) S(x) + p),  h = decoder(sqrt(E) T(y) + p, memory)
        p(y_t | y_1 .. y_(t-1), x) = softmax(T h_t + b)

    with embeddings S and T, the latter also the readout, and positions p.

    Args:
        source_symbols: how many symbols the texts have.
        target_symbols: how many their translations.
        steps: symbols of a translation at most, T, its end included.
        d_model: numbers E of a symbol.
        heads: of each attention.
        layers: of encoder and decoder each.
        dim_feedforward: numbers between the linear layers of a layer.
        dropout: probability with which a number becomes 0 in training.
        norm_first: norms before attention and linear layers instead of after.
        positions: whether there is p. Without it the order of x is unknown.
        causal: whether the decoder is kept from later symbols in training. Without that it learns
            to copy them, and says nothing of use when there are none.

    Shape:
        ``forward`` takes ``teacher_forced(x, y)``, x [N, S] and y [N, T], and gives probabilities
        [N, T, target_symbols]; ``translate`` takes x alone.

    Raises:
        ValueError: as of ``nn.Transformer``.

    Source: Vaswani et al. 2017; tied embeddings: Press and Wolf, arXiv:1608.05859 (2016).

    >>> from pyneural.data import Vocabulary
    >>> from pyneural.models import teacher_forced
    >>> words, numbers = ["seven", "eleven"], ["7", "11"]
    >>> source, target = Vocabulary(words), Vocabulary(numbers)
    >>> net = TransformerTranslator(len(source), len(target), steps=3, d_model=8, heads=2)
    >>> x, y = source.encode(words), target.encode(numbers)
    >>> net(teacher_forced(x, y)).shape, net.eval().translate(x, beams=2).shape
    (torch.Size([2, 3, 5]), torch.Size([2, 3]))
    """

    def __init__(
        self,
        source_symbols: int,
        target_symbols: int,
        steps: int,
        *,
        d_model: int = 64,
        heads: int = 4,
        layers: int = 2,
        dim_feedforward: int = 256,
        dropout: float = 0.1,
        norm_first: bool = False,
        positions: bool = True,
        causal: bool = True,
    ) -> None:
        super().__init__()
        self.steps, self.positions, self.causal = steps, positions, causal
        self.scale = math.sqrt(d_model)
        self.source = nn.Embedding(source_symbols, d_model)
        self.target = nn.Embedding(target_symbols, d_model)
        for embedding in (self.source, self.target):
            torch.nn.init.normal_(embedding.weight, std=1 / self.scale)
        self.place = nn.PositionalEncoding(d_model, dropout, batch_first=True)
        self.transformer = nn.Transformer(
            d_model, heads, layers, layers, dim_feedforward, dropout,
            batch_first=True, norm_first=norm_first,
        )  # fmt: skip
        self.readout_bias = torch.nn.Parameter(torch.zeros(target_symbols))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Memory [N, S, E] of texts x [N, S], and where they are padding, [N, S]."""
        padding = x == PADDING
        embedded = self._placed(self.scale * self.source(x))
        return self.transformer.encoder(embedded, src_key_padding_mask=padding), padding

    def decode(
        self,
        previous: Tensor,
        memory: Tensor,
        padding: Tensor,
        cache: nn.KeyValueCache | None = None,
    ) -> Tensor:
        """Scores [N, T, K] of each symbol after those before it, [N, T]."""
        start = 0 if cache is None else len(cache)
        h = self.transformer.decoder(
            self._placed(self.scale * self.target(previous), start),
            memory,
            memory_key_padding_mask=padding,
            tgt_is_causal=self.causal and cache is None,
            cache=cache,
        )
        return torch.nn.functional.linear(h, self.target.weight, self.readout_bias)

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities of each symbol of the translation after the right ones before it."""
        memory, padding = self.encode(x[:, : -self.steps])
        return self.decode(x[:, -self.steps :], memory, padding).softmax(-1)

    @torch.no_grad()
    def translate(self, x: Tensor, beams: int = 1) -> Tensor:
        """Codes [N, T] of the most probable translations that were found.

        Args:
            x: texts, [N, S].
            beams: beginnings that are followed for each; with 1 each symbol is the most probable
                one after those before it.

        Raises:
            ValueError: ``beams`` below 1 or above the number of symbols.
        """
        symbols = self.target.num_embeddings
        if not 1 <= beams <= symbols:
            raise ValueError(
                f"translate: beams: expected 1 to {symbols}, the number of symbols, got {beams}; "
                "4 is usual"
            )
        memory, padding = (part.repeat_interleave(beams, 0) for part in self.encode(x))
        cache, rows = nn.KeyValueCache(), len(x)
        said = x.new_full((rows * beams, 1), START)
        score = memory.new_full((rows, beams), -torch.inf)
        score[:, 0] = 0  # the beams of a text begin alike: all but one are left out
        first_row = torch.arange(rows, device=x.device)[:, None] * beams
        for _ in range(self.steps):
            step = self.decode(said[:, -1:], memory, padding, cache)[:, 0].log_softmax(-1)
            ended = ((said == END).any(1)).view(rows, beams, 1)
            step = step.view(rows, beams, symbols).masked_fill(ended, -torch.inf)
            step[..., PADDING] = torch.where(ended[..., 0], 0.0, step[..., PADDING])
            score, best = (score[..., None] + step).flatten(1).topk(beams, 1)
            chosen = (first_row + best // symbols).flatten()
            cache.select(chosen)
            said = torch.cat([said[chosen], (best % symbols).view(-1, 1)], 1)
        return said.view(rows, beams, -1)[:, 0, 1:]

    @torch.no_grad()
    def attention(self, x: Tensor, y: Tensor) -> Tensor:
        """Where each symbol of y [N, T] looks in x [N, S]: [layers, N, heads, T, S].

        These are the weights of the decoder's attention to the encoder; symbol t is said by what
        row t sees.
        """
        seen: list[Tensor] = []

        def look(layer: Any, inputs: tuple[Any, ...]) -> None:
            # Not called, which would come back here.
            _, weights = layer.forward(*inputs[:3], padding, average_attn_weights=False)
            seen.append(weights)

        previous = torch.cat([torch.full_like(y[:, :1], START), y[:, :-1]], 1)
        memory, padding = self.encode(x)
        layers = self.transformer.decoder.layers
        hooks = [layer.multihead_attn.register_forward_pre_hook(look) for layer in layers]
        try:
            self.decode(previous, memory, padding)
        finally:
            for hook in hooks:
                hook.remove()
        return torch.stack(seen)

    def _placed(self, x: Tensor, start: int = 0) -> Tensor:
        return self.place(x, start) if self.positions else self.place.dropout(x)
