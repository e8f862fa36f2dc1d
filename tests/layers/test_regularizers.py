"""Penalties on weights: Keras's gradient, and curves of the data alone."""

import os

import numpy as np
import pytest
import torch

from pyneural import layers
from pyneural.training import Sequential, load_model

os.environ.setdefault("KERAS_BACKEND", "torch")

X = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
Y = X.sum(1, keepdims=True)


def new_model(**options):
    torch.manual_seed(0)
    model = Sequential(
        [layers.Dense(4, "tanh", input_shape=(3,), **options), layers.Dense(1, **options)]
    )
    model.compile("sgd", "mse", ["mae"])
    return model


GIVEN = {
    "l2": (0.0, 0.01),
    "l1": (0.01, 0.0),
    "l1_l2": (0.01, 0.01),
    0.3: (0.0, 0.3),
    (0.1, 0.2): (0.1, 0.2),
    None: None,
}


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("argument", ["kernel_regularizer", "bias_regularizer"])
def test_steps_are_those_of_keras(given, argument):
    keras = pytest.importorskip("keras")
    factors = GIVEN[given]
    regular = None if factors is None else keras.regularizers.L1L2(*factors)
    ours = new_model(**{argument: given})
    theirs = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, "tanh", **{argument: regular}),
            keras.layers.Dense(1, **{argument: regular}),
        ]
    )
    for mine, other in zip(ours, theirs.layers, strict=True):
        torch.nn.init.normal_(mine.linear.bias)
        other.set_weights([mine.linear.weight.detach().T, mine.linear.bias.detach()])
    theirs.compile("sgd", "mse")
    options = {"epochs": 3, "batch_size": 8, "shuffle": False, "verbose": 0}
    history = ours.fit(X, Y, validation_data=(X, Y), **options)
    total = theirs.fit(X, Y, **options).history["loss"]
    for mine, other in zip(ours, theirs.layers, strict=True):
        weight, bias = other.get_weights()
        np.testing.assert_allclose(mine.linear.weight.detach().T, weight, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(mine.linear.bias.detach(), bias, rtol=1e-4, atol=1e-6)
    penalty = history.history.get("regularization", [0.0] * 3)
    np.testing.assert_allclose(np.add(history["loss"], penalty), total, rtol=1e-4)
    assert (given is None) == ("regularization" not in history.history)
    assert "val_regularization" not in history.history
    loss = np.mean((ours.predict(X) - Y) ** 2)
    assert history["val_loss"][-1] == pytest.approx(loss, rel=1e-5)
    assert ours.evaluate(X, Y)[0] == pytest.approx(loss, rel=1e-5)


def test_images_saving_and_keras_s_own_objects(tmp_path):
    keras = pytest.importorskip("keras")
    regular = keras.regularizers.L2(0.5)
    model = Sequential(
        [
            layers.Conv2D(2, 3, kernel_regularizer=regular, input_shape=(4, 4, 1)),
            layers.Conv2DTranspose(2, 3, bias_regularizer="l1"),
            layers.Flatten(),
            layers.Dense(1, kernel_regularizer=1e-3),
        ]
    )
    factors = [getattr(layer, "kernel_regularizer", None) for layer in model]
    assert factors == [(0, 0.5), None, None, (0, 1e-3)]
    assert model[0].penalty().item() == pytest.approx(
        0.5 * model[0].convolution.weight.square().sum().item()
    )
    model.save(tmp_path / "m.safetensors")
    again = load_model(tmp_path / "m.safetensors")
    assert again[0].kernel_regularizer == (0, 0.5)
    assert again[1].bias_regularizer == (0.01, 0)


@pytest.mark.parametrize("bad", [-1.0, "l3", (1.0, -1.0), (1.0,), float("inf"), float("nan")])
def test_other_values(bad):
    with pytest.raises(ValueError, match="Dense: kernel_regularizer: expected 'l1', 'l2'"):
        layers.Dense(2, kernel_regularizer=bad)
