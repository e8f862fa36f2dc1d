"""SmoothGrad: the mean gradient at noisy copies of the input."""

from __future__ import annotations

import torch
from torch import Tensor

from pyneural.errors import check_argument, whole
from pyneural.interpret.arguments import (
    Baseline,
    Inputs,
    Target,
    as_inputs,
    like_samples,
)
from pyneural.interpret.scores import Score, as_given, copies, left_as_found, repeated
from pyneural.progress import progress

_SHARE = 0.15  # of the range of a sample, where Smilkov et al. see the clearest pictures


def smooth_grad(
    model: torch.nn.Module,
    x: Inputs,
    target: Target = None,
    *,
    noise: Baseline | None = None,
    samples: int = 32,
    seed: int = 0,
) -> Inputs:
    """The mean of the gradients at noisy copies of the input.

        a = 1/n sum_k dF(x + sigma eps_k) / dx,   eps_k ~ N(0, 1)

    That is the gradient of F after a blur of width sigma: kinks of F that are finer do not show.

    Args:
        model: as of ``saliency``.
        x: as of ``saliency``.
        target: as of ``saliency``.
        noise: sigma, in units of x: a number, values of one sample, as a share of the standard
            deviation of each column, or values of all; a tuple of them where x is one. None takes
            0.15 times the range max - min of each sample, as for images.
        samples: n.
        seed: of the noise.

    Returns:
        a, in the shape of x.

    Raises:
        ArgumentError: as of ``saliency``; noise of another shape or below 0.

    Source: Smilkov et al., arXiv:1706.03825 (2017).

    >>> layer, x = torch.nn.Linear(3, 1), torch.rand(2, 3)
    >>> torch.allclose(smooth_grad(layer, x), layer.weight.expand(2, 3))
    True
    """
    where = "smooth_grad"
    xs = as_inputs(where, x)
    sigmas = _sigmas(where, noise, xs)
    samples, seed = whole(f"{where}: samples", samples), whole(f"{where}: seed", seed)
    check_argument(samples >= 1, f"{where}: samples", "a whole number >= 1", samples, "write 32")
    score = Score(where, model, target, len(xs[0]))
    generators = [torch.Generator(part.device).manual_seed(seed + i) for i, part in enumerate(xs)]
    with left_as_found(model, *xs):
        sums = tuple(torch.zeros_like(part) for part in xs)
        at_a_time = copies(xs, samples)
        for begin in progress(where, range(0, samples, at_a_time)):
            count = min(at_a_time, samples - begin)
            noisy = []
            for part, sigma, generator in zip(xs, sigmas, generators, strict=True):
                wide = repeated(part, count)
                eps = torch.randn(
                    wide.shape, generator=generator, dtype=part.dtype, device=part.device
                )
                noisy.append(wide + repeated(sigma, count) * eps)
            for total, gradient in zip(sums, score.gradients(tuple(noisy)), strict=True):
                total += gradient.unflatten(0, (count, len(total))).sum(0)
    return as_given(tuple(total / samples for total in sums), x)


def _sigmas(where: str, noise: Baseline | None, xs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The standard deviation of the noise of each input tensor, in its shape."""
    if noise is None:
        rows = [x.detach().reshape(len(x), -1) for x in xs]
        ranges = [_SHARE * (row.amax(1) - row.amin(1)) for row in rows]
        pairs = zip(ranges, xs, strict=True)
        return tuple(r.view(-1, *[1] * (x.ndim - 1)).expand_as(x) for r, x in pairs)
    given = noise if isinstance(noise, tuple) else (noise,) * len(xs)
    check_argument(len(given) == len(xs), f"{where}: noise", f"{len(xs)} of them", len(given))
    found = tuple(like_samples(f"{where}: noise", *pair) for pair in zip(given, xs, strict=True))
    for sigma in found:
        good, got = bool((sigma >= 0).all()), float(sigma.min())
        check_argument(good, f"{where}: noise", "standard deviations >= 0", got, "write 0.1")
    return found
