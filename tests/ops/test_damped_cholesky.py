"""ops.damped_cholesky and its solution against torch.linalg, and all else."""

import pytest
import torch

from pyneural import ops
from pyneural.ops import reference
from tests.tolerances import FLOAT64, assert_close

SIZES = [1, 2, 31, 32, 33, 64, 97, 639, 640, 641, 700]


def definite(n, seed=0):
    """A random matrix [n, n] whose condition is moderate, and a vector [n]."""
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(n, n + 10, generator=generator, dtype=torch.float64)
    return a @ a.T / n, torch.randn(n, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("n", SIZES)
def test_factor_and_solution(n):
    matrix, right = definite(n)
    damped = matrix + 0.3 * torch.eye(n, dtype=torch.float64)
    factor, is_definite = ops.damped_cholesky(matrix, 0.3)
    assert bool(is_definite)
    assert_close(factor, torch.linalg.cholesky(damped, upper=True), FLOAT64)
    assert_close(
        ops.damped_cholesky_solve(factor, right), torch.linalg.solve(damped, right), FLOAT64
    )


def test_backward_error_is_that_of_torch_where_the_condition_is_bad():
    matrix, right = definite(200)
    scale = torch.logspace(0, -6, 200, dtype=torch.float64)
    matrix = scale[:, None] * matrix * scale
    factor, is_definite = ops.damped_cholesky(matrix, 1e-14)
    assert bool(is_definite)
    size = matrix.abs().max()
    assert (factor.T @ factor - matrix).abs().max() <= 1e-14 * size
    x = ops.damped_cholesky_solve(factor, right)
    residual = (factor.T @ (factor @ x) - right).abs().max()
    assert residual <= 1e-12 * x.abs().max() * size


def test_reads_the_upper_triangle_alone_and_writes_zeros_below():
    matrix, _ = definite(70)
    given = matrix.triu() + torch.full_like(matrix, torch.nan).tril(-1)
    kept = given.clone()
    factor, is_definite = ops.damped_cholesky(given, 0.0)
    assert bool(is_definite)
    assert torch.equal(given.nan_to_num(), kept.nan_to_num())
    assert_close(factor, torch.linalg.cholesky(matrix, upper=True), FLOAT64)


@pytest.mark.parametrize("n", [1, 40, 70, 700])
@pytest.mark.parametrize("where", [0, -1])
@pytest.mark.parametrize("value", [-1e3, torch.nan, torch.inf])
def test_what_is_not_definite_is_said(n, where, value):
    matrix, _ = definite(n)
    matrix[where, where] = value
    assert not bool(ops.damped_cholesky(matrix, 0.0)[1])
    if value == -1e3:
        assert bool(ops.damped_cholesky(matrix, 1e4)[1])


def test_singular_matrix_needs_damping():
    matrix = torch.ones(40, 40, dtype=torch.float64)
    assert not bool(ops.damped_cholesky(matrix, 0.0)[1])
    assert bool(ops.damped_cholesky(matrix, 1e-8)[1])


def test_no_rows():
    empty = torch.zeros(0, 0, dtype=torch.float64)
    factor, is_definite = ops.damped_cholesky(empty, 1.0)
    assert factor.shape == (0, 0)
    assert bool(is_definite)
    assert ops.damped_cholesky_solve(factor, empty[0:0].reshape(0)).shape == (0,)


def test_layouts():
    matrix, right = definite(65)
    wide = torch.zeros(130, 130, dtype=torch.float64)
    wide[::2, ::2] = matrix
    want, _ = ops.damped_cholesky(matrix, 0.1)
    assert torch.equal(ops.damped_cholesky(wide[::2, ::2], 0.1)[0], want)
    assert torch.equal(
        ops.damped_cholesky_solve(want.T.contiguous().T, right.repeat(2).reshape(2, 65).T[:, 0]),
        ops.damped_cholesky_solve(want, right),
    )


def test_same_bits_for_any_number_of_threads():
    matrix, _ = definite(800)
    before = torch.get_num_threads()
    try:
        factors = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            factors.append(ops.damped_cholesky(matrix, 0.1)[0])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(factor, factors[0]) for factor in factors)


def test_derivatives():
    matrix, right = definite(4)

    def solution(matrix, right):
        factor, _ = ops.damped_cholesky((matrix + matrix.T) / 2, 0.5)
        return ops.damped_cholesky_solve(factor, right)

    leaves = matrix.requires_grad_(), right.requires_grad_()
    assert torch.autograd.gradcheck(solution, leaves)
    assert torch.autograd.gradgradcheck(solution, leaves)


def test_transformations():
    matrices = torch.stack([definite(5, seed)[0] for seed in range(3)])
    found, definite_ones = torch.func.vmap(lambda a: ops.damped_cholesky(a, 0.1))(matrices)
    assert definite_ones.all()
    for one, matrix in zip(found, matrices, strict=True):
        assert_close(one, ops.damped_cholesky(matrix, 0.1)[0], FLOAT64)


def test_op_of_torch():
    matrix, right = definite(33)
    torch.library.opcheck(torch.ops.pyneural.damped_cholesky.default, (matrix, 0.1))
    factor, _ = ops.damped_cholesky(matrix, 0.1)
    torch.library.opcheck(torch.ops.pyneural.damped_cholesky_solve.default, (factor, right))
    compiled = torch.compile(ops.damped_cholesky, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(matrix, 0.1)[0], factor)


def test_plain_torch():
    matrix, right = definite(50)
    factor, is_definite = reference.damped_cholesky(matrix, 0.2)
    assert bool(is_definite)
    assert_close(factor, ops.damped_cholesky(matrix, 0.2)[0], FLOAT64)
    solution = reference.damped_cholesky_solve(factor, right)
    assert_close(solution, ops.damped_cholesky_solve(factor, right), FLOAT64)


@pytest.mark.parametrize(
    ("matrix", "damping", "text"),
    [
        (torch.zeros(3, 2, dtype=torch.float64), 0.1, r"matrix: expected shape \[n, n\], got"),
        (torch.zeros(3, dtype=torch.float64), 0.1, r"matrix: expected shape \[n, n\], got"),
        (torch.eye(2, dtype=torch.float64), -1.0, "damping: expected a finite number >= 0, got -1"),
        (torch.eye(2, dtype=torch.float64), float("nan"), "damping: expected a finite number"),
    ],
)
def test_bad_arguments(matrix, damping, text):
    with pytest.raises(ValueError, match=f"damped_cholesky: {text}"):
        ops.damped_cholesky(matrix, damping)


def test_bad_right_side():
    factor = torch.eye(3, dtype=torch.float64)
    for right in (torch.zeros(2, dtype=torch.float64), torch.zeros(3, 1, dtype=torch.float64)):
        with pytest.raises(ValueError, match="damped_cholesky_solve: right: expected"):
            ops.damped_cholesky_solve(factor, right)


def test_float32_is_plain_torch():
    matrix, right = definite(40)
    factor, is_definite = ops.damped_cholesky(matrix.float(), 0.1)
    assert factor.dtype == torch.float32
    assert bool(is_definite)
    solution = ops.damped_cholesky_solve(factor, right.float())
    want = torch.linalg.solve(matrix + 0.1 * torch.eye(40, dtype=torch.float64), right)
    assert_close(solution, want, 1e-4)


def test_other_dtypes_are_refused_alike():
    eye = torch.eye(3)
    for matrix in (eye[:, :1], eye[:2], eye[None]):
        with pytest.raises(ValueError, match=r"matrix: expected shape \[n, n\]"):
            ops.damped_cholesky(matrix, 0.0)
    for damping in (-0.5, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="damping: expected a finite number >= 0"):
            ops.damped_cholesky(eye, damping)
    with pytest.raises(ValueError, match=r"factor: expected shape \[n, n\]"):
        ops.damped_cholesky_solve(eye[:2], eye[0])
    with pytest.raises(ValueError, match=r"right: expected shape \[3\]"):
        ops.damped_cholesky_solve(eye, eye[0, :2])
