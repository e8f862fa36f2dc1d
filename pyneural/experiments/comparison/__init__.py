"""``compare``: generative models on the data of a user, within one budget each."""

from pyneural.experiments.comparison.compare import Comparison, compare
from pyneural.experiments.comparison.data import DataSet, load_data
from pyneural.experiments.comparison.recommendation import (
    MODELS,
    Claim,
    Recommendation,
    claims,
    recommend,
)
from pyneural.experiments.comparison.report import draw, print_report, write_report

__all__ = [
    "MODELS",
    "Claim",
    "Comparison",
    "DataSet",
    "Recommendation",
    "claims",
    "compare",
    "draw",
    "load_data",
    "print_report",
    "recommend",
    "write_report",
]
