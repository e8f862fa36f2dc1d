"""nn.Sequential and what is no tensor: it goes from layer to layer, as in torch.nn.Sequential."""

from __future__ import annotations

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from pyneural import nn


class Call(torch.nn.Module):
    """A function as a layer."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def take():
    return Call(lambda pair: pair[0])


X = torch.randn(5, 2, 3)
LINEARS = (3, 4), (4, 4), (4, 2)

# name: input, layers as a function of the package
CASES = {
    "an LSTM's pair": (X, lambda nn: [nn.LSTM(3, 4), take(), nn.Linear(4, 2)]),
    "a GRU's pair, then a run": (
        X,
        lambda nn: [nn.GRU(3, 3), take(), *(nn.Linear(*sizes) for sizes in LINEARS)],
    ),
    "a tuple in": ((X, X), lambda nn: [Call(lambda t: t[0] - 2 * t[1]), nn.Linear(3, 2)]),
    "a list in": ([X, X], lambda nn: [Call(lambda t: t[0] + t[1]), nn.Linear(3, 2)]),
    "a dict in": ({"x": X}, lambda nn: [Call(lambda d: d["x"]), nn.Linear(3, 2)]),
    "a dict between": (
        X[0],
        lambda nn: [
            nn.Linear(3, 4),
            nn.Linear(4, 4),
            Call(lambda x: {"x": x}),
            Call(lambda d: d["x"]),
            nn.Linear(4, 2),
            nn.Linear(2, 2),
        ],
    ),
    "packed": (
        pack_sequence([X[:, 0], X[:3, 1]]),
        lambda nn: [nn.LSTM(3, 4), Call(lambda pair: pair[0].data), nn.Linear(4, 2)],
    ),
    "None": (None, lambda nn: [Call(lambda none: X[0]), nn.Linear(3, 4), nn.Linear(4, 2)]),
    "a number": (2.0, lambda nn: [Call(lambda a: a * X[0]), nn.Linear(3, 4), nn.Linear(4, 2)]),
    "nothing": ((X, 1), lambda nn: []),
}


@pytest.mark.parametrize("name", CASES)
def test_goes_from_layer_to_layer(name):
    input, make = CASES[name]
    torch.manual_seed(0)
    theirs = torch.nn.Sequential(*make(torch.nn))
    torch.manual_seed(0)
    ours = nn.Sequential(*make(nn))
    torch.testing.assert_close(ours(input), theirs(input))


@pytest.mark.parametrize(
    "input", [(X[0],), [X[0]], {"x": X[0]}, None], ids=lambda x: type(x).__name__
)
def test_a_linear_layer_names_what_it_got(input):
    for model in (nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), nn.Linear(3, 2)):
        with pytest.raises(RuntimeError, match="Linear: input: expected a tensor, got"):
            model(input)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.ones(2, 5), r"Linear: input: expected \[\.\.\., 3\], got \[2, 5\]"),
        (torch.ones(2, 3, dtype=torch.float64), "Linear: input: expected torch.float32"),
        (torch.ones(()), r"Linear: input: expected \[\.\.\., 3\], got \[\]"),
    ],
)
def test_a_run_blames_the_layer_at_fault(x, message):
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    for error in (ValueError, RuntimeError):
        with pytest.raises(error, match=message):
            network(x)
    inner = nn.Sequential(nn.Linear(3, 5), nn.Linear(4, 2))
    with pytest.raises(RuntimeError, match=r"input: expected \[\.\.\., 4\], got \[2, 5\]"):
        inner(torch.ones(2, 3))
