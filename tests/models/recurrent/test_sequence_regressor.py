"""The recurrent network with a readout of its end, and the adding problem."""

from __future__ import annotations

import pytest
import torch

from pyneural.data import adding_problem
from pyneural.models import SequenceRegressor
from pyneural.models.recurrent.sequence_regressor import CELLS


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_reads_the_ends_of_the_last_layer(cell, layers, bidirectional):
    torch.manual_seed(0)
    options = {"layers": layers, "bidirectional": bidirectional}
    network = SequenceRegressor(cell, 2, 5, 3, **options).double()
    x = torch.randn(4, 9, 2, dtype=torch.float64)
    y, _ = network.recurrent(x)  # the last step forward, the first one backward
    end = torch.cat([y[:, -1, :5], y[:, 0, 5:]], -1)
    torch.testing.assert_close(network(x), network.readout(end))
    torch.testing.assert_close(network(x)[1:2], network(x[1:2]))


def test_unknown_cell():
    with pytest.raises(ValueError, match="cell: expected one of rnn, lstm, gru, got 'elman'"):
        SequenceRegressor("elman", 2, 5, 1)


def test_adding_problem():
    x, y = adding_problem(500, 20, seed=3)
    marks = x[..., 1]
    assert torch.equal(marks[:, :10].sum(1), torch.ones(500))
    assert torch.equal(marks[:, 10:].sum(1), torch.ones(500))
    torch.testing.assert_close((x[..., 0] * marks).sum(1, keepdim=True), y)
    assert abs(float(y.var()) - 1 / 6) < 0.03
    assert torch.equal(adding_problem(500, 20, seed=3)[0], x)
    assert not torch.equal(adding_problem(500, 20, seed=4)[0], x)
    with pytest.raises(ValueError, match="steps: expected >= 2, got 1"):
        adding_problem(5, 1)
