"""Data sets; those of images need scikit-learn: pip install 'pyneural[data]'."""

from pyneural.data.adding import adding_problem
from pyneural.data.digits import digits
from pyneural.data.mnist import mnist

__all__ = ["adding_problem", "digits", "mnist"]
