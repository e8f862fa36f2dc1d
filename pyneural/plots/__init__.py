"""Figures, one function each; they need matplotlib: pip install 'pyneural[plot]'."""

from pyneural.plots.activations import activations
from pyneural.plots.approximation import approximation
from pyneural.plots.backpropagation import backpropagation
from pyneural.plots.learning_curves import learning_curves
from pyneural.plots.matrices import matrices
from pyneural.plots.space_time import space_time
from pyneural.plots.sparsity import sparsity
from pyneural.plots.style import check_installed, save, scientific

__all__ = [
    "activations",
    "approximation",
    "backpropagation",
    "check_installed",
    "learning_curves",
    "matrices",
    "save",
    "scientific",
    "space_time",
    "sparsity",
]
