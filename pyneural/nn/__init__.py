"""Layers on pyneural's kernels that drop into PyTorch code."""

from pyneural.nn.linear import Linear
from pyneural.nn.mlp import MLP
from pyneural.nn.sequential import Sequential

__all__ = ["MLP", "Linear", "Sequential"]
