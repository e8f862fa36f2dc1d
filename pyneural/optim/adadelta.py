"""torch's Adadelta with the step of an op."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural import ops
from pyneural.ops.transforms import KERNEL_DEVICES
from pyneural.optim.in_one_call import InOneCall


class Adadelta(InOneCall, torch.optim.Adadelta):
    """``torch.optim.Adadelta`` with the step of ``ops.adadelta_``.

    Options, results (up to rounding) and ``state_dict`` are those of torch. Parameters on several
    devices or on one without kernels, sparse or strided gradients, and the options maximize,
    differentiable and capturable go to torch's step; so does one that a CUDA graph captures.

    >>> layer = torch.nn.Linear(2, 1)
    >>> optimizer = Adadelta(layer.parameters(), lr=1.0, rho=0.95)
    >>> layer(torch.ones(1, 2)).sum().backward()
    >>> optimizer.step()
    """

    _torchs, _averages = torch.optim.Adadelta, ("square_avg", "acc_delta")
    _devices = KERNEL_DEVICES

    def _change(self, group: dict[str, Any], *lists: Sequence[Tensor]) -> None:
        ops.adadelta_(
            *lists,
            learning_rate=float(group["lr"]),
            rho=group["rho"],
            epsilon=group["eps"],
            weight_decay=group["weight_decay"],
        )
