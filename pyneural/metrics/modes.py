"""How many modes of a mixture samples cover, and how close to them they are."""

from __future__ import annotations

import math
from numbers import Real
from typing import NamedTuple

import torch
from torch import Tensor

from pyneural.errors import check_argument

_RADIUS = 3.0  # standard deviations within which a sample is of high quality
_ELEMENTS = 1 << 22  # of a temporary array of distances


class ModeCoverage(NamedTuple):
    """What ``mode_coverage`` counts."""

    modes: int  # that have a sample within three standard deviations
    share: float  # of the samples that are so close to a mode
    weights: Tensor  # of the samples that are so close to each mode, [K], of all samples


def mode_coverage(samples: Tensor, centres: Tensor, std: float) -> ModeCoverage:
    """Modes that samples cover, and the share of samples within 3 standard deviations of a mode.

    A sample counts for the mode whose centre is the nearest, if it is within 3 std of it; a mode is
    covered if any sample counts for it. Samples of the mixture itself in D dimensions have the
    share P(chi^2_D <= 9): 0.9889 in the plane, 0.9707 in space, whose standard deviation over N
    samples is sqrt(p (1 - p) / N), 0.001 for 10,000 of them in the plane.

    A single sample that strays into a mode covers it: look at ``weights``, which are 0.9889 / K
    each for the K modes of a mixture of equal weights.

    Args:
        samples: [N, D], N >= 1.
        centres: of the modes, [K, D].
        std: standard deviation of each mode, in all directions, > 0.

    Returns:
        (modes, share, weights).

    Raises:
        ArgumentError: shapes that do not fit, values that are not finite, std <= 0.

    Source: Srivastava et al. 2017 (VEEGAN), arXiv:1705.07761, section 4; Lin et al. 2018 (PacGAN),
    arXiv:1712.04086, section 4.1.

    >>> centres = torch.tensor([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]])
    >>> mode_coverage(torch.tensor([[0.1, 0.0], [2.0, 0.2], [3.0, 0.0], [2.0, 0.0]]), centres, 0.1)
    ModeCoverage(modes=2, share=0.75, weights=tensor([0.2500, 0.5000, 0.0000]))
    """
    for name, value in (("samples", samples), ("centres", centres)):
        good = isinstance(value, Tensor) and value.dim() == 2 and value.is_floating_point()
        got = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        check_argument(good, f"mode_coverage: {name}", "floats [rows, D]", got, "one point a row")
        check_argument(len(value) > 0, f"mode_coverage: {name}", "at least one row", "none")
        good, remedy = bool(value.isfinite().all()), "leave those rows out and say how many"
        check_argument(good, f"mode_coverage: {name}", "finite values", "nan or infinite", remedy)
    columns, expected = samples.shape[1], f"{centres.shape[1]} columns, as the centres have"
    good = columns == centres.shape[1]
    check_argument(good, "mode_coverage: samples", expected, columns)
    good = isinstance(std, Real) and 0 < std < math.inf
    check_argument(good, "mode_coverage: std", "a finite number > 0", std, "write 0.05")
    centres = centres.to(samples)
    counts = torch.zeros(len(centres), dtype=torch.int64, device=samples.device)
    for part in samples.split(max(1, _ELEMENTS // centres.numel())):
        distance, mode = (part[:, None] - centres).square().sum(2).min(1)
        counts += torch.bincount(mode[distance <= (_RADIUS * std) ** 2], minlength=len(centres))
    weights = counts.double() / len(samples)
    return ModeCoverage(int((counts > 0).sum()), float(weights.sum()), weights.float())
