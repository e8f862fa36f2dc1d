"""Measures of generative models: of samples, of posteriors and of images."""

from pyneural.metrics.calibration import Coverage, rank_uniformity, sbc_ranks, tarp
from pyneural.metrics.conformal import conformal_level, expected_coverage
from pyneural.metrics.images import sharpness
from pyneural.metrics.modes import ModeCoverage, mode_coverage
from pyneural.metrics.two_samples import c2st

__all__ = [
    "Coverage",
    "ModeCoverage",
    "c2st",
    "conformal_level",
    "expected_coverage",
    "mode_coverage",
    "rank_uniformity",
    "sbc_ranks",
    "sharpness",
    "tarp",
]
