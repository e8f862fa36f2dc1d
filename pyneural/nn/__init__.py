"""Layers on pyneural's kernels that drop into PyTorch code.

Names that pyneural has no layer of its own for are those of ``torch.nn``, so that a program which
says ``from pyneural import nn`` instead of ``from torch import nn`` runs as it is.
"""

from typing import Any

import torch

from pyneural.nn.activations import Maxout, Sin
from pyneural.nn.linear import Linear
from pyneural.nn.masked_linear import MaskedLinear, random_mask
from pyneural.nn.mlp import MLP
from pyneural.nn.recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from pyneural.nn.sequential import Sequential

__all__ = [
    "GRU",
    "LSTM",
    "MLP",
    "RNN",
    "GRUCell",
    "LSTMCell",
    "Linear",
    "MaskedLinear",
    "Maxout",
    "RNNCell",
    "Sequential",
    "Sin",
    "random_mask",
]


def __getattr__(name: str) -> Any:
    return getattr(torch.nn, name)
