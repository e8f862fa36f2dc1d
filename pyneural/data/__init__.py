"""Data sets. Images need pip install 'pyneural[data]', galaxies pip install --no-deps pzflow."""

from pyneural.data import toys
from pyneural.data.adding import adding_problem
from pyneural.data.dates import DATE_FORMATS, dates
from pyneural.data.degradations import add_noise, downsample, gaussian_blur
from pyneural.data.galaxies import GALAXY_COLUMNS, galaxies
from pyneural.data.images import digits, digits_8x8, mnist
from pyneural.data.moving_shapes import MOTIONS, moving_shapes
from pyneural.data.paired_images import (
    ImagePairs,
    degrade,
    digit_pairs,
    hubble_deep_field,
    hubble_pairs,
    image_pairs,
)
from pyneural.data.pixels import bits_per_dimension, dequantise
from pyneural.data.reversal import reversal
from pyneural.data.sentences import sentences
from pyneural.data.sources import SourceGroups, Sources, find_sources, hubble_sources
from pyneural.data.two_moons_posterior import TwoMoonsPosterior
from pyneural.data.vocabulary import Vocabulary

__all__ = [
    "DATE_FORMATS",
    "GALAXY_COLUMNS",
    "MOTIONS",
    "ImagePairs",
    "SourceGroups",
    "Sources",
    "TwoMoonsPosterior",
    "Vocabulary",
    "add_noise",
    "adding_problem",
    "bits_per_dimension",
    "dates",
    "degrade",
    "dequantise",
    "digit_pairs",
    "digits",
    "digits_8x8",
    "downsample",
    "find_sources",
    "galaxies",
    "gaussian_blur",
    "hubble_deep_field",
    "hubble_pairs",
    "hubble_sources",
    "image_pairs",
    "mnist",
    "moving_shapes",
    "reversal",
    "sentences",
    "toys",
]
