"""Dampings beyond the rounding of J^T J."""

import pytest
import torch

from pyneural.training import LevenbergMarquardt, Trainer
from pyneural.training.distributed import ProcessGroup
from pyneural.training.solvers.cholesky_model import _Primal
from pyneural.training.solvers.refined_gram import RefinedGram
from tests.tolerances import assert_close
from tests.training.least_squares_problems import Linear

ROWS, COLUMNS = 60, 12


class Given:
    """Residuals r = M w - y at w = 0, as ``Residuals`` has them."""

    process_group = ProcessGroup()

    def __init__(self, m, y):
        self.m, self.y = m, y

    def gram(self):
        return self.y.square().sum()[None], -self.m.T @ self.y, self.m.T @ self.m

    def jacobian(self):
        return self.y.square().sum()[None], -self.y, self.m.T.contiguous()

    def count(self):
        return ROWS

    def transposed(self, vectors):
        return self.m.T @ torch.cat(list(vectors))


def graded(least):
    """A matrix with singular values from 1 down to the least, and a right side."""
    generator = torch.Generator().manual_seed(0)
    draw = {"generator": generator, "dtype": torch.float64}
    left = torch.linalg.qr(torch.randn(ROWS, COLUMNS, **draw))[0]
    right = torch.linalg.qr(torch.randn(COLUMNS, COLUMNS, **draw))[0]
    values = torch.logspace(0, torch.tensor(least).log10(), COLUMNS, dtype=torch.float64)
    return left * values @ right.T, torch.randn(ROWS, **draw)


def primal(given):
    """That of residuals, which may refine."""
    model = _Primal(given)
    model.refine()
    return model


def objective(m, y, damping, v):
    return float((m @ v - y).square().sum() + damping * v.square().sum())


@pytest.mark.parametrize("damping", [1e-6, 1e-18, 1e-22])
def test_steps_are_those_of_a_qr_factorisation(damping):
    """J^T J has lost what is smaller than 1e-8 of its singular values."""
    m, y = graded(1e-10)
    model = primal(Given(m, y))
    assert model.factor(damping)
    v = model.step(None)
    padded = torch.cat([m, damping**0.5 * torch.eye(COLUMNS, dtype=torch.float64)])
    least = torch.linalg.lstsq(padded, torch.cat([y, torch.zeros(COLUMNS, dtype=torch.float64)]))
    assert objective(m, y, damping, v) <= objective(m, y, damping, least.solution) * (1 + 1e-6)
    predicted = float(y.square().sum() - (m @ v - y).square().sum())
    assert model.reduction(v) == pytest.approx(predicted, rel=1e-6)
    assert_close(model.correction([-y]), v, 1e-6)


def test_is_not_needed_where_the_matrix_has_its_digits():
    m, y = graded(1e-3)
    model = primal(Given(m, y))
    assert model.factor(1e-8)
    assert model._refined is None


def test_is_not_used_unless_allowed():
    m, y = graded(1e-10)
    model = _Primal(Given(m, y))
    assert model.factor(1e-6)
    model.factor(1e-18)
    assert model._refined is None
    assert [model.refine(), model.refine()] == [True, False]
    assert not primal(Given(m, y)).refine()


def test_momentum():
    m, y = graded(1e-10)
    damping, momentum = 1e-18, torch.linspace(1, 2, COLUMNS, dtype=torch.float64)
    model = primal(Given(m, y))
    assert model.factor(damping)
    shifted = primal(Given(m, y - m @ momentum))
    assert shifted.factor(damping)
    found, wanted = model.step(momentum), momentum + shifted.step(None)
    assert_close(m @ found, m @ wanted, 1e-6)


def test_a_matrix_that_is_not_finite_has_none():
    m, y = graded(1e-10)
    m[0, 0] = torch.nan
    model = primal(Given(m, y))
    assert not model.factor(1e-6)
    assert RefinedGram.of(model.residuals, model.gram, 1e-6) is None


def test_with_too_little_memory_it_goes_on_without(monkeypatch):
    m, y = graded(1e-10)
    monkeypatch.setattr("pyneural.training.solvers.refined_gram.available_memory", lambda _: 1000)
    model, plain = primal(Given(m, y)), _Primal(Given(m, y))
    for damping in (1e-6, 1e-13, 1e-18):
        assert model.factor(damping) == plain.factor(damping)
    assert model.factor(1e-13)
    assert plain.factor(1e-13)
    assert torch.equal(model.step(None), plain.step(None))


def test_levenberg_marquardt_gets_to_the_bottom():
    """Of an ill-conditioned line of best fit, which J^T J alone does not reach."""
    m, y = graded(1e-9)
    y = m @ torch.linspace(1, 2, COLUMNS, dtype=torch.float64)
    model = Linear(m, y)
    phase = LevenbergMarquardt(60, tolerance_change=0, tolerance_grad=0)
    Trainer(model, [phase], progress=False).fit()
    assert_close(model.w, torch.linspace(1, 2, COLUMNS, dtype=torch.float64), 1e-4)
