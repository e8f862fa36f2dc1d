"""Data sets; the image data sets need scikit-learn: pip install 'pyneural[data]'."""

from pyneural.data.adding import adding_problem
from pyneural.data.dates import DATE_FORMATS, dates
from pyneural.data.images import digits, mnist
from pyneural.data.moving_shapes import MOTIONS, moving_shapes
from pyneural.data.reversal import reversal
from pyneural.data.sentences import sentences
from pyneural.data.vocabulary import Vocabulary

__all__ = [
    "DATE_FORMATS",
    "MOTIONS",
    "Vocabulary",
    "adding_problem",
    "dates",
    "digits",
    "mnist",
    "moving_shapes",
    "reversal",
    "sentences",
]
