"""Numerical solutions of spectral accuracy: Fourier on periodic boxes, Chebyshev on others."""

from pyneural.pde.spectral.chebyshev import Chebyshev
from pyneural.pde.spectral.fourier import Fourier
from pyneural.pde.spectral.solution import Solution, UnstableStepError, reference

__all__ = ["Chebyshev", "Fourier", "Solution", "UnstableStepError", "reference"]
