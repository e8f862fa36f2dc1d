"""torchao's quantisation: our layers become what torch's become, and give the same numbers.

To run it: ``pip install torchao``. It is no part of the extra "dev", as its import complains of
its CUDA libraries where there is no GPU.
"""

from __future__ import annotations

import copy

import pytest
import torch

from pyneural import nn, ops

torchao = pytest.importorskip("torchao.quantization", exc_type=ImportError)

pytestmark = pytest.mark.filterwarnings("ignore")

X = torch.randn(5, 2, 32, generator=torch.Generator().manual_seed(1))
TOLERANCES = {
    torchao.Int8WeightOnlyConfig: {"rtol": 1e-5, "atol": 1e-5},
    # Activations that differ by rounding may come to lie on both sides of one of their 127 steps.
    torchao.Int8DynamicActivationInt8WeightConfig: {"rtol": 0, "atol": 0.01},
}
CONFIGS = tuple(TOLERANCES)


class Called(torch.nn.Module):
    """A layer called with copies of one input; of several results the first."""

    def __init__(self, inner, inputs=1):
        super().__init__()
        self.inner = inner
        self.inputs = inputs

    def forward(self, x):
        result = self.inner(*[x] * self.inputs)
        return result if isinstance(result, torch.Tensor) else result[0]


# name: model of a package, how many of its weights become int8
MODELS = {
    "Linear": (lambda nn: nn.Linear(32, 16), 1),
    "Sequential": (lambda nn: nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 16)), 2),
    "no bias": (lambda nn: nn.Sequential(nn.Linear(32, 64, bias=False), nn.Linear(64, 16)), 2),
    "attention": (lambda nn: Called(nn.MultiheadAttention(32, 4), 3), 0),
    "encoder layer": (lambda nn: nn.TransformerEncoderLayer(32, 4, 64, 0.0), 2),
    "encoder": (
        lambda nn: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(32, 4, 64, 0.0, "gelu"), 2, enable_nested_tensor=False
        ),
        4,
    ),
    "decoder layer": (lambda nn: Called(nn.TransformerDecoderLayer(32, 4, 64, 0.0), 2), 2),
    "LSTM": (lambda nn: nn.Sequential(Called(nn.LSTM(32, 32)), nn.Linear(32, 16)), 1),
    "GRU": (lambda nn: Called(nn.GRU(32, 16)), 0),
}


def quantised(make, config, package=nn):
    torch.manual_seed(0)
    model = make(package).eval()
    before = model(X)
    torchao.quantize_(model, config())
    return model, before.detach()


def int8_weights(model):
    return sum(type(p).__name__ == "Int8Tensor" for p in model.parameters())


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("name", MODELS)
def test_as_torchs(name, config):
    make, count = MODELS[name]
    model, before = quantised(make, config)
    twin, _ = quantised(make, config, torch.nn)
    assert int8_weights(model) == int8_weights(twin) == count
    found, expected = model(X), twin(X)
    torch.testing.assert_close(found, expected, **TOLERANCES[config])
    error = (found - before).abs().max().item()
    assert (1e-4 if count else 0) <= error < 0.05
    assert torch.equal(copy.deepcopy(model)(X), found)


def test_gradients_and_programs_of_a_quantised_model():
    make, _ = MODELS["Sequential"]
    gradients = []
    for package in (torch.nn, nn):
        model, _ = quantised(make, CONFIGS[0], package)
        x = X.clone().requires_grad_()
        gradients.append(torch.autograd.grad(model(x).square().sum(), x)[0])
        program = torch.export.export(model, (X,))
        torch.testing.assert_close(program.module()(X), model(X))
        compiled = torch.compile(model, backend="aot_eager")
        torch.testing.assert_close(compiled(X), model(X))
    torch.testing.assert_close(gradients[1], gradients[0])
    assert gradients[0].abs().max() > 0.01


def only_torchs(model, x):
    """What ``nn.Linear`` with an activation and ``MLP`` compute, in torch's functions."""
    for layer in model.layers[:-1]:
        x = torch.tanh(torch.nn.functional.linear(x, layer.weight, layer.bias))
    return torch.nn.functional.linear(x, model.layers[-1].weight, model.layers[-1].bias)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("input_range", [None, (-2.0, 4.0)])
def test_mlp(config, input_range):
    network, before = quantised(
        lambda nn: nn.MLP(32, [32, 32], 16, input_range=input_range), config
    )
    assert int8_weights(network) == 3
    x = X if input_range is None else (X - 1) / 3
    torch.testing.assert_close(network(X), only_torchs(network, x), **TOLERANCES[config])
    torch.testing.assert_close(network(X), before, rtol=0, atol=0.1)
    assert not torch.equal(network(X), before)


def test_linear_with_an_activation():
    layer, before = quantised(lambda nn: nn.Linear(32, 16, activation="tanh"), CONFIGS[0])
    linear = torch.nn.functional.linear(X, layer.weight, layer.bias)
    torch.testing.assert_close(layer(X), torch.tanh(linear))
    assert int8_weights(layer) == 1
    assert not torch.equal(layer(X), before)


def test_jets_of_a_quantised_network_are_refused():
    network, _ = quantised(lambda nn: nn.MLP(32, [32], 4), CONFIGS[0])
    expected = r"layers\[0\]\.weight: expected a plain tensor, got Int8Tensor; take jets"
    with pytest.raises(ValueError, match=rf"MLP\.jet: {expected}"):
        network.jet(X[0], [(0,)])
    program = ops.record_residual(lambda jet, x, c: jet[1, 0])
    with pytest.raises(ValueError, match=rf"MLP\.jet_loss: {expected}"):
        network.jet_loss(X[0], [(0,)], program)


def test_a_masked_layer_is_no_linear_layer_to_torchao():
    layer = nn.MaskedLinear(nn.random_mask(16, 32, 0.5))
    model, before = quantised(lambda nn: nn.Sequential(layer), CONFIGS[0])
    assert int8_weights(model) == 0
    assert torch.equal(model(X), before)


def test_four_bits_or_the_error_that_torchs_layers_raise():
    found = []
    for package in (torch.nn, nn):
        model = package.Sequential(package.Linear(32, 16)).eval()
        try:
            torchao.quantize_(model, torchao.Int4WeightOnlyConfig(group_size=32))
            found.append(type(model[0].weight))
        except (ImportError, RuntimeError) as error:
            found.append(str(error))
    assert found[0] == found[1]
