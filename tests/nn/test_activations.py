"""Activations that torch.nn does not have, and the names that are torch's."""

from __future__ import annotations

import pytest
import torch

from pyneural import nn


def test_maxout_takes_the_largest_of_each_group():
    z = torch.randn(5, 2, 12, dtype=torch.float64, requires_grad=True)
    y = nn.Maxout(3)(z)
    assert torch.equal(y, torch.stack([z[..., i::3] for i in range(3)]).amax(0))
    assert torch.autograd.gradcheck(nn.Maxout(3), (z,))
    y.sum().backward()
    assert (z.grad.unflatten(-1, (4, 3)).sum(-1) == 1).all()


def test_maxout_of_one_slope_and_its_opposite_is_the_absolute_value():
    # Two affine pieces make any convex function of two slopes (Goodfellow et al. 2013, fig. 1).
    x = torch.linspace(-2, 2, 9)[:, None]
    assert torch.equal(nn.Maxout(2)(torch.cat([x, -x], 1)), x.abs())


def test_sin():
    z = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.equal(nn.Sin()(z), torch.sin(z))


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="Maxout: pieces: expected at least 1, got 0"):
        nn.Maxout(0)
    with pytest.raises(ValueError, match=r"Maxout: input: expected a multiple of 3 .* \[2, 7\]"):
        nn.Maxout(3)(torch.zeros(2, 7))


def test_names_of_torch_are_there():
    assert nn.Softmax is torch.nn.Softmax
    assert nn.Module is torch.nn.Module
    assert nn.Linear is not torch.nn.Linear
    with pytest.raises(AttributeError, match="Lineal"):
        _ = nn.Lineal
