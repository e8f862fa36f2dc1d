"""The transformer that reads a series in patches."""

from __future__ import annotations

import pytest
import torch

from pyneural.models import PatchTransformer


def test_reads_every_step_and_its_place():
    torch.manual_seed(0)
    network = PatchTransformer(2, 4, 3, d_model=16, heads=2).double()
    x = torch.randn(5, 22, 2, dtype=torch.float64)  # no multiple of a patch
    y = network(x)
    assert y.shape == (5, 3)
    torch.testing.assert_close(network(x[1:2]), y[1:2])
    for step in range(22):
        other = x.clone()
        other[:, step] += 1
        assert not torch.allclose(network(other), y)
    swapped = torch.cat([x[:, :2], x[:, 6:10], x[:, 2:6], x[:, 10:]], 1)  # two whole patches
    assert not torch.allclose(network(swapped), y)


def test_missing_steps_are_zeros_before():
    torch.manual_seed(0)
    network = PatchTransformer(2, 4, 1, d_model=16, heads=2)
    x = torch.randn(3, 6, 2)
    torch.testing.assert_close(network(torch.cat([torch.zeros(3, 2, 2), x], 1)), network(x))


def test_patch_of_nothing():
    with pytest.raises(ValueError, match="patch: expected >= 1, got 0"):
        PatchTransformer(2, 0, 1)
