"""Losses and metrics under Keras's names, and the last layers that they go with."""

from pyneural.training.losses.functions import (
    LOSSES,
    NAMES,
    Loss,
    LossFunction,
    binary_crossentropy,
    categorical_crossentropy,
    hinge,
    kullback_leibler_divergence,
    mean_absolute_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    quadratic_cost,
    sparse_categorical_crossentropy,
)
from pyneural.training.losses.score_matching import score_matching_loss

__all__ = [
    "LOSSES", "NAMES", "Loss", "LossFunction", "binary_crossentropy", "categorical_crossentropy",
    "hinge", "kullback_leibler_divergence", "mean_absolute_error", "mean_squared_error",
    "mean_squared_logarithmic_error", "quadratic_cost", "score_matching_loss",
    "sparse_categorical_crossentropy",
]  # fmt: skip
