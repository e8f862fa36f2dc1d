"""Parameters and hyperparameters, counted."""

import pytest
import torch
from torch import nn

from pyneural import layers
from pyneural.nn import MLP, MaskedLinear, Maxout
from pyneural.training import Model, Sequential, count_hyperparameters


def test_counts():
    model = Sequential([nn.Linear(3, 4), nn.Linear(4, 3), nn.Linear(3, 1)])
    assert [layer.total for layer in model.count().layers] == [16, 15, 4]
    assert model.count().total == 35
    model.compile("sgd", "mse")
    counted = {name: number for name, number, _ in count_hyperparameters(model, 32, 5).choices}
    assert counted["neurons of each layer"] == 3
    assert counted["loss function"] == counted["optimization method"] == 1
    shared = nn.Linear(3, 3)
    assert Sequential([shared, nn.Tanh(), shared, nn.Linear(3, 1)]).count().total == 12 + 4
    model[1].requires_grad_(False)
    assert (model.count().trained, model.count().total) == (20, 35)


MASK = torch.eye(4, dtype=torch.bool)
IMAGE_LAYERS = [
    layers.Conv2D(4, 3, activation="relu", input_shape=(8, 8, 1)),
    layers.MaxPooling2D(),
    layers.Flatten(),
    layers.Dense(3, "softmax"),
]


@pytest.mark.parametrize(
    ("model", "widths", "activations"),
    [
        (Model(MLP(3, [8, 5], 1, "sin")), "8, 5, 1", "sin, sin, linear"),
        (Sequential([MLP(3, [8], 2), nn.Softmax(-1)]), "8, 2", "tanh, softmax"),
        (Sequential(IMAGE_LAYERS), "4, 3", "relu, softmax"),
        (
            Sequential([MaskedLinear(MASK, activation="tanh"), nn.Linear(4, 6), Maxout(2)]),
            "4, 6",
            "tanh, maxout",
        ),
        (
            Model(nn.Sequential(nn.ReLU(), nn.Sequential(nn.Linear(3, 4), nn.PReLU()))),
            "4",
            "prelu",
        ),
    ],
)
def test_widths_and_activations_of_all_layers(model, widths, activations):
    model.compile("sgd", lambda prediction, y: prediction.sum())
    choices = {name: what for name, _, what in count_hyperparameters(model, 32, 5).choices}
    assert choices["neurons of each layer"] == widths
    assert choices["activation functions"] == activations
    assert choices["layers"] == str(1 + widths.count(","))


def test_summary_has_a_row_for_each_layer_of_a_network(capsys):
    Model(MLP(3, [8], 1)).summary()
    rows = capsys.readouterr().out.splitlines()
    assert rows[1].split() == [
        "layers.0",
        "(Linear)",
        "32",
        "3",
        "x",
        "8",
        "weight",
        "+",
        "8",
        "bias",
    ]
    assert rows[2].split() == [
        "layers.1",
        "(Linear)",
        "9",
        "8",
        "x",
        "1",
        "weight",
        "+",
        "1",
        "bias",
    ]
