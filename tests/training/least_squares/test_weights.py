"""Weights of terms, equations and points are applied as roots, at their present values."""

from __future__ import annotations

import pytest
import torch

from pyneural.training.data.batches import Batch
from pyneural.training.least_squares import least_squares
from tests.tolerances import FLOAT64, FLOAT64_GRADIENT, assert_close
from tests.training.least_squares import dense
from tests.training.least_squares.problems import System, integral, number, periodic, pinn


def of_points(count):
    return torch.rand(count, dtype=torch.float64) + 0.1


WEIGHTS = {
    "numbers": lambda: pinn(weights={"initial": 3.0, "residual": 0.2}),
    "a schedule": lambda: pinn(weights={"initial": lambda step: 2.0 + step}),
    "learned": lambda: pinn(weights={"slope": number(2.5)}),
    "of points": lambda: pinn(weights={"initial": of_points(7), "residual": of_points(11)}),
    "learned, of points": lambda: pinn(
        weights={
            "slope": torch.nn.Parameter(of_points(4)),
            "residual": torch.nn.Parameter(of_points(11)),
        }
    ),
    "of equations": lambda: pinn(equation=System(), weights={"residual": (1.0, 5.0, number(2.0))}),
    "of both": lambda: pinn(equation=System(), weights={"residual": (1.0, of_points(11), 0.0)}),
    "of integrals": lambda: pinn(given=integral(), weights={"mass": of_points(3)}),
    "of pairs": lambda: pinn(given=periodic(), weights={"ring": of_points(5)}),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights(name):
    model = WEIGHTS[name]()
    parameters = dense.trained(model)
    for term in least_squares(model, parameters):
        given = model.term_weights.get(term.name, 1.0)
        weight = torch.as_tensor(given, dtype=torch.float64).detach()
        loss = model.losses()[term.name] * weight
        values = dense.residuals(model, term.name)
        jacobian = dense.jacobian(values, parameters)
        found = term.gram()
        assert_close(found[0], loss, FLOAT64)
        assert_close(found[1], dense.gradient(loss, parameters) / 2, FLOAT64_GRADIENT)
        assert_close(found[2], jacobian @ jacobian.T, FLOAT64_GRADIENT)
        assert_close(term.residuals(), values, FLOAT64)
        assert_close(term.jacobian(), jacobian, FLOAT64_GRADIENT)
        vector = torch.randn(len(values), dtype=torch.float64)
        assert_close(term.vjp(vector), jacobian @ vector, FLOAT64_GRADIENT)
        direction = torch.randn(1, len(jacobian), dtype=torch.float64)
        assert_close(term.path(direction), direction @ jacobian, FLOAT64_GRADIENT)


def test_a_term_of_weight_0_is_left_out():
    model = pinn(weights={"slope": 0.0})
    found = least_squares(model, dense.trained(model))
    assert [term.name for term in found] == ["initial", "residual"]


def test_a_batch_has_its_points():
    model = pinn(weights={"residual": of_points(11)})
    rows = torch.tensor([7, 2, 5])
    parameters, batch = dense.trained(model), Batch(rows, None, None, 3, 3 / 11)
    term = least_squares(model, parameters, batch)[-1]
    loss = model.losses(batch)["residual"]
    assert_close(term.gram()[0], loss, FLOAT64)
    assert_close(term.gram()[1], dense.gradient(loss, parameters) / 2, FLOAT64_GRADIENT)
    assert term.residuals().shape == (3,)


@pytest.mark.parametrize("weight", [1.0, (1.0, 0.5, 3.0)])
def test_importance_weights_of_points(weight):
    model = pinn(equation=System(), weights={"residual": weight})
    model.resample(adaptive=True)
    assert model.collocation_weights is not None
    parameters = dense.trained(model)
    term = least_squares(model, parameters)[-1]
    loss = model.losses()["residual"]
    assert_close(term.gram()[0], loss, FLOAT64)
    assert_close(term.gram()[1], dense.gradient(loss, parameters) / 2, FLOAT64_GRADIENT)
    assert_close(term.residuals().square().sum(), loss, FLOAT64)
