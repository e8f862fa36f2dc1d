"""The derivatives of activations in plain torch, against autograd."""

from __future__ import annotations

import pytest
import torch

from pyneural.ops import activations
from tests.ops.networks import KINKED, SMOOTH
from tests.tolerances import FLOAT64, FLOAT64_GRADIENT, assert_close


@pytest.mark.parametrize("activation", [*SMOOTH, *KINKED])
def test_derivatives_of_activations(activation):
    order = 4 if activation in SMOOTH else 1
    z = torch.linspace(-3, 3, 41, dtype=torch.float64).requires_grad_()
    exact = activations.VALUES[activation](z)
    found = activations.derivatives(activation, z.detach(), order)
    assert len(found) == order + 1
    assert_close(found[0], exact, FLOAT64)
    for derivative in found[1:]:
        (exact,) = torch.autograd.grad(exact.sum(), z, create_graph=True)
        assert_close(derivative, exact, FLOAT64_GRADIENT)
