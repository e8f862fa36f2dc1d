"""Data sets. They need scikit-learn: pip install 'pyneural[data]'."""

from pyneural.data.digits import digits
from pyneural.data.mnist import mnist

__all__ = ["digits", "mnist"]
