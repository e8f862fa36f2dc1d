from __future__ import annotations

import pytest
import torch


def nested_derivative(function, x, indices):
    """Derivative of every output by nested reverse mode, [N, O]; independent of pyneural."""
    x = x.detach().requires_grad_()
    value = function(x)
    for index in indices:
        columns = []
        for column in value.T:
            grad = torch.zeros_like(x)
            if column.requires_grad:
                found = torch.autograd.grad(column.sum(), x, create_graph=True, allow_unused=True)[
                    0
                ]
                grad = grad if found is None else found
            columns.append(grad[:, index])
        value = torch.stack(columns, 1)
    return value


@pytest.fixture
def nested():
    return nested_derivative


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)
