"""Drop-in layers for PyTorch on pyneural's kernels.

Every other name is that of ``torch.nn``: a program runs unchanged when ``from torch import nn`` is
replaced with ``from pyneural import nn``.
"""

from typing import Any

import torch

from pyneural.nn.activations import Maxout, Sin
from pyneural.nn.dropout import Dropout
from pyneural.nn.key_value_cache import KeyValueCache
from pyneural.nn.linear import Linear
from pyneural.nn.masked_linear import MaskedLinear, random_mask
from pyneural.nn.mlp import MLP
from pyneural.nn.mse_loss import MSELoss
from pyneural.nn.multihead_attention import MultiheadAttention
from pyneural.nn.positional_encoding import PositionalEncoding
from pyneural.nn.recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from pyneural.nn.sequential import Sequential
from pyneural.nn.transformer import Transformer, TransformerDecoder, TransformerEncoder
from pyneural.nn.transformer_layers import TransformerDecoderLayer, TransformerEncoderLayer

__all__ = [
    "GRU",
    "LSTM",
    "MLP",
    "RNN",
    "Dropout",
    "GRUCell",
    "KeyValueCache",
    "LSTMCell",
    "Linear",
    "MSELoss",
    "MaskedLinear",
    "Maxout",
    "MultiheadAttention",
    "PositionalEncoding",
    "RNNCell",
    "Sequential",
    "Sin",
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "random_mask",
]


def __getattr__(name: str) -> Any:
    return getattr(torch.nn, name)
