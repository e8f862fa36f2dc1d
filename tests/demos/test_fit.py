import pytest
import torch

from pyneural.demos._fit import one_cycle
from pyneural.training import Model


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 11, 20, 50])
def test_one_cycle_of_any_number_of_batches(steps):
    model = Model(torch.nn.Linear(1, 1))
    model.compile(lambda parameters: torch.optim.SGD(parameters, lr=1.0), "mse")
    rates = []
    cycle = one_cycle(0.5, steps)
    before = cycle.on_train_batch_end

    def noted():
        rates.append(cycle.scheduler.get_last_lr()[0])
        before()

    cycle.on_train_batch_end = noted
    x = torch.ones(1, 1)
    model.fit(x, x, 1, steps, verbose=0, callbacks=[cycle])
    assert len(rates) == steps
    assert max(rates) <= 0.5
    assert max(rates) > 0.4 or steps < 4
    highest = rates.index(max(rates))
    assert rates == sorted(rates[:highest]) + sorted(rates[highest:], reverse=True)
    assert highest <= max(steps / 10, 0)
