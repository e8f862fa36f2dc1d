"""Attention: the weights of each head, without and with masks.

    softmax(q k^T / sqrt(D) + mask) v

Tokens with a positional encoding pass through one multi-head attention layer,
without a mask and with three masks. Checks that masked keys get no weight and
that changing them does not change the result, and compares the kernel, which
never stores the weights, with the equation. Writes attention.png.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

from pyneural import nn, ops, plots
from pyneural.demos._options import print_row

SYSTEMS = ("S31",)
SUMMARY = "Attention maps of each head, and masks."
NEXT = "pyneural demo transformer: these maps at work in a translator"
TOKENS, PADDING, REACH, WIDTH, HEADS = 24, 6, 3, 32, 4


def run(args: argparse.Namespace) -> object:
    """Runs the demo; returns the figure."""
    layer = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).double().eval()
    steps = torch.randn(1, TOKENS, WIDTH, dtype=torch.float64)
    layer.requires_grad_(False)
    layer.in_proj_weight.mul_(2)  # makes the weights less uniform
    x = nn.PositionalEncoding(WIDTH, batch_first=True)(steps.cumsum(1) / 2)
    place = torch.arange(TOKENS)
    distance = (place[:, None] - place).abs()
    padding = (place >= TOKENS - PADDING).expand(TOKENS, -1)
    masks: dict[str, tuple[Tensor | None, Tensor]] = {  # attn_mask, visible keys
        "no mask": (None, torch.ones(TOKENS, TOKENS, dtype=torch.bool)),
        "causal": (place > place[:, None], place <= place[:, None]),
        f"window of {REACH}": (distance > REACH, distance <= REACH),
        "padding": (padding, ~padding),
    }
    print(f"Attention with {HEADS} heads over {TOKENS} tokens of dimension {WIDTH}\n")
    print("  mask            seen   weight of masked   change by masked tokens")
    maps = {}
    for name, (mask, seen) in masks.items():
        y, weights = layer(x, x, x, attn_mask=mask, average_attn_weights=False)
        maps[name] = weights[0]
        elsewhere = float(weights[0][:, ~seen].sum())
        change = _change(layer, x, y, mask, seen)
        print(f"  {name:<14}{float(seen.double().mean()):6.0%}{elsewhere:19.0e}{change:26.0e}")
    print()
    rows = maps["no mask"].sum(-1)
    print_row("weights", f"sum to 1 for each query within {float((rows - 1).abs().max()):.0e}")
    print_row("kernel", f"agrees with the equation within {_kernel_error(args.seed):.0e}")
    return plots.attention_maps(maps)


def _change(
    layer: nn.MultiheadAttention, x: Tensor, y: Tensor, mask: Tensor | None, seen: Tensor
) -> float:
    """Largest change of a query's output when the tokens that it does not see are replaced."""
    largest = 0.0
    for query in range(TOKENS):
        other = torch.where(seen[query, :, None], x, 7.0)
        changed, _ = layer(x, other, other, attn_mask=mask, need_weights=False)
        largest = max(largest, float((changed - y)[0, query].abs().max()))
    return largest


def _kernel_error(seed: int) -> float:
    generator = torch.Generator().manual_seed(seed)
    q, k, v = torch.randn(3, 1, HEADS, 200, 8, dtype=torch.float64, generator=generator)
    exact = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v
    return float((ops.attention(q, k, v) - exact).abs().max())
