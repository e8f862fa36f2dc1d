"""Activation functions of one variable."""

from __future__ import annotations

import pytest
import torch

from pyneural.demos.activations import FORMULAS, function_of_one_variable, value_and_derivatives
from pyneural.ops.activations import VALUES, derivatives


@pytest.mark.parametrize("name", [name for name in FORMULAS if name in VALUES])
def test_derivatives_are_the_closed_forms(name):
    z = torch.linspace(-4, 4, 100, dtype=torch.float64)
    exact = derivatives(name, z, 1)
    torch.testing.assert_close(value_and_derivatives(name, z, 1), exact)


@pytest.mark.parametrize("name", FORMULAS)
def test_derivatives_are_those_of_finite_differences(name):
    z = torch.tensor([-3.1, -0.7, 0.4, 2.3], dtype=torch.float64)
    f, step = function_of_one_variable(name), 1e-4
    _, first, second = value_and_derivatives(name, z, 2)
    torch.testing.assert_close(first, (f(z + step) - f(z - step)) / (2 * step), atol=1e-7, rtol=0)
    found = (f(z + step) - 2 * f(z) + f(z - step)) / step**2
    torch.testing.assert_close(second, found, atol=1e-6, rtol=0)


def test_unknown_name_is_refused():
    with pytest.raises(ValueError, match="function_of_one_variable: name: expected one of linear"):
        function_of_one_variable("step")
