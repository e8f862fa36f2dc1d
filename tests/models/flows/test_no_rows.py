"""Batches without rows have no densities and no samples, in the shapes of torch."""

import pytest

from tests.models.test_generative_contract import every_model, made


@every_model
@pytest.mark.parametrize("context", [0, 2])
def test_no_rows_have_no_densities(make, context):
    model, c, x = made(make, 3, context)
    c = None if c is None else c[:0]
    density = model(c)
    assert density.log_prob(x[:0]).shape == (0,)
    assert density.log_prob(x.new_empty(5, 0, 3)).shape == (5, 0)
    samples, log_prob = density.rsample_and_log_prob((4,) if context else (4, 0))
    assert samples.shape == (4, 0, 3)
    assert log_prob.shape == (4, 0)
