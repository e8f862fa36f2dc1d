"""Damped least squares by products alone, and on batches, equal those by matrices."""

import pytest
import torch

from pyneural.training import (
    SPRING,
    GaussNewtonCG,
    LevenbergMarquardt,
    TensorBatches,
    Trainable,
    Trainer,
    callbacks,
)
from pyneural.training.distributed import SINGLE_PROCESS
from pyneural.training.least_squares import least_squares
from pyneural.training.solvers import cholesky_model as cholesky_model_module
from pyneural.training.solvers import damping_search
from pyneural.training.solvers.base import Task
from pyneural.training.solvers.cholesky_model import cholesky_model
from pyneural.training.solvers.krylov_model import KrylovModel, Nystrom, conjugate_gradients
from pyneural.training.solvers.residuals import Residuals
from tests.training.least_squares_problems import Exponentials, flat
from tests.training.problems import small_pinn

EPS = torch.finfo(torch.float64).eps


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def semidefinite(size, values, seed=0):
    """A matrix with some eigenvalues, and their vectors."""
    q = torch.linalg.qr(normal(size, size, seed=seed)).Q
    return q @ torch.diag(values) @ q.T, q


@pytest.mark.parametrize("rank", [1, 5, 30, 99])
def test_nystrom_of_a_matrix_of_low_rank_is_the_matrix(rank):
    """With as many columns as the matrix has rank, it is exact."""
    matrix, _ = semidefinite(30, torch.cat([torch.logspace(0, -4, 5).double(), torch.zeros(25)]))
    made = Nystrom(lambda v: matrix @ v, 30, rank, matrix, seed=3, rounding=EPS)
    found = made.vectors @ torch.diag(made.values) @ made.vectors.T
    error = float(torch.linalg.matrix_norm(matrix - found, 2))
    assert error < (1e-9 if rank >= 5 else 1.01)
    assert (made.values >= 0).all()
    columns = min(rank, 30)
    eye = torch.eye(columns, dtype=torch.float64)
    torch.testing.assert_close(made.vectors.T @ made.vectors, eye, rtol=0, atol=1e-10)


@pytest.mark.parametrize("damping", [1e-6, 1e-2])
def test_preconditioner_takes_out_the_large_eigenvalues(damping):
    matrix, _ = semidefinite(60, torch.logspace(2, -8, 60).double())
    made = Nystrom(lambda v: matrix @ v, 60, 25, matrix, seed=1, rounding=EPS)
    eye = torch.eye(60, dtype=torch.float64)
    columns = [made.precondition(column, damping) for column in matrix + damping * eye]
    values = torch.linalg.eigvals(torch.stack(columns, 1)).real
    before = torch.linalg.cond(matrix + damping * eye)
    assert values.min() > 0
    assert values.max() / values.min() < 10 * (float(made.values[-1]) + damping) / damping
    assert values.max() / values.min() < before / 50

    right = normal(60, seed=2)
    product = lambda v: matrix @ v + damping * v  # noqa: E731
    _, plain = conjugate_gradients(product, right, lambda v: v, 1e-8, 1000)
    solve = lambda v: made.precondition(v, damping)  # noqa: E731
    x, count = conjugate_gradients(product, right, solve, 1e-8, 1000)
    assert (product(x) - right).norm() <= 2e-8 * right.norm()
    assert count < plain / 2


def test_a_matrix_that_is_not_finite_has_no_preconditioner():
    made = Nystrom(lambda v: v * float("nan"), 5, 2, normal(5), 0, EPS)
    assert torch.equal(made.precondition(torch.ones(5), 1.0), torch.ones(5))
    assert made.largest != made.largest


def test_nystrom_raises_its_shift_above_the_rounding_of_the_products():
    """Products in float32 of a singular matrix, said to be exact."""
    matrix, _ = semidefinite(30, torch.cat([torch.logspace(0, -3, 5), torch.zeros(25)]).double())
    single = matrix.float()
    made = Nystrom(lambda v: (single @ v.float()).double(), 30, 20, matrix, 0, EPS)
    assert made.largest == pytest.approx(1.0, rel=1e-3)
    found = made.vectors @ torch.diag(made.values) @ made.vectors.T
    assert float(torch.linalg.matrix_norm(matrix - found, 2)) < 1e-3


def test_a_network_in_float32_is_trained():
    losses = []
    for dtype in (torch.float64, torch.float32):
        pinn = small_pinn(adaptive=False, points=20, dtype=dtype)
        report = pinn.fit(GaussNewtonCG(4, rank=40), progress=False)
        assert report.phases[0].reason == "all steps done"
        losses.append(report.phases[0].loss)
    assert losses[1] == pytest.approx(losses[0], rel=0.1)


@pytest.mark.parametrize("kind", [LevenbergMarquardt, GaussNewtonCG])
def test_residuals_that_depend_on_no_parameter(kind):
    model = Exponentials(20, 8)
    model.m.zero_()
    solver = kind(3).begin(Task(model))
    solver.step(None)
    assert solver.reason == "the Jacobian is 0: no residual depends on the parameters"


def test_conjugate_gradients_end_in_as_many_products_as_there_are_eigenvalues():
    matrix, _ = semidefinite(20, torch.tensor([1.0, 3.0, 7.0, 20.0]).double().repeat(5))
    right = normal(20)
    x, count = conjugate_gradients(lambda v: matrix @ v, right, lambda v: v, 1e-10, 100)
    assert count == 4
    torch.testing.assert_close(x, torch.linalg.solve(matrix, right))


def test_conjugate_gradients_end_at_a_direction_of_negative_curvature():
    matrix = torch.diag(torch.tensor([1.0, 2.0, -5.0]).double())
    x, count = conjugate_gradients(lambda v: matrix @ v, normal(3), lambda v: v, 1e-10, 100)
    assert count <= 3
    assert x.isfinite().all()
    x, count = conjugate_gradients(lambda v: v * float("nan"), normal(3), lambda v: v, 1e-10, 100)
    assert count == 1
    assert x.tolist() == [0.0] * 3


@pytest.mark.parametrize("shape", [(12, 6), (6, 12)])
def test_linear_model_is_that_by_matrices(shape):
    model = Exponentials(*shape, seed=4)
    residuals = Residuals(least_squares(model, list(model.parameters())), SINGLE_PROCESS, 1.0)
    exact = cholesky_model(residuals, shape[1], torch.device("cpu"), "here", "")
    made = KrylovModel(residuals, shape[1], 4, 1e-13, 500, 0, EPS)
    momentum, right = normal(shape[1], seed=1), [normal(shape[0], seed=2)]
    for damping in (1e-3, 1.0):
        assert exact.factor(damping)
        assert made.factor(damping)
        for drawn in (None, momentum):
            step = exact.step(drawn)
            torch.testing.assert_close(made.step(drawn), step, rtol=1e-8, atol=1e-10)
            assert made.reduction(step) == pytest.approx(exact.reduction(step), rel=1e-9)
        torch.testing.assert_close(
            made.correction(right), exact.correction(right), rtol=1e-8, atol=1e-10
        )
    gram = model.jacobian().T @ model.jacobian()
    assert made.largest() <= float(torch.linalg.eigvalsh(gram)[-1]) * (1 + 1e-9)
    torch.testing.assert_close(made.losses, exact.losses)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_steps_are_those_of_levenberg_marquardt(order):
    one, other = Exponentials(20, 8, seed=2), Exponentials(20, 8, seed=2)
    first = LevenbergMarquardt(6, order=order).begin(Task(one))
    second = GaussNewtonCG(6, order=order, rank=3, accuracy=1e-13).begin(Task(other))
    for _ in range(6):
        first.step(None)
        second.step(None)
        torch.testing.assert_close(flat(other), flat(one), rtol=1e-7, atol=1e-9)
    assert second.damping == first.damping < 1e-3


def test_inexact_steps_reach_the_same_minimum():
    one, other = Exponentials(40, 12, seed=1), Exponentials(40, 12, seed=1)
    report = Trainer(one, [LevenbergMarquardt(50)], progress=False).fit()
    inexact = Trainer(other, [GaussNewtonCG(50, rank=4)], progress=False).fit()
    assert inexact.reason == report.reason == "all steps done"
    assert inexact.phases[0].reason.startswith("converged")
    assert inexact.phases[0].loss == pytest.approx(report.phases[0].loss, rel=1e-9)


def test_a_network_by_products_falls_as_by_matrices():
    losses = []
    for phase in (LevenbergMarquardt(1, order=1), GaussNewtonCG(1, order=1, rank=10)):
        report = small_pinn(adaptive=False, points=20).fit(phase, progress=False)
        losses.append(report.phases[0].loss)
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)


class Pairs(Trainable):
    """r = (M w - y) / sqrt(N) of the rows of a batch."""

    def __init__(self, size=9):
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros(size, dtype=torch.float64))

    def losses(self, batch):
        return {"line": (batch.x @ self.w - batch.y).square().mean()}

    def least_squares(self, batch=None):
        return {"line": lambda: (batch.x @ self.w - batch.y) / len(batch.y) ** 0.5}


def rows(size=9):
    m = normal(24, size, seed=7)
    return m, m @ torch.arange(1.0, size + 1).double()


def test_spring_steps_are_those_computed_by_hand():
    model, (x, y) = Pairs(), rows()
    phase = SPRING(6, lr=0.5, damping=0.01, momentum=0.9, max_norm=2.0, final=0.25)
    solver, phi = phase.begin(Task(model)), torch.zeros(9, dtype=torch.float64)
    longest = []
    for number, batch in enumerate(TensorBatches(x, y, batch_size=4, seed=1).epoch(0)):
        j, start = batch.x / 2, flat(model)
        r = (batch.x @ start - batch.y) / 2
        inverse = torch.linalg.inv(j.T @ j + 0.01 * torch.eye(9, dtype=torch.float64))
        phi = inverse @ (0.01 * 0.9 * phi - j.T @ r)
        rate = 0.5 * 0.25 ** (number / 6)
        longest.append(float(rate * phi.norm()) > 2)
        values = solver.step(batch)
        assert values == pytest.approx([float(r.square().sum())])
        step = min(rate, 2.0 / float(phi.norm())) * phi
        torch.testing.assert_close(flat(model) - start, step, rtol=1e-9, atol=1e-11)
    assert len(set(longest)) == 2, "the largest step was never tested, or always"


def test_spring_finds_what_all_batches_agree_in():
    """And with momentum sooner."""
    (x, y), errors = rows(), []
    for momentum in (0.0, 0.99):
        model, batches = Pairs(), TensorBatches(x, y, batch_size=4)
        phase = SPRING(300, lr=0.1, momentum=momentum, max_norm=1e9, final=1.0)
        Trainer(model, [phase], batches=batches, progress=False).fit()
        errors.append(float((flat(model) - torch.arange(1.0, 10)).abs().max()))
    assert errors[1] < 1e-5
    assert errors[1] < errors[0] / 100


def test_spring_takes_batches_of_a_pinn():
    pinn = small_pinn(adaptive=False)
    before = sum(float(loss) for loss in pinn.losses().values())
    report = pinn.fit(SPRING(60, lr=0.3, max_norm=0.3), batch_size=15, progress=False)
    assert report.steps == 60
    assert sum(float(loss) for loss in pinn.losses().values()) < before / 2


def test_spring_names_itself_and_its_matrix(monkeypatch):
    model = Exponentials(20, 8)
    solver = SPRING(9, damping=1e-300).begin(Task(model))
    model.m[:, 1:] = model.m[:, :1]  # J^T J is singular
    model.m[:, 0] *= 1e-3
    factor = torch.linalg.cholesky_ex
    failing = lambda matrix: (factor(matrix)[0], torch.tensor(1))  # noqa: E731
    monkeypatch.setattr(torch.linalg, "cholesky_ex", failing)
    solver.step(None)
    assert solver.reason == "J^T J + 1e-300 I is not positive definite to rounding: raise damping"
    model.m[:, 0] = float("inf")
    solver.step(None)
    assert solver.reason == "J^T J is not finite"
    monkeypatch.setattr(cholesky_model_module, "available_memory", lambda device: 1)
    with pytest.raises(MemoryError, match=r"^SPRING: parameters: .*give smaller batches"):
        solver.step(None)


PHASES = {
    "GaussNewtonCG": lambda steps: GaussNewtonCG(steps, order=1, rank=2, products=3),
    "SPRING": lambda steps: SPRING(steps, final=1.0),
}


class Jump(callbacks.Callback):
    """Moves the points between two steps."""

    def on_train_batch_end(self):
        self.run.model.resample(adaptive=False)
        self.run.objective_changed()


@pytest.mark.parametrize("name", PHASES)
def test_resumed_equals_uninterrupted_bit_by_bit(name, tmp_path):
    def trainer(path, steps):
        return Trainer(small_pinn(points=20), [PHASES[name](steps)], callbacks=[Jump()],
                       checkpoint=path, progress=False)  # fmt: skip

    whole = trainer(tmp_path / "whole.safetensors", 4)
    whole.fit()
    trainer(tmp_path / "part.safetensors", 2).fit()
    rest = trainer(tmp_path / "part.safetensors", 4)
    assert rest.resume() == 2
    rest.fit()
    pairs = zip(whole.model.state_dict().values(), rest.model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("name", PHASES)
def test_frozen_parameters_and_float32(name):
    model = Exponentials(20, 8, seed=2, dtype=torch.float32)
    model.a.requires_grad_(False)
    before = model.a.clone(), float(sum(model.losses().values()))
    solver = PHASES[name](9).begin(Task(model))
    for _ in range(5):
        solver.step(None)
    assert torch.equal(model.a, before[0])
    assert model.b.dtype == torch.float32
    assert float(sum(model.losses().values())) < before[1]


def test_trials_that_are_not_finite_are_refused(monkeypatch):
    model = Exponentials(20, 8, seed=2)
    right, left = Residuals.losses, [1]

    def losses(self):
        left[0] -= 1
        return right(self) * (float("nan") if left[0] == -1 else 1.0)

    monkeypatch.setattr(damping_search, "_TRIES", 1)
    monkeypatch.setattr(Residuals, "losses", losses)
    solver = GaussNewtonCG(3).begin(Task(model))
    solver.step(None)
    assert solver.damping == pytest.approx(3e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussNewtonCG(3, rank=0), r"GaussNewtonCG: rank: expected a whole number >= 1"),
        (lambda: GaussNewtonCG(3, accuracy=1.0), r"accuracy: expected a number in \(0, 1\)"),
        (lambda: GaussNewtonCG(3, products=1.5), r"products: expected a whole number"),
        (lambda: GaussNewtonCG(3, order=5), r"GaussNewtonCG: order: .* got 5"),
        (lambda: SPRING(3, lr=0.0), r"SPRING: lr: expected a number > 0"),
        (lambda: SPRING(3, momentum=1.0), r"SPRING: momentum: expected a number in \[0, 1\)"),
        (lambda: SPRING(3, max_norm=float("inf")), r"SPRING: max_norm: .* got inf"),
    ],
)
def test_bad_options(make, message):
    with pytest.raises(ValueError, match=message):
        make()
