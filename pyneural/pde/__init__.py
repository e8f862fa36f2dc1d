"""Equations, domains, points, conditions and exact solutions for physics-informed networks."""

from pyneural.pde import spectral
from pyneural.pde.burgers import Burgers
from pyneural.pde.conditions import Condition, Data, Dirichlet, Initial, Neumann, Periodic
from pyneural.pde.domain import Box, Interval
from pyneural.pde.equation import Equation
from pyneural.pde.exact import cole_hopf, gauss_hermite
from pyneural.pde.hard import Hard
from pyneural.pde.network import Network
from pyneural.pde.sampling import SAMPLINGS, residual_adaptive, unit_points

__all__ = [
    "SAMPLINGS",
    "Box",
    "Burgers",
    "Condition",
    "Data",
    "Dirichlet",
    "Equation",
    "Hard",
    "Initial",
    "Interval",
    "Network",
    "Neumann",
    "Periodic",
    "cole_hopf",
    "gauss_hermite",
    "residual_adaptive",
    "spectral",
    "unit_points",
]
