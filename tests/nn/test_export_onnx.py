"""Layers and models through both ONNX exporters, run in onnxruntime."""

from __future__ import annotations

import io
import logging

import pytest
import torch
from torch.utils._pytree import tree_leaves

from pyneural import models, nn
from tests.nn.called_ops import CalledOps

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.filterwarnings("ignore")


def x(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def tokens(*shape):
    return torch.randint(3, 9, shape, generator=torch.Generator().manual_seed(1))


def encoder():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu")
    return nn.TransformerEncoder(layer, 2)


class Attention(torch.nn.Module):
    """Causal by the hint alone, which torch's attention does not take."""

    def __init__(self):
        super().__init__()
        self.inner = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        return self.inner(x, x, x, is_causal=True)


# name: model, its inputs
CASES = {
    "Linear": lambda: (nn.Linear(8, 4), x(2, 5, 8)),
    "Linear with gelu_tanh": lambda: (nn.Linear(8, 4, activation="gelu_tanh"), x(2, 8)),
    "Sequential": lambda: (
        nn.Sequential(nn.Linear(8, 4, activation="tanh"), nn.Linear(4, 4, activation="tanh")),
        x(3, 8),
    ),
    "MLP": lambda: (nn.MLP(2, [16, 16], 3, input_range=(-1.0, 2.0)), x(5, 2)),
    "MaskedLinear": lambda: (
        nn.MaskedLinear(nn.random_mask(4, 8, 0.5), activation="tanh"),
        x(3, 8),
    ),
    "LSTM": lambda: (nn.LSTM(8, 4, num_layers=2, bidirectional=True), x(5, 2, 8)),
    "GRU": lambda: (nn.GRU(8, 4, batch_first=True), x(2, 5, 8)),
    "RNN": lambda: (nn.RNN(8, 4, nonlinearity="relu"), x(5, 2, 8)),
    "LSTMCell": lambda: (nn.LSTMCell(8, 4), x(2, 8)),
    "MultiheadAttention": lambda: (nn.MultiheadAttention(8, 2), *[x(5, 2, 8)] * 3),
    "causal attention": lambda: (Attention(), x(2, 5, 8)),
    "encoder": lambda: (encoder(), x(2, 5, 8)),
    "decoder layer": lambda: (nn.TransformerDecoderLayer(8, 2, 16), x(5, 2, 8), x(7, 2, 8)),
    "autoencoder": lambda: (models.Autoencoder([8, 6, 2], last_activation="sigmoid"), x(3, 8)),
    "translator": lambda: (
        models.TransformerTranslator(9, 9, 3, d_model=8, heads=2, layers=1, dim_feedforward=16),
        tokens(2, 8),
    ),
}


def run(data, inputs):
    session = onnxruntime.InferenceSession(data)
    given = {i.name: t.numpy() for i, t in zip(session.get_inputs(), inputs, strict=False)}
    return [torch.from_numpy(array) for array in session.run(None, given)]


def exported(model, inputs, dynamo, **options):
    file = io.BytesIO()
    logging.disable(logging.WARNING)
    try:
        if dynamo:
            torch.onnx.export(model, inputs, dynamo=True, verbose=False, **options).save(file)
        else:
            torch.onnx.export(model, inputs, file, dynamo=False, **options)
    finally:
        logging.disable(logging.NOTSET)
    return file.getvalue()


@pytest.mark.parametrize("dynamo", [True, False], ids=["by torch.export", "by TorchScript"])
@pytest.mark.parametrize("name", CASES)
def test_onnx(name, dynamo):
    torch.manual_seed(0)
    model, *inputs = CASES[name]()
    model.eval()
    with torch.no_grad():
        expected = tree_leaves(model(*inputs))
        found = run(exported(model, tuple(inputs), dynamo), inputs)
    torch.testing.assert_close(found[: len(expected)], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dynamo", [True, False], ids=["by torch.export", "by TorchScript"])
@pytest.mark.parametrize("name", ["Linear", "GRU", "encoder"])
def test_a_batch_of_another_size(name, dynamo):
    torch.manual_seed(0)
    model, first = CASES[name]()
    model.eval()
    axes = {0: "batch"}
    if dynamo:
        options = {"dynamic_shapes": ({0: torch.export.Dim("batch")},)}
    else:
        options = {"input_names": ["x"], "dynamic_axes": {"x": axes}}
    other = x(7, 5, 8)
    with torch.no_grad():
        found = run(exported(model, (first,), dynamo, **options), [other])
        expected = tree_leaves(model(other))
    torch.testing.assert_close(found[: len(expected)], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["Linear", "MLP", "GRU", "causal attention", "autoencoder"])
def test_an_exported_program(name):
    """One that holds our ops is decomposed."""
    torch.manual_seed(0)
    model, *inputs = CASES[name]()
    program = torch.export.export(model.eval(), tuple(inputs))
    assert any("pyneural" in str(node.target) for node in program.graph.nodes)
    with torch.no_grad():
        expected = tree_leaves(model(*inputs))
        found = run(exported(program, (), True), inputs)
    torch.testing.assert_close(found[: len(expected)], expected, rtol=1e-4, atol=1e-5)


def test_the_flag_is_put_back():
    """After an export the kernels are at work again."""
    layer = nn.Linear(8, 4)
    given = x(2, 8)
    exported(layer, (given,), True)
    with CalledOps() as ops, torch.no_grad():
        layer(given)
    assert ops.names == ["pyneural.dense.default"]
