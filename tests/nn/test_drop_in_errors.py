"""Errors name the argument that the user gave, and code written for torch catches them."""

from __future__ import annotations

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from pyneural import nn, ops
from pyneural.errors import ArgumentError

X = torch.rand(5, 2, 8)
H = torch.rand(1, 2, 4)
PACKED = pack_sequence([torch.rand(4, 7), torch.rand(2, 7)])


def masked():
    return nn.MaskedLinear(nn.random_mask(4, 8, 0.5))


# The class of the error's message, its argument, and the call.
SIZES = [
    ("Linear", "input", lambda: nn.Linear(7, 4)(X)),
    ("Linear", "input", lambda: nn.Sequential(nn.Linear(7, 4), nn.Linear(4, 2))(X[0])),
    ("Linear", "input", lambda: nn.Linear(7, 4)(torch.tensor(1.0))),
    ("MLP", "x", lambda: nn.MLP(7, [4], 2)(X)),
    ("MaskedLinear", "input", lambda: masked()(X[..., :7])),
    ("LSTM", "input", lambda: nn.LSTM(7, 4)(X)),
    ("GRU", "input", lambda: nn.GRU(7, 4, batch_first=True)(X)),
    ("RNN", "input", lambda: nn.RNN(7, 4)(X[0])),
    ("LSTM", "input", lambda: nn.LSTM(8, 4)(PACKED)),
    ("LSTM", "input", lambda: nn.LSTM(7, 4, proj_size=2)(X)),
    ("LSTM", "input", lambda: nn.LSTM(7, 4)(X[:, :, :, None])),
    ("GRU", "h_0", lambda: nn.GRU(8, 4)(X, H[..., :3])),
    ("LSTM", "h_0", lambda: nn.LSTM(8, 4)(X, (H[:, :1], H))),
    ("LSTM", "c_0", lambda: nn.LSTM(8, 4)(X, (H, H[:, :1]))),
    ("LSTM", "h_0", lambda: nn.LSTM(8, 4, proj_size=2)(X, (H, H))),
    ("LSTM", "hx", lambda: nn.LSTM(8, 4)(X, H)),
    ("RNN", "h_0", lambda: nn.RNN(7, 4)(PACKED, torch.rand(1, 3, 4))),
    ("LSTMCell", "input", lambda: nn.LSTMCell(7, 4)(X[0])),
    ("GRUCell", "h0", lambda: nn.GRUCell(8, 4)(X[0], H[0, :, :3])),
    ("LSTMCell", "h0", lambda: nn.LSTMCell(8, 4)(X[0], H[0])),
    ("MultiheadAttention", "query", lambda: nn.MultiheadAttention(6, 2)(X, X, X)),
    ("MultiheadAttention", "key", lambda: nn.MultiheadAttention(8, 2)(X, X[..., :6], X)),
    ("MultiheadAttention", "query", lambda: nn.TransformerEncoderLayer(6, 2, 8)(X)),
    ("Transformer", "src", lambda: nn.Transformer(6, 2, 1, 1, 8)(X, X)),
]
TYPES = [
    ("Linear", "input", lambda: nn.Linear(8, 4)(X.double())),
    ("Linear", "input", lambda: nn.Linear(8, 4)(X.long())),
    ("Linear", "input", lambda: nn.Linear(8, 4, dtype=torch.float64)(X)),
    ("Linear", "input", lambda: nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 2))(X[0].double())),
    ("MLP", "x", lambda: nn.MLP(8, [4], 2)(X.double())),
    ("MaskedLinear", "input", lambda: masked()(X.double())),
    ("LSTM", "input", lambda: nn.LSTM(8, 4)(X.double())),
    ("LSTM", "input", lambda: nn.LSTM(7, 4)(PACKED.to(torch.float64))),
    ("GRUCell", "input", lambda: nn.GRUCell(8, 4)(X[0].double())),
    ("MultiheadAttention", "query", lambda: nn.MultiheadAttention(8, 2)(X.double(), X, X)),
    ("MultiheadAttention", "key", lambda: nn.MultiheadAttention(8, 2)(X, X.double(), X)),
    ("MultiheadAttention", "value", lambda: nn.MultiheadAttention(8, 2)(X, X, X.double())),
    ("Dropout", "input", lambda: nn.Dropout(0.5)(X.long())),
]


@pytest.mark.parametrize(("layer", "argument", "call"), SIZES + TYPES)
def test_named_and_caught(layer, argument, call):
    for cls in (ValueError, RuntimeError, ArgumentError):
        with pytest.raises(cls, match=f"^{layer}: {argument}: expected .*, got .*; "):
            call()


# What torch raises a RuntimeError for, so does ours.
@pytest.mark.parametrize(
    "call",
    [
        lambda nn: nn.Linear(7, 4)(X),
        lambda nn: nn.Linear(8, 4)(X.double()),
        lambda nn: nn.LSTM(7, 4)(X),
        lambda nn: nn.GRU(8, 4)(X, H[..., :3]),
        lambda nn: nn.GRUCell(7, 4)(X[0]),
        lambda nn: nn.TransformerEncoderLayer(8, 2, 8, activation="tanh"),
        lambda nn: nn.Transformer(8, 2, 1, 1, 8)(X, X[..., :6]),
        lambda nn: nn.Dropout(0.5)(X.long()),
        lambda nn: nn.MSELoss()(X, X[:3]),
    ],
)
def test_of_torchs_type(call):
    for package in (torch.nn, nn):
        with pytest.raises(RuntimeError):
            call(package)


@pytest.mark.parametrize(
    "call",
    [
        lambda: ops.dense(X, torch.rand(4, 7)),
        lambda: ops.mlp(X[0], [torch.rand(4, 7)], [torch.rand(4)], "tanh"),
        lambda: ops.rnn(X, None, [torch.rand(4, 7), torch.rand(4, 4), None, None]),
        lambda: ops.attention(X, X[..., :6], X),
        lambda: ops.dropout(X, 1.5),
        lambda: ops.dense(X, torch.rand(4, 8), activation="swish"),
    ],
)
def test_of_the_ops(call):
    for cls in (ValueError, RuntimeError, ArgumentError):
        with pytest.raises(cls, match=r": expected .*, got .*; "):
            call()


def test_attention_takes_by_name_what_torch_has_in_another_order():
    q = torch.rand(2, 5, 4)
    for call in (
        lambda: ops.attention(q, q, q, None, 0.5),  # torch's dropout_p
        lambda: ops.attention(q, q, q, None, True),
        lambda: ops.attention(q, q, q, None, 0.0, True),
        lambda: ops.attention_weights(q, q, None, True),
    ):
        with pytest.raises(TypeError, match="positional"):
            call()
    found = ops.attention(q, q, q, is_causal=True, scale=0.3)
    exact = torch.nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True, scale=0.3)
    torch.testing.assert_close(found, exact)
