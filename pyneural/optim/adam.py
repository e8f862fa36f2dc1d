"""torch's Adam and AdamW with the step of an op."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural import ops
from pyneural.optim.in_one_call import InOneCall


class Adam(InOneCall, torch.optim.Adam):
    """``torch.optim.Adam`` with the step of ``ops.adam_``.

    Options, results (up to rounding) and ``state_dict`` are those of torch. To torch's step go
    parameters that are not on the CPU, in float32 or float64 and contiguous; sparse gradients;
    gradients that a GradScaler leaves to a fused step; and the options amsgrad, maximize,
    differentiable and capturable.

    >>> layer = torch.nn.Linear(2, 1)
    >>> optimizer = Adam(layer.parameters(), lr=0.01)
    >>> layer(torch.ones(1, 2)).sum().backward()
    >>> optimizer.step()
    """

    _torchs, _averages = torch.optim.Adam, ("exp_avg", "exp_avg_sq")

    def _change(self, group: dict[str, Any], *lists: Sequence[Tensor]) -> None:
        beta1, beta2 = map(float, group["betas"])
        ops.adam_(
            *lists,
            learning_rate=float(group["lr"]),
            beta1=beta1,
            beta2=beta2,
            epsilon=group["eps"],
            weight_decay=group["weight_decay"],
            decoupled=group["decoupled_weight_decay"],
        )


class AdamW(Adam, torch.optim.AdamW):
    """``torch.optim.AdamW`` with the step of ``ops.adam_``, as :class:`Adam` has it.

    >>> layer = torch.nn.Linear(2, 1)
    >>> optimizer = AdamW(layer.parameters(), lr=0.01, weight_decay=0.1)
    >>> layer(torch.ones(1, 2)).sum().backward()
    >>> optimizer.step()
    """
