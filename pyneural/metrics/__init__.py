"""Measures of generative models: of samples, of posteriors and of images.

``noise_floor`` gives what a measure of two samples says of two halves of the real data.
"""

from pyneural.metrics.calibration import Coverage, rank_uniformity, sbc_ranks, tarp
from pyneural.metrics.conformal import conformal_level, expected_coverage
from pyneural.metrics.copies import Memorisation, memorisation
from pyneural.metrics.feature_distances import frechet_distance, kernel_distance
from pyneural.metrics.image_quality import psnr, ssim
from pyneural.metrics.images import sharpness
from pyneural.metrics.labels import ClassCoverage, class_coverage
from pyneural.metrics.manifolds import PrecisionRecall, precision_recall
from pyneural.metrics.modes import ModeCoverage, mode_coverage
from pyneural.metrics.noise import NoiseFloor, noise_floor
from pyneural.metrics.projections import sliced_wasserstein
from pyneural.metrics.two_samples import c2st

__all__ = [
    "ClassCoverage",
    "Coverage",
    "Memorisation",
    "ModeCoverage",
    "NoiseFloor",
    "PrecisionRecall",
    "c2st",
    "class_coverage",
    "conformal_level",
    "expected_coverage",
    "frechet_distance",
    "kernel_distance",
    "memorisation",
    "mode_coverage",
    "noise_floor",
    "precision_recall",
    "psnr",
    "rank_uniformity",
    "sbc_ranks",
    "sharpness",
    "sliced_wasserstein",
    "ssim",
    "tarp",
]
