"""Losses as sums of squares, for solvers of second order."""

from pyneural.training.least_squares.autograd_term import AutogradTerm
from pyneural.training.least_squares.columns_term import ColumnsTerm
from pyneural.training.least_squares.kernel_term import KernelTerm
from pyneural.training.least_squares.term import SquaredTerm
from pyneural.training.least_squares.terms import least_squares

__all__ = ["AutogradTerm", "ColumnsTerm", "KernelTerm", "SquaredTerm", "least_squares"]
