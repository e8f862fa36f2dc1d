"""Layers on pyneural's kernels that drop into PyTorch code."""

from pyneural.nn.mlp import MLP

__all__ = ["MLP"]
