"""Fourier pseudo-spectral solutions on periodic boxes, by ETDRK4 in time."""

from __future__ import annotations

import torch

from pyneural.pde.domains import Box
from pyneural.pde.equation import Equation
from pyneural.pde.spectral.fourier_form import FourierForm
from pyneural.pde.spectral.fourier_grid import FourierGrid
from pyneural.pde.spectral.solution import Discretization, SpectralProblem
from pyneural.pde.spectral.system import Rule, System


class Fourier(SpectralProblem):
    """An equation on a box that is periodic in 1 to 3 dimensions of space.

        M u_t = L u + N(u, x, t)

    is found from the equation: all terms with constant coefficients are L, which is taken exactly,
    and the rest N goes by FFT through the grid, cut off at two thirds of the band so that quadratic
    terms have no aliasing (Orszag 1971). Steps are those of ETDRK4 (Cox and Matthews 2002), fourth
    order, with the coefficients of Kassam and Trefethen (2005). In space the error falls faster
    than every power of n for a smooth solution. Systems, complex fields, u_tt and derivatives such
    as u_xxt are allowed. An output without a derivative in time (a stream function, a pressure) is
    found from its own equation, in which it is linear with constant coefficients; its mean is 0
    where that is free. Without the time t in the domain all outputs are of that kind.

    Args:
        equation: a ``pde.Equation``; or a function of fields and coordinates that returns u_t, a
            tuple for a system, with derivatives as attributes: ``lambda u: nu * u.xx - u * u.x``.
        domain: the box.
        initial: u at the first time as a function of the coordinates in space; for several outputs
            a tuple, of those that evolve, each with u_t after it where the equation has u_tt.

    Raises:
        ValueError: an equation that is not of this form; data that is not periodic.

    >>> import math
    >>> from pyneural.pde import Box, cole_hopf
    >>> nu = 0.05
    >>> burgers = Fourier(
    ...     lambda u: nu * u.xx - u * u.x,
    ...     Box(t=(0, 1), x=(-1, 1)),
    ...     lambda x: -torch.sin(math.pi * x),
    ... )
    >>> u = burgers.solve(n=192, steps=400)
    >>> points = burgers.domain.sample(100, dtype=torch.float64)
    >>> error = u(points)[:, 0] - cole_hopf(points[:, 0], points[:, 1], nu)
    >>> bool(error.abs().max() < 1e-9)
    True
    """

    def __init__(self, equation: Equation | Rule, domain: Box, initial: Rule | None = None) -> None:
        self.domain = domain
        self.system = System(equation, domain, "Fourier")
        self.form = FourierForm(self.system, initial)

    def _discretize(self, n: tuple[int, ...]) -> Discretization:
        with torch.no_grad():
            return FourierGrid(self.form, n)
