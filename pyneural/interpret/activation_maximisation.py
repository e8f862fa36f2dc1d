"""Activation maximisation: the input that excites an output most."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pyneural.errors import check_argument, whole, wholes
from pyneural.interpret.arguments import Target
from pyneural.interpret.scores import Score, left_as_found
from pyneural.progress import progress

_NOISE = 0.1  # of the start, as a share of the bounds


def activation_maximisation(
    model: torch.nn.Module,
    shape: Sequence[int],
    target: Target = None,
    *,
    bounds: tuple[float, float],
    decay: float = 0.0,
    roughness: float = 0.0,
    along: Sequence[int] = (-2, -1),
    steps: int = 200,
    rate: float = 0.05,
    seed: int = 0,
) -> Tensor:
    """Inputs within bounds for which one output is as large as gradient ascent finds.

        x = argmax_x F(x) - lambda sum_i x_i^2 - mu sum of squared differences of neighbours

    from small noise around the middle of the bounds, by Adam with a projection onto the bounds. Of
    all steps the best one of each sample is kept. Without the penalties the result tends to be one
    that no one would recognise: most of what excites a network does not occur in its data.

    Args:
        model: as of ``saliency``.
        shape: of the inputs, [N, ...].
        target: as of ``saliency``; ``torch.arange(10)`` makes an input for each of ten classes.
        bounds: lowest and highest value of an element.
        decay: lambda, in units of F over those of x squared.
        roughness: mu, in the same units.
        along: the dimensions in which elements are neighbours: (-2, -1) of images, (1,) of series
            [N, T, C]. Read only if mu > 0.
        steps: of the ascent.
        rate: length of a step, as a share of high - low.
        seed: of the noise.

    Returns:
        x, of the given shape, in the dtype and on the device of the model.

    Raises:
        ArgumentError: as of ``saliency``; bounds, penalties, steps or rate that do not fit.

    Source: Erhan et al., technical report 1341, Montreal (2009); the penalty: Simonyan et al.,
    arXiv:1312.6034 (2013).

    >>> layer = torch.nn.Linear(2, 1)
    >>> best = activation_maximisation(layer, (1, 2), bounds=(-1.0, 1.0))
    >>> torch.equal(best, layer.weight.sign())
    True
    """
    where = "activation_maximisation"
    sizes = tuple(wholes(where, **{f"shape[{i}]": size for i, size in enumerate(shape)}))
    good = len(sizes) > 0 and min(sizes) >= 1
    check_argument(good, f"{where}: shape", "[N, ...] of sizes >= 1", list(shape), "write (1, 28)")
    steps, seed = wholes(where, steps=steps, seed=seed)
    check_argument(steps >= 1, f"{where}: steps", "a whole number >= 1", steps, "write 200")
    low, high = bounds
    good = -math.inf < low < high < math.inf
    check_argument(good, f"{where}: bounds", "finite low < high", bounds, "write (0.0, 1.0)")
    check_argument(0 < rate < math.inf, f"{where}: rate", "a number > 0", rate, "write 0.05")
    for name, weight in (("decay", decay), ("roughness", roughness)):
        good = 0 <= weight < math.inf
        check_argument(good, f"{where}: {name}", "a finite number >= 0", weight, "write 0.01")
    along = [whole(f"{where}: along", d) for d in along] if roughness > 0 else []
    good, got = all(-len(sizes) < d < len(sizes) and d != 0 for d in along), tuple(along)
    check_argument(good, f"{where}: along", f"dimensions of a sample of {list(sizes)}", got)
    score = Score(where, model, target, sizes[0])
    like = next(model.parameters(), torch.empty(0))
    with left_as_found(model, like):
        noise = torch.rand(sizes, generator=torch.Generator().manual_seed(seed))
        x = (low + (high - low) * (0.5 + _NOISE * (noise - 0.5))).to(like.device, like.dtype)
        best, highest = x, torch.full((len(x),), -math.inf, dtype=x.dtype, device=x.device)
        ascent = torch.optim.Adam([x], lr=rate * (high - low), maximize=True)
        for _ in progress(where, range(steps + 1)):
            values, (gradient,) = score.with_gradients((x,))
            leaf = x.clone().requires_grad_()
            penalty = _penalty(leaf, decay, roughness, along)
            x.grad = gradient - torch.autograd.grad(penalty.sum(), leaf)[0]
            values = values - penalty.detach()
            better = (values > highest).view(-1, *[1] * (x.ndim - 1))
            best, highest = torch.where(better, x, best), values.maximum(highest)
            ascent.step()
            x.clamp_(low, high)
    return best


def _penalty(x: Tensor, decay: float, roughness: float, along: Sequence[int]) -> Tensor:
    """The penalty of each sample, [N].

    >>> _penalty(torch.tensor([[1.0, 3.0]]), 1.0, 10.0, [1])
    tensor([50.])
    """
    squares = decay * x.square().reshape(len(x), -1).sum(1)
    steps = [x.diff(dim=dimension).square().reshape(len(x), -1).sum(1) for dimension in along]
    return squares + roughness * sum(steps, torch.zeros_like(squares))
