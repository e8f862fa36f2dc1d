"""ActNorm: a scale and a shift of each feature, which start from the first batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import constraints
from torch.distributions.transforms import Transform

from pyneural.models.flows.lazy import LazyTransform
from pyneural.models.flows.transforms import FlowTransform
from pyneural.models.flows.whitening import check_columns


class ActNorm(LazyTransform):
    """y = exp(s) x + b, whose first batch in training mode sets s and b: y has then mean 0, std 1.

    After that s and b are parameters as any others. Whether they were set is in the ``state_dict``.
    Processes that train together take the batch of all of them.

    Args:
        features: number of features D.

    Raises:
        ValueError: the first batch has a column that is constant or not finite.

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
            rows = x.detach().reshape(-1, x.shape[-1])
            check_columns("ActNorm: first batch", rows)
            count, total = _sum(rows.new_tensor(float(len(rows)))), _sum(rows.sum(0))
            mean = total / count
            variance = _sum((rows - mean).square().sum(0)) / (count - 1)
            self.log_scale.copy_(-0.5 * variance.log())
            self.shift.copy_(-mean * self.log_scale.exp())
            self.initialised.fill_(True)
        self._done = True

    def extra_repr(self) -> str:
        """Number of features."""
        return str(len(self.shift))


def _sum(value: Tensor) -> Tensor:
    """Over all processes."""
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(value)
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
