"""Attention: the maps of each head, and what masks do to them.

    softmax(q k^T / sqrt(D) + mask) v

Tokens with positions go through one layer of several heads, unmasked and under
three masks. What each mask promises is checked: no weight where there is none
to be, and no change of the result by what must not be seen. The kernel, which
never holds a map, is compared with the equation. Writes attention.png.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

from pyneural import nn, ops, plots
from pyneural.demos import _options

SYSTEMS = ("S31",)
SUMMARY = "Attention maps of each head, and masks."
TOKENS, PADDING, REACH, WIDTH, HEADS = 24, 6, 3, 32, 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the demo's options."""
    _options.add_picture(parser)


def run(args: argparse.Namespace) -> int:
    """Runs the demo; returns 0."""
    out = _options.checked_out(args.out)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(args.seed)
        layer = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).double().eval()
        steps = torch.randn(1, TOKENS, WIDTH, dtype=torch.float64)
    layer.requires_grad_(False)
    layer.in_proj_weight.mul_(2)  # weights that differ more
    x = nn.PositionalEncoding(WIDTH, batch_first=True)(steps.cumsum(1) / 2)
    place = torch.arange(TOKENS)
    distance = (place[:, None] - place).abs()
    masks: dict[str, tuple[Tensor | None, Tensor]] = {  # attn_mask, and which keys each query sees
        "no mask": (None, torch.ones(TOKENS, TOKENS, dtype=torch.bool)),
        "causal": (place > place[:, None], place <= place[:, None]),
        f"window of {REACH}": (distance > REACH, distance <= REACH),
        "padding": (
            (place >= TOKENS - PADDING).expand(TOKENS, -1),
            (place < TOKENS - PADDING).expand(TOKENS, -1),
        ),
    }
    print(f"Attention of {HEADS} heads over {TOKENS} tokens of {WIDTH} numbers\n")
    print("  mask            seen   weight elsewhere   change by what is not seen")
    maps = {}
    for name, (mask, seen) in masks.items():
        y, weights = layer(x, x, x, attn_mask=mask, average_attn_weights=False)
        maps[name] = weights[0]
        elsewhere = float(weights[0][:, ~seen].sum())
        change = _change(layer, x, y, mask, seen)
        print(f"  {name:<14}{float(seen.double().mean()):6.0%}{elsewhere:19.0e}{change:29.0e}")
    print()
    rows = maps["no mask"].sum(-1)
    _options.print_rows(
        [
            ("weights", f"of each query sum to 1 within {float((rows - 1).abs().max()):.0e}"),
            ("kernel", f"as the equation within {_against_equation(args.seed):.0e}"),
        ]
    )
    figure = plots.attention_maps(maps)
    _options.print_rows([("picture", str(plots.save(figure, out / "attention.png")))])
    return 0


def _change(
    layer: nn.MultiheadAttention, x: Tensor, y: Tensor, mask: Tensor | None, seen: Tensor
) -> float:
    """Largest change of a query's result when all tokens that it does not see are others."""
    largest = 0.0
    for query in range(TOKENS):
        other = torch.where(seen[query, :, None], x, 7.0)
        changed, _ = layer(x, other, other, attn_mask=mask, need_weights=False)
        largest = max(largest, float((changed - y)[0, query].abs().max()))
    return largest


def _against_equation(seed: int) -> float:
    generator = torch.Generator().manual_seed(seed)
    q, k, v = torch.randn(3, 1, HEADS, 200, 8, dtype=torch.float64, generator=generator)
    exact = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v
    return float((ops.attention(q, k, v) - exact).abs().max())
