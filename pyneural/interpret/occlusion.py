"""Occlusion: what the output loses with each part of the input."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from pyneural.errors import check_argument, whole
from pyneural.interpret.arguments import Target, as_input, like_samples
from pyneural.interpret.scores import Score, copies, left_as_found, repeated
from pyneural.progress import progress


def occlusion(
    model: torch.nn.Module,
    x: Tensor,
    target: Target = None,
    *,
    window: int | Sequence[int] = 1,
    stride: int | Sequence[int] = 1,
    baseline: float | Tensor = 0.0,
) -> Tensor:
    """The mean fall of one output where a window that holds the element is replaced.

        a_i = mean over windows W with i in W of  F(x) - F(x with b in the place of x in W)

    In units of F. The model is only evaluated, so that it need not be differentiable. The last
    window of a dimension is cut off at the edge.

    Args:
        model: as of ``saliency``.
        x: inputs [N, ...].
        target: as of ``saliency``.
        window: its size along each dimension of a sample, as (3, 4, 4) of images [N, 3, H, W],
            (5, C) of series [N, T, C], 1 of each single column of tables [N, C]. A number holds for
            all dimensions, and is cut off where one is smaller: 4 is (3, 4, 4) of these images.
        stride: steps between windows, likewise; at most the window, so that no element is left out.
        baseline: b, what the window is filled with: a number, the values of one sample (such as the
            means of columns), or those of each.

    Returns:
        a, in the shape of x.

    Raises:
        ArgumentError: as of ``saliency``; windows or strides that do not fit; a baseline of another
            shape.

    Source: Zeiler and Fergus, arXiv:1311.2901 (2013), section 4.2.

    >>> layer, x = torch.nn.Linear(3, 1, bias=False), torch.rand(2, 3)
    >>> torch.allclose(occlusion(layer, x), layer.weight * x, atol=1e-6)
    True
    """
    where = "occlusion"
    x = as_input(where, x)
    b = like_samples(f"{where}: baseline", baseline, x)
    sizes = list(x.shape[1:])
    windows = _sizes(f"{where}: window", window, sizes)
    strides = _sizes(f"{where}: stride", stride, windows)
    ranges = zip(sizes, windows, strides, strict=True)
    parts = [(slice(None), *part) for part in product(*(_slices(*each) for each in ranges))]
    score = Score(where, model, target, len(x))
    with left_as_found(model, x), torch.no_grad():
        whole_value = score((x,))
        falls, counts = torch.zeros_like(x), torch.zeros_like(x[:1])
        at_a_time = copies((x,), len(parts))
        for begin in progress(where, range(0, len(parts), at_a_time)):
            some = parts[begin : begin + at_a_time]
            occluded = repeated(x, len(some)).unflatten(0, (len(some), len(x)))
            for number, part in enumerate(some):
                occluded[number][part] = b[part]
            values = score((occluded.flatten(0, 1),)).view(len(some), len(x))
            for part, value in zip(some, values, strict=True):
                fall = whole_value - value
                falls[part] += fall.view(-1, *[1] * len(sizes))
                counts[part] += 1
        return falls / counts


def _sizes(where: str, given: int | Sequence[int], limits: Sequence[int]) -> list[int]:
    """Sizes along each dimension, from 1 to its limit; a single number is cut off there."""
    if isinstance(given, Sequence):
        found = [whole(where, size) for size in given]
    else:
        number = whole(where, given)
        found = [min(number, limit) for limit in limits]
    good = len(found) == len(limits)
    good = good and all(1 <= size <= limit for size, limit in zip(found, limits, strict=True))
    expected = f"a number, or one for each dimension of a sample, from 1 to {list(limits)}"
    check_argument(good, where, expected, given, "write 1 for single elements")
    return found


def _slices(size: int, window: int, stride: int) -> list[slice]:
    """The windows along a dimension.

    >>> [(part.start, part.stop) for part in _slices(7, 4, 2)]
    [(0, 4), (2, 6), (4, 7)]
    """
    starts = range(0, max(size - window, 0) + stride, stride)
    return [slice(start, min(start + window, size)) for start in starts if start < size]
