"""MaskedLinear: absent edges carry nothing, learn nothing and are not counted."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from pyneural import nn


@pytest.fixture
def layer():
    torch.manual_seed(0)
    mask = nn.random_mask(6, 10, sparsity=0.7, generator=torch.Generator().manual_seed(0))
    return nn.MaskedLinear(mask, activation="tanh", dtype=torch.float64)


def test_value_and_gradients_are_those_of_the_masked_matrix(layer):
    x = torch.randn(4, 3, 10, dtype=torch.float64, requires_grad=True)
    inputs = x, *layer.parameters()
    exact = torch.tanh(x @ layer.weight.T + layer.bias)
    torch.testing.assert_close(layer(x), exact)
    found = torch.autograd.grad(layer(x).square().sum(), inputs)
    torch.testing.assert_close(found, torch.autograd.grad(exact.square().sum(), inputs))
    assert torch.equal(layer.weight != 0, layer.mask)


def test_training_leaves_absent_edges_at_zero(layer):
    mask = layer.mask
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        layer(torch.randn(8, 10, dtype=torch.float64)).square().sum().backward()
        optimizer.step()
    assert torch.equal(layer.weight != 0, mask)


@pytest.mark.parametrize("bias", [True, False])
def test_count_is_of_edges_and_biases(bias):
    layer = nn.MaskedLinear(nn.random_mask(100, 50, sparsity=0.9), bias)
    assert sum(parameter.numel() for parameter in layer.parameters()) == 500 + 100 * bias


def test_initial_weights_keep_the_outputs_variance():
    torch.manual_seed(0)
    dense, x = nn.Linear(1000, 200, bias=False), torch.randn(50, 1000)
    sparse = nn.MaskedLinear(nn.random_mask(200, 1000, 0.9), bias=False)
    assert sparse(x).std().item() == pytest.approx(dense(x).std().item(), rel=0.05)
    before = sparse.values.clone()
    sparse.reset_parameters()
    assert not torch.equal(sparse.values, before)


def test_the_sparsity_pattern_moves_with_the_state(layer):
    other = nn.MaskedLinear(layer.mask.flip(0), activation="tanh", dtype=torch.float64)
    x = torch.randn(3, 10, dtype=torch.float64)
    assert not torch.equal(other(x), layer(x))
    other.load_state_dict(layer.state_dict())
    for same in (other, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(same(x), layer(x))
    assert repr(layer).endswith("edges=18, bias=True, activation='tanh')")


@pytest.mark.parametrize("sparsity", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("bias", [True, False])
def test_from_config_has_the_shapes_of_the_state(sparsity, bias):
    layer = nn.MaskedLinear(nn.random_mask(4, 5, sparsity), bias, activation="tanh")
    again = nn.MaskedLinear.from_config(layer.get_config())
    x = torch.rand(3, 5)
    assert again(x).shape == (3, 4)  # a layer of its own, whose edges are valid
    again.load_state_dict(layer.state_dict())
    assert torch.equal(again(x), layer(x))
    with torch.device("meta"):
        planned = nn.MaskedLinear.from_config(layer.get_config())
    for name, value in layer.state_dict().items():
        found = planned.state_dict()[name]
        assert (found.shape, found.dtype, found.is_meta) == (value.shape, value.dtype, True)


@pytest.mark.parametrize("edges", [-1, 21])
def test_from_config_with_more_edges_than_places(edges):
    config = nn.MaskedLinear(nn.random_mask(4, 5, 0.5)).get_config() | {"edges": edges}
    with pytest.raises(ValueError, match=rf"edges: expected 0 to 4 x 5, got {edges}"):
        nn.MaskedLinear.from_config(config)


def test_compiles_in_one_graph_and_takes_other_parameters(layer):
    x = torch.randn(3, 10, dtype=torch.float64)
    torch.compiler.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), layer(x))
    doubled = {name: 2 * value for name, value in layer.named_parameters()}
    found = torch.func.functional_call(layer, doubled, x)
    torch.testing.assert_close(found, torch.tanh(2 * (x @ layer.weight.T + layer.bias)))


@pytest.mark.parametrize("mask", [torch.ones(3, 4), torch.ones(3, dtype=torch.bool)])
def test_bad_masks_are_refused(mask):
    with pytest.raises(ValueError, match=r"mask: expected .outputs, inputs. of torch\.bool, got"):
        nn.MaskedLinear(mask)


def test_other_bad_arguments_are_refused(layer):
    with pytest.raises(ValueError, match=r"random_mask: sparsity: .* got 90"):
        nn.random_mask(3, 4, 90)
    with pytest.raises(ValueError, match=r"MaskedLinear: activation: expected one of .* 'swish'"):
        nn.MaskedLinear(layer.mask, activation="swish")
    with pytest.raises(ValueError, match=r"MaskedLinear: input: expected 10 features, got .*12"):
        layer(torch.ones(2, 12, dtype=torch.float64))


class Gated(nn.MaskedLinear):
    """One with a parameter more."""

    def __init__(self, mask, **options):
        super().__init__(mask, **options)
        self.gate = torch.nn.Parameter(torch.ones(()))

    def forward(self, input):
        return self.gate * super().forward(input)


def test_a_subclass_from_its_config_is_whole():
    layer = Gated(nn.random_mask(3, 4, 0.5), activation="relu")
    again = Gated.from_config(layer.get_config())
    again.load_state_dict(layer.state_dict())
    x = torch.randn(2, 4)
    assert torch.equal(again(x), layer(x))
