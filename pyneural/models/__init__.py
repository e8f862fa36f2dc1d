"""The systems of the course, one file each, and the networks that they are built with."""

from pyneural.models.finite_differences import finite_differences
from pyneural.models.function_fit import fit_function
from pyneural.models.matrix_chain import MatrixChain, best_affine
from pyneural.models.perceptron import MultilayerPerceptron
from pyneural.models.pinn import PINN
from pyneural.models.quadratic_cost import quadratic_cost
from pyneural.models.sparse_network import SparseNetwork
from pyneural.training import Model, Sequential, load_model

__all__ = [
    "PINN",
    "MatrixChain",
    "Model",
    "MultilayerPerceptron",
    "Sequential",
    "SparseNetwork",
    "best_affine",
    "finite_differences",
    "fit_function",
    "load_model",
    "quadratic_cost",
]
