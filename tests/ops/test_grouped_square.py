"""Mean squares of sums over groups: sizes and targets that fit."""

import pytest
import torch

from pyneural.ops import GroupedSquare, MeanSquare, record_residual


def square(points):
    x, weights, biases = torch.ones(points, 1), [torch.ones(1, 1)], [torch.zeros(1)]
    program = record_residual(lambda jet, x, c: jet[0, 0])
    return MeanSquare(x, weights, biases, "tanh", [], program)


def test_groups_and_target():
    found = GroupedSquare(square(6), 2, torch.tensor([[1.0, 2.0, 3.0]]))
    assert found.residuals().tolist() == [[1.0, 0.0, -1.0]]
    assert found.chunk(1, 3).residuals().tolist() == [[0.0, -1.0]]
    assert float(found.loss()) == pytest.approx(2 / 3)


@pytest.mark.parametrize("size", [0, 2, 2.5, 6])
def test_sizes_that_do_not_fit(size):
    with pytest.raises(ValueError, match=r"GroupedSquare: size: expected a divisor .*, 5, got"):
        GroupedSquare(square(5), size)


@pytest.mark.parametrize("shape", [(1,), (3,), (1, 1), (3, 1), (2, 3)])
def test_targets_that_do_not_fit(shape):
    with pytest.raises(ValueError, match=r"GroupedSquare: target: expected \[1, 3\], got"):
        GroupedSquare(square(6), 2, torch.zeros(shape))
