"""Levenberg and Marquardt's method for many parameters, by conjugate gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from pyneural.training.solvers.krylov_model import KrylovModel
from pyneural.training.solvers.levenberg_marquardt import LevenbergMarquardt
from pyneural.training.solvers.linear_model import LinearModel
from pyneural.training.solvers.residuals import Residuals


@dataclass(frozen=True)
class GaussNewtonCG(LevenbergMarquardt):
    """Steps of damped least squares, each found by preconditioned conjugate gradients.

        (J^T J + lambda I) v = -J^T r  to |residual| <= accuracy |J^T r|

    from products J v and J^T w, with what ``LevenbergMarquardt`` does for damping, acceptance,
    momentum and paths of higher order. (J^T J + lambda I is also the matrix of the natural gradient
    of a Gaussian likelihood.) The preconditioner is a randomised Nystrom approximation of J^T J of
    a rank L (Frangella, Tropp and Udell 2023, arXiv:2110.02820), drawn anew at each step.

    It is for more than some 5,000 parameters T, where J^T J fills the memory and its factors take
    minutes: a step takes L products for the preconditioner and up to ``products`` for each
    equation, and a matrix [T, L]. Below, ``LevenbergMarquardt`` is faster and more exact.

    Args:
        steps: number of steps, >= 0.
        order: of the path, 1 to 4; each order takes another solution.
        damping: see ``LevenbergMarquardt``.
        momentum: see ``LevenbergMarquardt``.
        tolerance_change: see ``LevenbergMarquardt``.
        tolerance_grad: the phase ends when |J^T r| / (|J| |r|) is no larger.
        rank: L, >= 1.
        accuracy: of the solution of the equations, in (0, 1).
        products: J^T J v in one solution at most, >= 1.

    >>> import torch
    >>> from pyneural import models, nn, pde
    >>> burgers = pde.Burgers()
    >>> network = nn.MLP(2, [8], 1, input_range=burgers.domain.range).double()
    >>> conditions = burgers.conditions(20, dtype=torch.float64)
    >>> pinn = models.PINN(network, conditions, equation=burgers, points=50)
    >>> report = pinn.fit([GaussNewtonCG(5, rank=5)], progress=False)
    >>> report.phases[0].name, report.phases[0].steps
    ('Gauss-Newton-CG', 5)
    """

    name: ClassVar[str] = "Gauss-Newton-CG"

    order: int = 2
    rank: int = 50
    accuracy: float = 1e-3
    products: int = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("rank", self.rank >= 1, "a whole number >= 1", whole=True)
        self.check("accuracy", 0 < self.accuracy < 1, "a number in (0, 1)")
        self.check("products", self.products >= 1, "a whole number >= 1", whole=True)

    def linear_model(
        self, residuals: Residuals, start: Tensor, seed: int, rounding: float
    ) -> LinearModel:
        """That of products."""
        size, rank, most = len(start), int(self.rank), int(self.products)
        return KrylovModel(residuals, size, rank, self.accuracy, most, seed, rounding)
