"""Is the bias in the data? Networks trained on unequal shares of two groups of images.

``digit_groups`` and ``hubble_groups`` are problems, ``run_bias`` trains on all settings of them,
``errors_of`` picks the errors of a group out of its rows, ``group_bias`` makes ratios of them,
``judged_together`` corrects these for their number, and ``conclusions`` makes sentences of them.
"""

from pyneural.experiments.bias.ratios import (
    GroupBias,
    conclusions,
    group_bias,
    harder,
    judged_together,
)
from pyneural.experiments.bias.trainings import (
    SETTINGS,
    Setting,
    diverged_seeds,
    errors_of,
    measure,
    run_bias,
)
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
    "Setting",
    "TwoGroups",
    "balancing_weights",
    "conclusions",
    "digit_groups",
    "diverged_seeds",
    "drawn_rows",
    "errors_of",
    "group_bias",
    "harder",
    "hubble_groups",
    "judged_together",
    "measure",
    "run_bias",
    "train",
]
