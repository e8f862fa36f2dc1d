"""Drop-in layers for PyTorch on pyneural's kernels.

Every other name is that of ``torch.nn``, modules included: a program runs unchanged when
``from torch import nn`` is replaced with ``from pyneural import nn``.

>>> import pyneural.nn.functional as F
>>> from pyneural.nn.utils.rnn import pad_sequence
>>> from pyneural.nn import *
>>> F.relu(pad_sequence([torch.ones(2), -torch.ones(1)])).sum(), Conv1d is torch.nn.Conv1d
(tensor(2.), True)
"""

import sys
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import torch

from pyneural.nn.activations import Activation, Maxout, Sin
from pyneural.nn.dropout import Dropout
from pyneural.nn.embeddings import FourierFeatures, PeriodicEmbedding
from pyneural.nn.jets import jet, jet_loss, jet_mean_square
from pyneural.nn.jets.modules import JetModule
from pyneural.nn.joined import Joined, Scaled
from pyneural.nn.key_value_cache import KeyValueCache
from pyneural.nn.linear import LazyLinear, Linear
from pyneural.nn.masked_linear import MaskedLinear, random_mask
from pyneural.nn.mlp import MLP
from pyneural.nn.mse_loss import MSELoss
from pyneural.nn.multihead_attention import MultiheadAttention
from pyneural.nn.positional_encoding import PositionalEncoding
from pyneural.nn.recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from pyneural.nn.residual_networks import FactorizedLinear, ModifiedMLP, PirateNet
from pyneural.nn.sequential import Sequential
from pyneural.nn.transformer import Transformer, TransformerDecoder, TransformerEncoder
from pyneural.nn.transformer_layers import TransformerDecoderLayer, TransformerEncoderLayer

__all__ = [
    "GRU",
    "LSTM",
    "MLP",
    "RNN",
    "Activation",
    "Dropout",
    "FactorizedLinear",
    "FourierFeatures",
    "GRUCell",
    "JetModule",
    "Joined",
    "KeyValueCache",
    "LSTMCell",
    "LazyLinear",
    "Linear",
    "MSELoss",
    "MaskedLinear",
    "Maxout",
    "ModifiedMLP",
    "MultiheadAttention",
    "PeriodicEmbedding",
    "PirateNet",
    "PositionalEncoding",
    "RNNCell",
    "Scaled",
    "Sequential",
    "Sin",
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "jet",
    "jet_loss",
    "jet_mean_square",
    "random_mask",
]
__all__ += [name for name in vars(torch.nn) if not name.startswith("_") and name not in __all__]

# ``import pyneural.nn.utils.rnn`` asks for the modules by these names.
_MODULES = ["functional", "init", "parameter", "utils"]
_MODULES += [f"utils.{m.name}" for m in iter_modules(torch.nn.utils.__path__) if m.name[0] != "_"]
for _name in _MODULES:
    sys.modules[f"{__name__}.{_name}"] = import_module(f"torch.nn.{_name}")


def __getattr__(name: str) -> Any:
    return getattr(torch.nn, name)


def __dir__() -> list[str]:
    return __all__
