"""MultilayerPerceptron: forward and backward against torch and finite differences."""

from __future__ import annotations

import pytest
import torch

from pyneural.demos.mlp import finite_differences
from pyneural.models import MultilayerPerceptron


def problem(widths=(3, 4, 3, 2), activation="tanh"):
    torch.manual_seed(0)
    network = MultilayerPerceptron(widths, activation).double()
    x, y = (torch.randn(6, width, dtype=torch.float64) for width in (widths[0], widths[-1]))
    return network, x, y


@pytest.mark.parametrize("activation", ["linear", "sigmoid", "tanh", "relu", "gelu"])
def test_backpropagation_is_torchs_gradient(activation):
    network, x, y = problem(activation=activation)
    network.cost(x, y).backward()
    for by_hand, parameter in zip(network.backpropagate(x, y), network.parameters(), strict=True):
        torch.testing.assert_close(by_hand, parameter.grad)


def test_backpropagation_is_the_limit_of_finite_differences():
    network, x, y = problem()
    parameters = list(network.parameters())
    before = [parameter.detach().clone() for parameter in parameters]
    errors = []
    for step in (1e-2, 1e-3):
        found = finite_differences(lambda: network.cost(x, y), parameters, step)
        by_hand = network.backpropagate(x, y)
        errors.append(max((a - b).abs().max() for a, b in zip(found, by_hand, strict=True)))
    assert errors[0] / errors[1] == pytest.approx(100, rel=0.05)
    for parameter, value in zip(parameters, before, strict=True):
        torch.testing.assert_close(parameter, value)


def test_forward_is_the_equation():
    network, x, _ = problem((3, 4, 1), "sigmoid")
    first, last = network.layers
    hidden = torch.sigmoid(x @ first.weight.T + first.bias)
    torch.testing.assert_close(network(x), torch.sigmoid(hidden @ last.weight.T + last.bias))
    assert [a.shape[1] for a in network.activations(x)] == [3, 4, 1]


def test_one_layer_is_a_perceptron():
    assert sum(p.numel() for p in MultilayerPerceptron([3, 1]).parameters()) == 4
    with pytest.raises(ValueError, match=r"widths: expected inputs, \.\.\., outputs, got \[3\]"):
        MultilayerPerceptron([3])


def test_cost_refuses_to_broadcast():
    network, x, _ = problem((3, 4, 1))
    with pytest.raises(ValueError, match=r"shape of the output, \[6, 1\], got \[6\]"):
        network.cost(x, torch.zeros(6))
