"""Univariate transforms that are sums and multiples."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import constraints

from pyneural.models.flows.transforms import FlowTransform


class AdditiveTransform(FlowTransform):
    """f(x) = x + b.

    Args:
        shift: b, [...].

    Source: Dinh et al. 2014, arXiv:1410.8516.
    """

    domain = constraints.real
    codomain = constraints.real
    sign = +1

    def __init__(self, shift: Tensor) -> None:
        super().__init__()
        self.shift = shift

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The sum x + b, and 0."""
        return x + self.shift, torch.zeros_like(x)

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The difference y - b, and 0."""
        return y - self.shift, torch.zeros_like(y)


class MonotonicAffineTransform(FlowTransform):
    """f(x) = exp(a') x + b,  a' = a / (1 + |a / log slope|).

    The soft clipping keeps the scale between the slope and its inverse.

    Args:
        shift: b, [...].
        scale: a, unconstrained logarithm of the scale, [...].
        slope: smallest scale.
    """

    domain = constraints.real
    codomain = constraints.real
    sign = +1

    def __init__(self, shift: Tensor, scale: Tensor, slope: float = 1e-3) -> None:
        super().__init__()
        self.shift = shift
        self.log_scale = scale / (1 + abs(scale / math.log(slope)))
        self.scale = self.log_scale.exp()

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """exp(a') x + b, and a'."""
        y = x * self.scale + self.shift
        return y, self.log_scale.expand_as(y)

    def inverse_and_ladj(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """(y - b) / exp(a'), and -a'."""
        x = (y - self.shift) / self.scale
        return x, -self.log_scale.expand_as(x)
