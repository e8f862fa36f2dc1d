"""The transformer: translating dates and reversing sequences of letters.

    softmax(q k^T / sqrt(D)) v  in several heads, encoder and decoder

Translates dates into ISO 8601 and prints the fraction of held-out dates that
are correct in every token, with greedy decoding and with a beam of 4.
Reversing letters shows the use of the parts: positional encoding, causal mask,
several heads. Writes transformer.png.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pyneural import data, optim, plots
from pyneural.demos import _fit
from pyneural.demos._options import print_row, whole
from pyneural.models import TransformerTranslator, teacher_forced
from pyneural.training import losses
from pyneural.training.callbacks import WarmUp

Pairs = tuple[list[str], list[str]]  # texts and answers
SYSTEMS = ("S32",)
SUMMARY = "A transformer translates; its parts tested."
NEXT = "pyneural demo long-lag: its memory beside that of an LSTM"
QUICK = ("--epochs", "6")
DATES, REVERSALS, HELD_OUT, BATCH, BEAMS = 10_000, 6_000, 1_000, 64, 4
RATE, WARM_UP, SMOOTHING = 2e-3, 200, 0.1
SIZES: dict[str, Any] = {"d_model": 64, "heads": 8, "layers": 2, "dropout": 0.0}
VARIANTS: dict[str, dict[str, Any]] = {
    "complete": {},
    "norm first": {"norm_first": True},
    "one head": {"heads": 1},
    "without positions": {"positions": False},
    "without causal mask": {"causal": False},
}
OPTIONS = {"--epochs": whole("passes through the pairs of each training", 12, low=1)}


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    picture = _translate_dates(args.seed, args.epochs)
    scores = _reverse_letters(args.seed, args.epochs)
    return plots.translation(*picture, scores)


def _translate_dates(seed: int, epochs: int) -> tuple[str, str, Tensor]:
    """Prints the accuracy; returns one text, its translation and the cross-attention."""
    print("Translating dates into ISO 8601 with a transformer\n")
    training, held_out = data.dates(DATES, seed), data.dates(HELD_OUT, seed, held_out=True)
    began = time.perf_counter()
    network, target, (x, y) = _trained("dates", training, held_out, seed, epochs, {})
    print_row("parameters", f"{sum(p.numel() for p in network.parameters()):,}")
    print_row("training", f"{DATES:,} dates, {time.perf_counter() - began:.0f} s")
    for name, beams in (("greedy", 1), (f"beam of {BEAMS}", BEAMS)):
        decoded = network.translate(x, beams)
        print_row(name, f"{_accuracy(decoded, y):.1%} of {HELD_OUT:,} held-out dates correct")
    print()
    for text, symbols in list(zip(held_out[0], target.decode(decoded), strict=True))[:4]:
        print(f"  {text:<32}{''.join(symbols)}")
    print()
    shown = min(range(HELD_OUT), key=lambda row: abs(len(held_out[0][row]) - 16))
    maps = network.attention(x[shown : shown + 1], y[shown : shown + 1])[-1, 0]
    text, answer = held_out[0][shown], held_out[1][shown]
    return text, answer, maps[:, : len(answer), : len(text)]


def _reverse_letters(seed: int, epochs: int) -> dict[str, float]:
    """Prints and returns the accuracy of each variant."""
    print("Reversing letters: held-out answers correct in every letter\n")
    training, held_out = data.reversal(REVERSALS, seed), data.reversal(HELD_OUT, seed + 1)
    scores = {}
    for name, options in VARIANTS.items():
        network, _, (x, y) = _trained("reversals", training, held_out, seed, epochs, options)
        scores[name] = _accuracy(network.translate(x), y)
        print(f"  {name:<24}{scores[name]:7.1%}", flush=True)
    print()
    return scores


def _trained(
    task: str, training: Pairs, held_out: Pairs, seed: int, epochs: int, options: dict[str, Any]
) -> tuple[TransformerTranslator, data.Vocabulary, tuple[Tensor, Tensor]]:
    """A trained network, the vocabulary of its answers, and the held-out part as codes."""
    torch.manual_seed(seed)
    (texts, answers), (new_texts, new_answers) = training, held_out
    source, target = data.Vocabulary(texts + new_texts), data.Vocabulary(answers + new_answers)
    x, new_x = source.encode(texts + new_texts).split([len(texts), len(new_texts)])
    y, new_y = target.encode(answers + new_answers).split([len(answers), len(new_answers)])
    network = TransformerTranslator(len(source), len(target), y.shape[1], **(SIZES | options))
    network.compile(
        partial(optim.Adam, lr=RATE, betas=(0.9, 0.98)),
        partial(losses.sparse_categorical_crossentropy, label_smoothing=SMOOTHING),
        clip_norm=1.0,
    )
    _fit.fit(
        network, task, teacher_forced(x, y), y, WarmUp(WARM_UP), epochs=epochs,
        batch_size=BATCH,
    )  # fmt: skip
    return network.eval(), target, (new_x, new_y)


def _accuracy(decoded: Tensor, y: Tensor) -> float:
    """Fraction of rows that are correct in every token."""
    return float((decoded == y).all(1).float().mean())
