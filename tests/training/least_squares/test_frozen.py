"""Gram matrices with any one parameter frozen are those of the Jacobian."""

from __future__ import annotations

import pytest
import torch

from pyneural import models, nn, pde
from pyneural.training.least_squares import least_squares
from tests.tolerances import FLOAT64, assert_close
from tests.training.least_squares import dense

BOX = pde.Box(t=(0, 2))


class Decay(pde.Equation):
    inputs, outputs, domain = "t", "u", BOX

    def __init__(self):
        super().__init__()
        self.rate = torch.nn.Parameter(torch.tensor(1.3, dtype=torch.float64))

    def residual(self, u):
        return u.t + self.rate * u


def decay(**options):
    network = nn.MLP(1, [12, 12], 1, **options).double()
    t = torch.linspace(0, 2, 9, dtype=torch.float64)[:, None]
    data = pde.Data(t, torch.exp(-1.5 * t), domain=BOX)
    return models.PINN(network, {"data": data}, equation=Decay(), domain=BOX, points=11)


@pytest.mark.parametrize("options", [{}, {"input_range": BOX.range}], ids=["plain", "range"])
@pytest.mark.parametrize("frozen", range(7))
def test_one_frozen_parameter(frozen, options):
    """A row that the kernel has alone and a column that it has not may lie at the same place."""
    model = decay(**options)
    parameters = list(model.parameters())
    assert len(parameters) == 7
    parameters[frozen].requires_grad_(False)
    for term in least_squares(model, dense.trained(model)):
        jacobian, gram = term.jacobian(), term.gram()[2]
        assert_close(gram, jacobian @ jacobian.T, FLOAT64)
