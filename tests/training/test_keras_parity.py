"""Losses, optimisers and weights beside Keras 3 itself, on its torch backend."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")

from pyneural.training import Model  # noqa: E402
from pyneural.training.losses.functions import LOSSES  # noqa: E402
from pyneural.training.solvers.optimizers import OPTIMIZERS, make_optimizer  # noqa: E402

RANDOM = np.random.default_rng(0)


def rows(count, classes, *, normalised):
    values = RANDOM.uniform(0.0, 1.0, (count, classes)).astype("float32")
    values[0, 0], values[1, 0] = 0.0, 1.0  # where a logarithm is clipped
    return values / values.sum(1, keepdims=True) if normalised else values


def pair_of(name):
    """(prediction, y) as that loss wants them."""
    if name == "sparse_categorical_crossentropy":
        return rows(9, 4, normalised=True), RANDOM.integers(0, 4, 9)
    if name in ("categorical_crossentropy", "kullback_leibler_divergence"):
        return rows(9, 4, normalised=False), rows(9, 4, normalised=True)
    if name == "binary_crossentropy":
        return rows(9, 4, normalised=False), RANDOM.integers(0, 2, (9, 4)).astype("float32")
    if name == "hinge":
        return RANDOM.normal(size=(9, 4)).astype("float32"), RANDOM.choice([-1.0, 1.0], (9, 4))
    return RANDOM.normal(size=(9, 4)).astype("float32"), rows(9, 4, normalised=False)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "quadratic_cost"])
def test_losses(name):
    prediction, y = pair_of(name)
    theirs_name = "kl_divergence" if name.startswith("kullback") else name
    theirs = getattr(keras.losses, theirs_name)(y.astype("float32"), prediction)
    target = torch.from_numpy(y) if name.startswith("sparse") else torch.from_numpy(y).float()
    ours = LOSSES[name](torch.from_numpy(prediction), target)
    while ours.dim() > 1:
        ours = ours.mean(-1)
    np.testing.assert_allclose(ours, keras.ops.convert_to_numpy(theirs), rtol=2e-5, atol=1e-6)


# Keras has epsilon within the root there, torch outside.
LOOSE = {"rmsprop": 1e-3, "adagrad": 1e-3}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimisers_take_the_same_steps(name):
    start = RANDOM.normal(size=(3, 2)).astype("float32")
    ours = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = make_optimizer(name, [ours])
    theirs = keras.Variable(start)
    keras_optimizer = keras.optimizers.get(name)
    for _ in range(20):
        gradient = RANDOM.normal(size=(3, 2)).astype("float32")
        ours.grad = torch.from_numpy(gradient.copy())
        optimizer.step()
        keras_optimizer.apply([keras.ops.convert_to_tensor(gradient)], [theirs])
    moved = keras.ops.convert_to_numpy(theirs) - start
    difference = np.abs(ours.detach().numpy() - start - moved).max()
    assert difference < LOOSE.get(name, 2e-4) * np.abs(moved).max()


@pytest.mark.parametrize("weights", ["none", "sample", "class"])
def test_fit_and_evaluate_weigh_and_average_alike(weights):
    x = RANDOM.normal(size=(50, 3)).astype("float32")
    y = RANDOM.integers(0, 3, 50)
    sample_weight = RANDOM.uniform(0.1, 2.0, 50).astype("float32")
    weight, bias = RANDOM.normal(size=(3, 3)).astype("float32"), np.zeros(3, "float32")

    theirs = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, activation="softmax")])
    theirs.set_weights([weight, bias])
    network = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Softmax(-1))
    with torch.no_grad():
        network[0].weight.copy_(torch.from_numpy(weight.T))
        network[0].bias.zero_()
    ours = Model(network)
    for model in (ours, theirs):
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    options = {"epochs": 3, "batch_size": 16, "shuffle": False, "verbose": 0}  # 50 = 3 * 16 + 2
    if weights == "sample":
        options["sample_weight"] = sample_weight
    elif weights == "class":
        options["class_weight"] = {0: 0.2, 1: 1.0, 2: 3.0}
    histories = [model.fit(x, y, **options).history for model in (ours, theirs)]
    for name in ("loss", "accuracy"):
        np.testing.assert_allclose(histories[0][name], histories[1][name], rtol=1e-4)
    final = theirs.get_weights()
    np.testing.assert_allclose(network[0].weight.detach().T, final[0], rtol=1e-4, atol=1e-6)
    given = {"sample_weight": sample_weight} if weights == "sample" else {}
    expected = theirs.evaluate(x, y, batch_size=16, verbose=0, **given)
    np.testing.assert_allclose(ours.evaluate(x, y, batch_size=16, **given), expected, rtol=1e-4)


@pytest.mark.parametrize("named", [True, False])
def test_several_outputs_have_the_same_curves(named):
    x = RANDOM.normal(size=(50, 3)).astype("float32")
    y = [x.sum(1, keepdims=True), (x[:, :1] > 0).astype("float32")]
    kernels = [RANDOM.normal(size=(3, 1)).astype("float32") for _ in y]

    class Heads(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = torch.nn.Linear(3, 1), torch.nn.Linear(3, 1)

        def forward(self, inputs):
            return of([self.a(inputs), self.b(inputs).sigmoid()])

    def of(parts):  # in a dict or in their order
        return dict(zip(("output_0", "output_1"), parts, strict=True)) if named else parts

    inputs = keras.Input((3,))
    a = keras.layers.Dense(1, name="output_0")
    b = keras.layers.Dense(1, activation="sigmoid", name="output_1")
    theirs = keras.Model(inputs, of([a(inputs), b(inputs)]))
    ours = Model(Heads())
    for kernel, layer, head in zip(kernels, (a, b), (ours.module.a, ours.module.b), strict=True):
        layer.set_weights([kernel, np.zeros(1)])
        with torch.no_grad():
            head.weight.copy_(torch.from_numpy(kernel.T)), head.bias.zero_()
    given = {
        "loss": of(["mse", "binary_crossentropy"]),
        "loss_weights": of([2.0, 0.5]),
        "metrics": of([["mae", "mse"], ["accuracy"]]),
    }
    options = {"epochs": 3, "batch_size": 16, "shuffle": False, "verbose": 0}
    results = []
    for model in (ours, theirs):
        model.compile("sgd", **given)
        history = model.fit(x, of(y), validation_data=(x, of(y)), **options).history
        evaluated = model.evaluate(x, of(y), batch_size=16, verbose=0, return_dict=True)
        in_order = model.evaluate(x, of(y), batch_size=16, verbose=0)
        results.append((history, evaluated, in_order))
    for found, expected in zip(results[0][:2], results[1][:2], strict=True):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-4, err_msg=name)
    np.testing.assert_allclose(results[0][2], results[1][2], rtol=1e-4)


def test_validation_split_takes_the_last_part():
    x = np.arange(20, dtype="float32")[:, None]
    y = np.where(x < 15, 0.0, 10.0)
    theirs = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    network = torch.nn.Linear(1, 1)
    theirs.set_weights([np.zeros((1, 1)), np.zeros(1)])
    torch.nn.init.zeros_(network.weight), torch.nn.init.zeros_(network.bias)
    ours = Model(network)
    for model in (ours, theirs):
        model.compile("sgd", "mse")
    histories = [
        model.fit(x, y, validation_split=0.25, epochs=1, verbose=0).history
        for model in (ours, theirs)
    ]
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(histories[0][name], histories[1][name], rtol=1e-5)
