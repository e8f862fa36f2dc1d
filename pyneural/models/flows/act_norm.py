"""ActNorm: a scale and a shift of each feature, which start from the first batch."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import constraints
from torch.distributions.transforms import Transform

from pyneural.errors import check_argument
from pyneural.models.flows.columns import check_varying, column_name
from pyneural.models.flows.lazy import LazyTransform
from pyneural.models.flows.transforms import FlowTransform


class ActNorm(LazyTransform):
    """y = exp(s) x + b, whose first batch in training mode sets s and b: y has then mean 0, std 1.

    After that s and b are parameters as any others. Whether they were set is in the ``state_dict``.
    Processes that train together take the batch of all of them.

    Args:
        features: number of features D.

    Raises:
        ArgumentError: the first batch, of all processes together, is a single row, or has a column
            that is constant or not finite.

    Source: Kingma and Dhariwal 2018, arXiv:1807.03039.

    >>> norm, x = ActNorm(2), torch.randn(100, 2) * 5 + 3
    >>> y = norm()(x)
    >>> y.mean(0).abs().max() < 1e-5, norm.initialised
    (tensor(True), tensor(True))
    """

    initialised: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(features))
        self.log_scale = nn.Parameter(torch.zeros(features))
        self.register_buffer("initialised", torch.tensor(False))
        self._done = False  # the same without a question to the device

    def forward(self, c: Tensor | None = None) -> Transform:
        """The transform; the context is not used."""
        return _ActNormTransform(self)

    @torch.no_grad()
    def see(self, x: Tensor) -> None:
        """Sets shift and scale from a batch [..., D] unless it was done before."""
        if self._done or not self.training:
            return
        if not self.initialised:
            mean, variance = _moments(x.detach().reshape(-1, x.shape[-1]).double())
            self.log_scale.copy_(-0.5 * variance.log())
            self.shift.copy_(-mean / variance.sqrt())
            self.initialised.fill_(True)
        self._done = True

    def extra_repr(self) -> str:
        """Number of features."""
        return str(len(self.shift))

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)
        self._done = False  # what was loaded may wait for its first batch


def _moments(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance, [D] each, of the rows [N, D] of all processes.

    What has no variance is refused by all of them, so that none waits for another one.
    """
    where, features = "ActNorm: first batch", rows.shape[1]
    bad = ~rows.isfinite()
    rows = rows.masked_fill(bad, 0)
    of_none = rows.new_full((1, features), math.inf)  # a process may have no rows
    ends = torch.cat([rows, of_none]).amin(0), torch.cat([-rows, of_none]).amin(0)
    low, minus_high = _reduced(torch.stack(ends), "MIN")
    total, bads, counts = _reduced(
        torch.stack([rows.sum(0), bad.sum(0), rows.new_full((features,), float(len(rows)))])
    )
    count = int(counts[0])
    if bads.any():
        column = int(bads.nonzero()[0])
        got = f"{int(bads[column]):,} that are nan or infinite in {column_name(column)}"
        check_argument(False, where, "finite numbers", got, "remove those rows or replace them")
    remedy = "give a larger batch, or call eval() before"
    check_argument(count > 1, where, "two or more rows", count, remedy)
    check_varying(where, low, -minus_high, count)
    mean = total / count
    return mean, _reduced((rows - mean).square().sum(0)) / (count - 1)


def _reduced(value: Tensor, operation: str = "SUM") -> Tensor:
    """Over all processes."""
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(value, getattr(distributed.ReduceOp, operation))
    return value


class _ActNormTransform(FlowTransform):
    domain = constraints.real_vector
    codomain = constraints.real_vector

    def __init__(self, module: ActNorm) -> None:
        super().__init__()
        self.module = module

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.module.see(x)
        scale, shift = self.module.log_scale, self.module.shift
        return x * scale.exp() + shift, scale.sum().expand(x.shape[:-1])

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        scale, shift = self.module.log_scale, self.module.shift
        return (y - shift) * (-scale).exp(), -scale.sum().expand(y.shape[:-1])

    def __repr__(self) -> str:
        return f"ActNormTransform({len(self.module.shift)})"
