"""Translation with a transformer: attention without recurrence."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pyneural import nn
from pyneural.data.vocabulary import END, PADDING, START
from pyneural.errors import wholes
from pyneural.training import Model


class TransformerTranslator(Model):
    """Encoder-decoder transformer that translates one sequence of tokens into another.

        memory = encoder(sqrt(E) S(x) + p),  h = decoder(sqrt(E) T(y) + p, memory)
        p(y_t | y_1 .. y_(t-1), x) = softmax(T h_t + b)

    with the embeddings S and T, of which T is also the readout, and the positional encoding p.

    Args:
        source_symbols: size of the source vocabulary.
        target_symbols: size of the target vocabulary.
        steps: maximum length T of a translation, with its end token.
        d_model: embedding dimension E.
        heads: heads of each attention.
        layers: layers of the encoder, and of the decoder.
        dim_feedforward: width of the feed-forward network in each layer.
        dropout: probability of dropping an element in training.
        norm_first: layer normalisation before each block instead of after it.
        positions: whether to add p. Without it the network does not know the order of the tokens.
        causal: whether the decoder is masked from later tokens in training. Without the mask it
            learns to copy them, and fails when it has to generate them.

    Shape:
        ``forward`` takes ``teacher_forced(x, y)``, x [N, S] and y [N, T], and returns probabilities
        [N, T, target_symbols]; ``translate`` takes x alone.

    Raises:
        ValueError: the errors of ``nn.Transformer``.

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
        source_symbols, target_symbols, steps, d_model, heads, layers, dim_feedforward = wholes(
            "TransformerTranslator",
            source_symbols=source_symbols,
            target_symbols=target_symbols,
            steps=steps,
            d_model=d_model,
            heads=heads,
            layers=layers,
            dim_feedforward=dim_feedforward,
        )
        self.steps, self.positions, self.causal = steps, positions, causal
        self.scale = math.sqrt(d_model)
        self.source = nn.Embedding(source_symbols, d_model)
        self.target = nn.Embedding(target_symbols, d_model)
        for embedding in (self.source, self.target):
            torch.nn.init.normal_(embedding.weight, std=1 / self.scale)
        self.positional_encoding = nn.PositionalEncoding(d_model, dropout, batch_first=True)
        self.transformer = nn.Transformer(
            d_model, heads, layers, layers, dim_feedforward, dropout,
            batch_first=True, norm_first=norm_first,
        )  # fmt: skip
        self.readout_bias = torch.nn.Parameter(torch.zeros(target_symbols))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Encoder output [N, S, E] for texts x [N, S], and the mask of their padding, [N, S]."""
        padding = x == PADDING
        embedded = self._with_positions(self.scale * self.source(x))
        return self.transformer.encoder(embedded, src_key_padding_mask=padding), padding

    def decode(
        self,
        previous: Tensor,
        memory: Tensor,
        padding: Tensor,
        cache: nn.KeyValueCache | None = None,
    ) -> Tensor:
        """Logits [N, T, K] of the next token after each of ``previous`` [N, T]."""
        start = 0 if cache is None else len(cache)
        h = self.transformer.decoder(
            self._with_positions(self.scale * self.target(previous), start),
            memory,
            memory_key_padding_mask=padding,
            tgt_is_causal=self.causal and cache is None,
            cache=cache,
        )
        return torch.nn.functional.linear(h, self.target.weight, self.readout_bias)

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities of each token of the translation, given the correct tokens before it."""
        memory, padding = self.encode(x[:, : -self.steps])
        return self.decode(x[:, -self.steps :], memory, padding).softmax(-1)

    @torch.no_grad()
    def translate(self, x: Tensor, beams: int = 1) -> Tensor:
        """Token codes [N, T] of the most probable translations found by beam search.

        Args:
            x: texts, [N, S].
            beams: number of hypotheses per text; 1 is greedy decoding.

        Raises:
            ValueError: ``beams`` below 1 or above the vocabulary size.
        """
        symbols = self.target.num_embeddings
        if not 1 <= beams <= symbols:
            raise ValueError(
                f"translate: beams: expected 1 to {symbols}, the vocabulary size, got {beams}; "
                "4 is usual"
            )
        memory, padding = (part.repeat_interleave(beams, 0) for part in self.encode(x))
        cache, rows = nn.KeyValueCache(), len(x)
        tokens = x.new_full((rows * beams, 1), START)
        score = memory.new_full((rows, beams), -torch.inf)
        score[:, 0] = 0  # the beams of a text start identical: only the first one counts
        first_row = torch.arange(rows, device=x.device)[:, None] * beams
        for _ in range(self.steps):
            step = self.decode(tokens[:, -1:], memory, padding, cache)[:, 0].log_softmax(-1)
            ended = ((tokens == END).any(1)).view(rows, beams, 1)
            step = step.view(rows, beams, symbols).masked_fill(ended, -torch.inf)
            step[..., PADDING] = torch.where(ended[..., 0], 0.0, step[..., PADDING])
            score, best = (score[..., None] + step).flatten(1).topk(beams, 1)
            chosen = (first_row + best // symbols).flatten()
            cache.select(chosen)
            tokens = torch.cat([tokens[chosen], (best % symbols).view(-1, 1)], 1)
        return tokens.view(rows, beams, -1)[:, 0, 1:]

    @torch.no_grad()
    def attention(self, x: Tensor, y: Tensor) -> Tensor:
        """Cross-attention weights of y [N, T] on x [N, S]: [layers, N, heads, T, S].

        Row t holds the weights with which the decoder predicts token t.
        """
        recorded: list[Tensor] = []

        def record(layer: Any, inputs: tuple[Any, ...]) -> None:
            # ``forward``, because calling the layer would run this hook again.
            _, weights = layer.forward(*inputs[:3], padding, average_attn_weights=False)
            recorded.append(weights)

        previous = torch.cat([torch.full_like(y[:, :1], START), y[:, :-1]], 1)
        memory, padding = self.encode(x)
        layers = self.transformer.decoder.layers
        hooks = [layer.multihead_attn.register_forward_pre_hook(record) for layer in layers]
        try:
            self.decode(previous, memory, padding)
        finally:
            for hook in hooks:
                hook.remove()
        return torch.stack(recorded)

    def _with_positions(self, x: Tensor, start: int = 0) -> Tensor:
        encoding = self.positional_encoding
        return encoding(x, start) if self.positions else encoding.dropout(x)
