"""Is the bias in the data? Networks trained on unequal shares of two groups of images.

``digit_groups`` and ``hubble_groups`` are problems, ``run_bias`` trains on all settings of them,
``errors_of`` picks the errors of a group out of its rows, ``group_bias`` makes ratios of them, and
``conclusions`` sentences.
"""

from pyneural.experiments.bias.ratios import (
    GroupBias,
    Ratio,
    conclusions,
    group_bias,
    harder,
    ratio,
)
from pyneural.experiments.bias.trainings import SETTINGS, Setting, errors_of, measure, run_bias
from pyneural.experiments.bias.two_groups import (
    TwoGroups,
    balancing_weights,
    digit_groups,
    drawn_rows,
    hubble_groups,
    train,
)

__all__ = [
    "SETTINGS",
    "GroupBias",
    "Ratio",
    "Setting",
    "TwoGroups",
    "balancing_weights",
    "conclusions",
    "digit_groups",
    "drawn_rows",
    "errors_of",
    "group_bias",
    "harder",
    "hubble_groups",
    "measure",
    "ratio",
    "run_bias",
    "train",
]
