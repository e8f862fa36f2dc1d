"""SparseNetwork and MatrixChain."""

from __future__ import annotations

import pytest
import torch

from pyneural.models import MatrixChain, SparseNetwork, best_affine


def test_sparse_network_counts_what_can_learn():
    torch.manual_seed(0)
    network = SparseNetwork([10, 20, 20, 3], 0.9)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == (20 + 20) + (40 + 20) + (60 + 3)
    assert all(not layer.mask.all() for layer in network.masked_layers())
    network(torch.randn(50, 10)).square().sum().backward()
    assert (network.last.weight.grad != 0).any(0).sum() > 10  # the last layer is dense


def test_one_generator_gives_one_connectivity():
    masks = [
        SparseNetwork([4, 8, 1], 0.5, generator=torch.Generator().manual_seed(seed)).sparse[0].mask
        for seed in (1, 1, 2)
    ]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_sparse_network_without_hidden_layer_is_refused():
    with pytest.raises(ValueError, match=r"widths: expected inputs, hidden, .* got \[3, 1\]"):
        SparseNetwork([3, 1], 0.5)


@pytest.mark.parametrize("widths", [[3, 1], [3, 5, 2, 1], [4, 7, 7, 7, 2]])
def test_chain_without_activation_collapses(widths):
    torch.manual_seed(0)
    chain, x = MatrixChain(widths).double(), torch.randn(20, widths[0], dtype=torch.float64)
    weight, bias = chain.collapsed()
    torch.testing.assert_close(chain(x), x @ weight + bias)
    torch.testing.assert_close(chain(x), best_affine(x, chain(x)))
    product = torch.linalg.multi_dot(chain.matrices()) if len(widths) > 2 else chain.matrices()[0]
    torch.testing.assert_close(weight, product)


def test_chain_with_activation_does_not_collapse():
    torch.manual_seed(0)
    chain, x = MatrixChain([3, 5, 2, 1], "tanh").double(), torch.randn(500, 3).double()
    for parameter in chain.parameters():
        torch.nn.init.normal_(parameter)
    y = chain(x)
    assert (y - best_affine(x, y)).norm() / (y - y.mean()).norm() > 0.2
