"""Terms as sums of squares against dense Jacobians by autograd, and polynomials along paths."""

from __future__ import annotations

import pytest
import torch

from pyneural.training.least_squares import (
    AutogradTerm,
    ColumnsTerm,
    KernelTerm,
    autograd_term,
    columns_term,
    kernel_term,
    least_squares,
    parameter_map,
)
from tests.tolerances import FLOAT64, FLOAT64_GRADIENT, assert_close
from tests.training.least_squares import dense
from tests.training.least_squares.problems import FIELDS, FUSED, OTHERS

# A fourth derivative from a polynomial of degree 20 through rounded values.
PATH = (1e-7, 1e-6, 1e-5, 1e-4)


def check(model, kinds=None, batch=None):
    parameters = dense.trained(model)
    terms = least_squares(model, parameters, batch)
    for term in terms:
        losses = model.losses(batch)
        weight = model.term_weights.get(term.name, 1.0)
        loss = losses[term.name] * torch.as_tensor(weight).detach()
        values = dense.residuals(model, term.name, batch)
        jacobian = dense.jacobian(values, parameters)
        half = dense.gradient(loss, parameters) / 2
        found = term.gram()
        assert all(each.dtype == torch.float64 and not each.requires_grad for each in found)
        assert_close(found[0], loss, FLOAT64)
        assert_close(found[1], half, FLOAT64_GRADIENT)
        assert_close(found[2], jacobian @ jacobian.T, FLOAT64_GRADIENT)
        assert_close(term.loss(), loss, FLOAT64)
        assert_close(term.residuals(), values, FLOAT64)
        assert_close(term.jacobian(), jacobian, FLOAT64_GRADIENT)
        vector = torch.randn(len(values), dtype=torch.float64)
        assert_close(term.vjp(vector), jacobian @ vector, FLOAT64_GRADIENT)
        directions = torch.randn(4, len(half), dtype=torch.float64) / 3
        along = dense.path(
            lambda t=term: dense.residuals(model, t.name, batch), parameters, directions
        )
        taken = term.path(directions)
        for mine, theirs, limit in zip(taken, along, PATH, strict=True):
            assert_close(mine, theirs, limit)
        assert_close(term.path(directions[:1])[0], jacobian.T @ directions[0], FLOAT64_GRADIENT)
    if kinds is not None:
        assert {type(term) for term in terms} == kinds
    return terms


@pytest.mark.parametrize("name", FUSED)
def test_terms_of_a_kernel(name):
    check(FUSED[name](), {KernelTerm})


@pytest.mark.parametrize("name", FIELDS)
def test_terms_of_a_kernel_with_trained_columns(name):
    kinds = {ColumnsTerm} if name == "learned lift" else {ColumnsTerm, KernelTerm}
    check(FIELDS[name](), kinds)


@pytest.mark.parametrize("name", OTHERS)
def test_terms_of_others(name):
    terms = check(OTHERS[name]())
    assert any(type(term) is AutogradTerm for term in terms)


@pytest.mark.parametrize("name", ["mostly frozen", "low rank", "ring of a range", "field"])
def test_some_points_at_a_time(name, monkeypatch):
    make = (FUSED | FIELDS | OTHERS)[name]
    model = make()
    parameters = dense.trained(model)
    expected = [term.gram() for term in least_squares(model, parameters)]
    for module in (kernel_term, autograd_term, columns_term, parameter_map):
        monkeypatch.setattr(module, "_CHUNK", 200)
    for term, whole in zip(least_squares(model, parameters), expected, strict=True):
        for mine, theirs in zip(term.gram(), whole, strict=True):
            assert_close(mine, theirs, FLOAT64)
