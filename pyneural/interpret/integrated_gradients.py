"""Integrated gradients, and how far they are from complete."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pyneural.errors import check_argument, whole
from pyneural.interpret.arguments import Baseline, Inputs, Target, as_baselines, as_inputs
from pyneural.interpret.scores import Score, as_given, copies, left_as_found, repeated
from pyneural.progress import progress

_ROUNDING = 1e3  # units in the last place of F that are no gap


def integrated_gradients(
    model: torch.nn.Module,
    x: Inputs,
    target: Target = None,
    *,
    baseline: Baseline = 0.0,
    steps: int = 64,
    tolerance: float = 0.05,
) -> Inputs:
    """Gradients along the line from a baseline to the input.

        a_i = (x_i - b_i) int_0^1 dF(b + s (x - b)) / dx_i ds,   sum_i a_i = F(x) - F(b)

    In units of F: what each element contributes to the difference from the baseline. The integral
    is that of Gauss and Legendre. Its sum is checked against F(x) - F(b), which it misses where F
    bends more than the steps can follow (``completeness_gap``). Elements equal to the baseline get
    zero, whatever the network has learned.

    Args:
        model: as of ``saliency``.
        x: as of ``saliency``.
        target: as of ``saliency``.
        baseline: b, an input without what is to be explained, as a black image or the mean of a
            column: a number, the values of one sample, or those of each; a tuple of them where x is
            one.
        steps: points of the line.
        tolerance: largest gap, as a share of sum_i |a_i| or |F(x) - F(b)|, whichever is larger.

    Returns:
        a, in the shape of x.

    Raises:
        ArgumentError: as of ``saliency``; a baseline of another shape; a gap above the tolerance.

    Source: Sundararajan, Taly, Yan, arXiv:1703.01365 (2017).

    >>> class Cube(torch.nn.Module):
    ...     def forward(self, x):
    ...         return (x**3).sum(1)
    >>> integrated_gradients(Cube(), torch.tensor([[1.0, 2.0]]))
    tensor([[1.0000, 8.0000]])
    """
    where = "integrated_gradients"
    xs = as_inputs(where, x)
    bs = as_baselines(where, baseline, xs)
    steps = whole(f"{where}: steps", steps)
    check_argument(steps >= 1, f"{where}: steps", "a whole number >= 1", steps, "write 64")
    check_argument(tolerance > 0, f"{where}: tolerance", "a number > 0", tolerance, "write 0.05")
    score = Score(where, model, target, len(xs[0]))
    nodes, weights = np.polynomial.legendre.leggauss(steps)  # of [-1, 1]
    places, weights = (1 + nodes) / 2, weights / 2
    with left_as_found(model, *xs):
        sums = tuple(torch.zeros_like(part) for part in xs)
        at_a_time = copies(xs, steps)
        for begin in progress(where, range(0, steps, at_a_time)):
            some = slice(begin, begin + at_a_time)
            _add_steps(score, xs, bs, places[some], weights[some], sums)
        found = tuple(
            (part.detach() - b) * total for part, b, total in zip(xs, bs, sums, strict=True)
        )
        gap, scale = _gap(score, xs, bs, found)
    worst = int((gap.abs() / scale).argmax())
    share = float(gap[worst].abs() / scale[worst])
    check_argument(
        share <= tolerance, f"{where}: steps",
        f"enough for attributions that sum to F(x) - F(baseline) within {tolerance:.1%}",
        f"a gap of {share:.1%} in sample {worst} with {steps} steps",
        f"write steps={4 * steps}, or a larger tolerance",
    )  # fmt: skip
    return as_given(found, x)


def completeness_gap(
    model: torch.nn.Module,
    x: Inputs,
    attributions: Inputs,
    target: Target = None,
    *,
    baseline: Baseline = 0.0,
) -> Tensor:
    """How much more attributions sum to than the output differs from that of the baseline.

        gap = sum_i a_i - (F(x) - F(b))

    Args:
        model: as of ``saliency``.
        x: as of ``saliency``.
        attributions: a, in the shape of x.
        target: as of ``saliency``.
        baseline: b, as of ``integrated_gradients``.

    Returns:
        gap of each sample, [N], in units of F.

    Raises:
        ArgumentError: as of ``saliency``; attributions of another shape.

    >>> layer, x = torch.nn.Linear(3, 1), torch.rand(2, 3)
    >>> exact = integrated_gradients(layer, x)
    >>> bool((completeness_gap(layer, x, exact).abs() < 1e-6).all())
    True
    """
    where = "completeness_gap"
    xs = as_inputs(where, x)
    found = as_inputs(where, attributions, "attributions")
    shapes, got = [list(part.shape) for part in xs], [list(part.shape) for part in found]
    check_argument(shapes == got, f"{where}: attributions", f"shapes {shapes} as of x", got)
    bs = as_baselines(where, baseline, xs)
    score = Score(where, model, target, len(xs[0]))
    with left_as_found(model, *xs):
        return _gap(score, xs, bs, found)[0]


def _add_steps(
    score: Score,
    xs: tuple[Tensor, ...],
    bs: tuple[Tensor, ...],
    places: np.ndarray,
    weights: np.ndarray,
    sums: tuple[Tensor, ...],
) -> None:
    """Adds the gradients at some places of the line, times their weights, to the sums."""
    count, rows = len(places), len(xs[0])
    points = []
    for x, b in zip(xs, bs, strict=True):
        s = torch.as_tensor(places, dtype=x.dtype, device=x.device).repeat_interleave(rows)
        s = s.view(-1, *[1] * (x.ndim - 1))
        points.append(repeated(b, count) + s * repeated(x - b, count))
    for total, gradient in zip(sums, score.gradients(tuple(points)), strict=True):
        w = torch.as_tensor(weights, dtype=total.dtype, device=total.device)
        total += torch.tensordot(w, gradient.unflatten(0, (count, rows)), 1)


@torch.no_grad()
def _gap(
    score: Score, xs: tuple[Tensor, ...], bs: tuple[Tensor, ...], found: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor]:
    """The gap of each sample and what it is measured in, both [N], in float64."""
    here, there = score(xs).double(), score(bs).double()
    rows = [part.double().flatten(1) if part.ndim > 1 else part[:, None] for part in found]
    total = sum((part.sum(1) for part in rows), torch.zeros_like(here))
    magnitude = sum((part.abs().sum(1) for part in rows), torch.zeros_like(here))
    digits = _ROUNDING * torch.finfo(found[0].dtype).eps
    rounding = digits * torch.maximum(here.abs(), there.abs())
    gap = total - (here - there)
    scale = torch.stack([magnitude, (here - there).abs(), rounding]).amax(0)
    return gap, scale.clamp(min=torch.finfo(torch.float64).tiny)
