"""Recurrent layers and embeddings beside Keras 3 and torch, and in a Sequential."""

import os
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from pyneural import layers
from pyneural import nn as pn
from pyneural.training import Sequential, load_model

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(12, 5, 3)).astype("float32")
Y = X[:, :, 0].sum(1, keepdims=True)
KINDS = [layers.SimpleRNN, layers.GRU, layers.LSTM]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, {"return_sequences": True}, {"go_backwards": True}])
def test_beside_torch(kind, options):
    layer = kind(4, **options)
    found = layer(torch.from_numpy(X))
    name = {"SimpleRNN": "RNN"}.get(kind.__name__, kind.__name__)
    theirs = getattr(nn, name)(3, 4, batch_first=True)
    theirs.load_state_dict(layer.recurrent.state_dict())
    x = torch.from_numpy(X)
    y, _ = theirs(x.flip(1) if options.get("go_backwards") else x)
    torch.testing.assert_close(found, y if options.get("return_sequences") else y[:, -1])
    assert layer.output_shape == ((5, 4) if options.get("return_sequences") else (4,))
    assert layer(x[:, :2]).shape[0] == 12  # of other lengths


@pytest.mark.parametrize("name", ["SimpleRNN", "GRU", "LSTM"])
def test_beside_keras(name):
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    theirs = getattr(keras.layers, name)(4, return_sequences=True)
    expected = keras.ops.convert_to_numpy(theirs(X))
    kernel, recurrent, bias = (np.asarray(w) for w in theirs.get_weights())
    ours = getattr(layers, name)(4, return_sequences=True)
    ours.build((5, 3))
    gates = {"SimpleRNN": [0], "GRU": [1, 0, 2], "LSTM": [0, 1, 2, 3]}[name]

    def ordered(matrix):  # [..., gates * units] of Keras to [gates * units, ...] of torch
        parts = np.split(matrix, len(gates), axis=-1)
        return torch.from_numpy(np.concatenate([parts[gate] for gate in gates], -1).T.copy())

    with torch.no_grad():
        ours.recurrent.weight_ih_l0.copy_(ordered(kernel))
        ours.recurrent.weight_hh_l0.copy_(ordered(recurrent))
    if name == "LSTM":
        torch.testing.assert_close(ours.recurrent.bias_ih_l0.detach(), ordered(bias))
    np.testing.assert_allclose(ours(torch.from_numpy(X)).detach(), expected, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_in_a_sequential(kind, tmp_path):
    torch.manual_seed(0)
    model = Sequential([kind(8, return_sequences=True), kind(8), layers.Dense(1)])
    model.compile(partial(torch.optim.Adam, lr=0.02), "mse")
    curve = model.fit(X, Y, epochs=30, verbose=0)["loss"]
    assert curve[-1] < 0.8 * curve[0]
    assert model.output_shapes == [(5, 8), (8,), (1,)]
    assert model.predict(X[:, :3]).shape == (12, 1)
    model.save(tmp_path / "m.safetensors")
    again = load_model(tmp_path / "m.safetensors")
    np.testing.assert_allclose(again.predict(X), model.predict(X), rtol=1e-6)


@pytest.mark.parametrize("wrap", [lambda *parts: Sequential(parts), lambda *p: pn.Sequential(*p)])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN, pn.LSTM])
def test_torch_s_own_in_a_sequential(wrap, kind):
    class Take(nn.Module):
        def forward(self, given):
            return given[0][:, -1]

    torch.manual_seed(0)
    network = wrap(kind(3, 4, batch_first=True), Take(), nn.Linear(4, 1))
    model = network if isinstance(network, Sequential) else None
    if model is None:
        with torch.no_grad():
            assert network(torch.from_numpy(X)).shape == (12, 1)
        return
    model.compile("adam", "mse")
    curve = model.fit(X, Y, epochs=20, verbose=0)["loss"]
    assert curve[-1] < curve[0]
    assert model.output_shapes == [None, (4,), (1,)]


def test_what_a_layer_gives_that_is_no_tensor_at_the_end():
    model = Sequential([nn.LSTM(3, 4, batch_first=True)])
    model.compile("sgd", "mse")
    with pytest.raises(TypeError, match=r"mean_squared_error: prediction and y: .* got tuple"):
        model.fit(X, Y, verbose=0)


def test_embedding():
    codes = RANDOM.integers(0, 7, (12, 5))
    y = (codes == 3).any(1).astype("float32")
    torch.manual_seed(0)
    model = Sequential([layers.Embedding(7, 6), layers.GRU(8), layers.Dense(1, "sigmoid")])
    model.compile("adam", "bce")
    for dtype in ("int64", "int32", "uint8"):
        model.fit(codes.astype(dtype), y, verbose=0)
    assert model.output_shapes == [(5, 6), (8,), (1,)]
    assert model.count().layers[0].total == 42
    with pytest.raises(ValueError, match="input_dim: expected an integer >= 1, got 0"):
        layers.Embedding(0, 3)


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8])
def test_whole_numbers_of_numpy(kind, tmp_path):
    two = kind(2)
    model = Sequential(
        [
            layers.Conv2D(two, (two, two), strides=two, padding="same", input_shape=(4, 4, two)),
            layers.MaxPooling2D(two),
            layers.UpSampling2D(two),
            layers.Flatten(),
            layers.Dense(kind(6)),
            layers.Reshape((kind(3), two)),
            layers.LSTM(two),
        ]
    )
    model.compile("sgd", "mse")
    x = np.zeros((6, 4, 4, 2), "float32")
    model.fit(x, np.zeros((6, 2)), batch_size=kind(3), epochs=kind(2), verbose=kind(0))
    model.save(tmp_path / "m.safetensors")
    assert load_model(tmp_path / "m.safetensors").output_shapes == model.output_shapes
    for bad in (kind(0), True, 2.0):
        with pytest.raises(ValueError, match="units: expected an integer >= 1"):
            layers.Dense(bad)


@pytest.mark.parametrize("samples", [1, 5, 9])
def test_a_last_batch_of_one_sample(samples):
    torch.manual_seed(0)
    model = Sequential([layers.Dense(3), layers.BatchNormalization(), layers.Dense(1)])
    model.compile("sgd", "mse")
    x = RANDOM.normal(size=(samples, 2)).astype("float32")
    model.fit(x, x[:, :1], batch_size=4, verbose=0)
    assert all(p.isfinite().all() for p in model.state_dict().values())
    keras = pytest.importorskip("keras")
    theirs = keras.layers.BatchNormalization()
    theirs(np.zeros((2, 3), "float32"))
    one = np.array([[1.0, 2.0, 3.0]], "float32")
    expected = keras.ops.convert_to_numpy(theirs(one, training=True))
    ours = layers.BatchNormalization()
    ours.train()
    np.testing.assert_allclose(ours(torch.from_numpy(one)).detach(), expected, atol=1e-6)
    np.testing.assert_allclose(ours.norm.running_mean, 0.01 * one[0], rtol=1e-5)
    np.testing.assert_allclose(ours.norm.running_var, 0.99, rtol=1e-5)


def test_torch_s_batch_normalisation_names_the_batch():
    model = Sequential([nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1)])
    model.compile("sgd", "mse")
    x = RANDOM.normal(size=(9, 2)).astype("float32")
    with pytest.raises(ValueError, match=r"fit: batch_size: .* a batch of one sample"):
        model.fit(x, x[:, :1], batch_size=4, verbose=0)
