from __future__ import annotations

import math

import pytest
import torch

from pyneural.nn import MLP
from pyneural.ops import Laplacian, record_residual
from tests.ops.jet_oracle import nested_jet


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def plain_value(network, x):
    """The formula of the docstring, tanh."""
    if network.has_input_range:
        low, high = network.input_low, network.input_high
        x = (2 * x - high - low) / (high - low)
    for layer in network.layers[:-1]:
        x = torch.tanh(torch.nn.functional.linear(x, layer.weight, layer.bias))
    return torch.nn.functional.linear(x, network.layers[-1].weight, network.layers[-1].bias)


RANGES = [None, (-2.0, 3.0), ([0.0, -1.0, 5.0], torch.tensor([1.0, 1.0, 9.0]))]


@pytest.mark.parametrize("input_range", RANGES)
@pytest.mark.parametrize("hidden", [[], [7], [5, 9, 4]])
def test_forward_is_the_formula(hidden, input_range):
    network = MLP(3, hidden, 2, input_range=input_range).double()
    x = torch.rand(4, 6, 3, dtype=torch.float64)
    torch.testing.assert_close(network(x), plain_value(network, x))
    assert network(x[:0]).shape == (0, 6, 2)


@pytest.mark.parametrize("input_range", RANGES)
def test_jet_is_with_respect_to_the_unscaled_inputs(input_range):
    network = MLP(3, [8, 8], 2, input_range=input_range).double()
    x = torch.rand(5, 3, dtype=torch.float64, requires_grad=True)
    value = plain_value(network, x)
    expected_u, expected_xx = value, []
    for output in range(2):
        (first,) = torch.autograd.grad(value[:, output].sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first[:, 1].sum(), x, create_graph=True)
        expected_xx.append(second[:, 1])
    u, u_xx, u_lap = network.jet(x, [(1, 1), Laplacian(1, 2)])
    torch.testing.assert_close(u, expected_u)
    torch.testing.assert_close(u_xx, torch.stack(expected_xx, 1))
    assert u_lap.shape == (5, 2)
    parameters = list(network.parameters())
    ours = torch.autograd.grad(u_xx.square().sum(), parameters, allow_unused=True)
    theirs = torch.autograd.grad(
        torch.stack(expected_xx).square().sum(), parameters, allow_unused=True
    )
    for mine, yours in zip(ours, theirs, strict=True):
        if yours is not None:
            torch.testing.assert_close(mine, yours)


def test_jet_loss_is_the_mean_square_of_the_program():
    network = MLP(2, [6], 1, input_range=(0.0, 2.0)).double()
    x = torch.rand(7, 2, dtype=torch.float64)
    program = record_residual(lambda jet, x, c: jet[1, 0] + x[1] * c[0])
    loss = network.jet_loss(x, [(0,)], program, torch.tensor([0.5], dtype=torch.float64))
    _, u_t = network.jet(x, [(0,)])
    torch.testing.assert_close(loss, (u_t[:, 0] + 0.5 * x[:, 1]).square().mean())


def test_agrees_with_the_reference_op():
    network = MLP(2, [6, 6], 1, "sin").double()
    x = torch.rand(4, 2, dtype=torch.float64)
    weights = [layer.weight for layer in network.layers]
    biases = [layer.bias for layer in network.layers]
    expected = nested_jet(x, weights, biases, "sin", [(0,), (1, 1)])
    torch.testing.assert_close(tuple(network.jet(x, [(0,), (1, 1)])), tuple(expected))


def test_state_moves_with_its_scaling():
    first, second = (MLP(2, [4], 1, input_range=r) for r in ((0.0, 1.0), (-5.0, 5.0)))
    keys = ["layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"]
    assert list(MLP(2, [4], 1).state_dict()) == keys
    assert set(first.state_dict()) == {*keys, "input_low", "input_high"}
    second.load_state_dict(first.state_dict())
    x = torch.rand(3, 2)
    assert torch.equal(first(x), second(x))


def test_initialisation_is_glorot_and_reproducible():
    def network():
        torch.manual_seed(7)
        return MLP(64, [256, 128], 32)

    first, second = network(), network()
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    for layer in first.layers:
        assert (layer.bias == 0).all()
        expected = math.sqrt(2 / sum(layer.weight.shape))
        assert layer.weight.std().item() == pytest.approx(expected, rel=0.05)


def test_repr_says_what_it_is():
    text = repr(MLP(2, [20] * 8, 1, input_range=([0.0, -1.0], [1.0, 1.0])))
    assert "2, 1, activation='tanh', input_range=([0.0, -1.0], [1.0, 1.0])" in text
    assert "7 x Linear(in_features=20, out_features=20, bias=True)" in text


def test_points_of_another_width_are_refused():
    network = MLP(2, [4], 1)
    for x in (torch.zeros(3, 1), torch.zeros(3), torch.tensor(0.0)):
        for call in (network, lambda x: network.jet(x, [(0,)])):
            with pytest.raises(ValueError, match="MLP: x: expected 2 columns, one per input"):
                call(x)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"in_features": 0}, r"widths >= 1, got \[0, 4, 1\]"),
        ({"hidden": [4, -1]}, "leave out empty layers"),
        ({"input_range": (1.0, 0.0)}, "low < high"),
        ({"input_range": (0.0, math.inf)}, "finite"),
        ({"input_range": ([0.0, 1.0, 2.0], 3.0)}, r"numbers or \[2\], got \[3\]"),
    ],
)
def test_bad_arguments(change, text):
    arguments = {"in_features": 2, "hidden": [4], "out_features": 1} | change
    with pytest.raises(ValueError, match=text):
        MLP(**arguments)


def far_and_near(low=2020.0, high=2021.0):
    """A network of a range far from 0 in float32, and the same network of (0, 1) in float64."""
    far = MLP(2, [20, 20], 1, input_range=([low, -1.0], [high, 3.0]))
    near = MLP(2, [20, 20], 1, input_range=([0.0, -1.0], [high - low, 3.0])).double()
    near.layers.load_state_dict(far.layers.state_dict())
    x = torch.stack([torch.linspace(low, high, 65), torch.rand(65) * 4 - 1], 1)
    return far, near, x, x.double() - torch.tensor([low, 0.0], dtype=torch.float64)


@pytest.mark.parametrize(("low", "high"), [(2020.0, 2021.0), (-2021.0, -2020.0), (500.0, 2000.0)])
def test_a_range_far_from_zero_costs_no_digits(low, high):
    far, near, x, shifted = far_and_near(low, high)
    tolerance = {"rtol": 2e-6, "atol": 2e-6, "check_dtype": False}
    torch.testing.assert_close(far(x), near(shifted), **tolerance)
    torch.testing.assert_close(far._by_layers(x), near(shifted), **tolerance)
    torch.testing.assert_close(far.as_torch()(x), near(shifted), **tolerance)
    torch.testing.assert_close(torch.jit.script(far.as_torch())(x), near(shifted), **tolerance)
    derivatives = [(0,), (1, 1), (0, 1)]
    scale = max(1.0, *(d.abs().max().item() for d in near.jet(shifted, derivatives)))
    jets = zip(far.jet(x, derivatives), near.jet(shifted, derivatives), strict=True)
    for mine, theirs in jets:
        torch.testing.assert_close(mine / scale, theirs / scale, **tolerance)
    u, u_t, u_xx = far.double().jet(x.double(), derivatives[:2])
    year, position = x.double().T
    for coefficients in (None, torch.tensor([3.0], dtype=torch.float64)):
        heat = record_residual(
            lambda jet, x, c, given=coefficients: (
                jet[1, 0] - torch.sin(x[0]) * jet[2, 0] + (jet[0, 0] - x[1]) ** 2,
                jet[0, 0] if given is None else c[0] * jet[0, 0] * x[0],
            )
        )
        loss = far.jet_loss(x.double(), derivatives[:2], heat, coefficients)
        first = u_t[:, 0] - torch.sin(year) * u_xx[:, 0] + (u[:, 0] - position) ** 2
        second = u[:, 0] if coefficients is None else 3 * u[:, 0] * year
        torch.testing.assert_close(loss, first.square().mean() + second.square().mean())


def test_the_centre_follows_a_loaded_range_and_dtypes():
    far, near, x, shifted = far_and_near()
    other = MLP(2, [20, 20], 1, input_range=(-1.0, 1.0))
    other.load_state_dict(far.state_dict())
    assert torch.equal(other(x), far(x))
    torch.testing.assert_close(far.double()(x.double()), near(shifted), rtol=1e-12, atol=1e-12)
    gradient = torch.func.grad(lambda x: far(x).sum())(x.double())
    expected = torch.func.grad(lambda x: near(x).sum())(shifted)
    torch.testing.assert_close(gradient, expected)
    with pytest.raises(ValueError, match=r"float64"):
        far(x)  # float32 points for a float64 network


@pytest.mark.parametrize("input_range", RANGES)
@pytest.mark.parametrize("without", [(0,), (1,), (0, 1, 2)])
def test_layers_without_bias(without, input_range):
    network = MLP(3, [5, 4], 3, input_range=input_range).double()
    same = MLP(3, [5, 4], 3, input_range=input_range).double()
    for index in without:
        old = network.layers[index]
        new = torch.nn.Linear(old.in_features, old.out_features, bias=False).double()
        network.layers[index] = new
    with torch.no_grad():
        for one, other in zip(same.layers, network.layers, strict=True):
            one.weight.copy_(other.weight)
            one.bias.zero_()
            if other.bias is not None:
                one.bias.copy_(other.bias.normal_())
    x, asked = torch.rand(6, 3, dtype=torch.float64), [(0,), (1, 1), Laplacian(0, 2)]
    program = record_residual(lambda jet, x, c: jet[1, 0] + jet[2, 1] * jet[0, 2])
    for found, expected in (
        (network(x), same(x)),
        (network.jet(x, asked), same.jet(x, asked)),
        (network.jet_loss(x, asked, program), same.jet_loss(x, asked, program)),
        (network.divergence(x), same.divergence(x)),
    ):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    weights = [layer.weight for layer in network.layers]
    others = [layer.weight for layer in same.layers]
    torch.testing.assert_close(
        torch.autograd.grad(network.jet_loss(x, asked, program), weights),
        torch.autograd.grad(same.jet_loss(x, asked, program), others),
    )
    with pytest.raises(ValueError, match=r"MLP.jet_jacobian: layers: expected torch.nn.Linear"):
        network.jet_jacobian(x, asked)
