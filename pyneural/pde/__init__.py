"""Equations, domains, points, conditions and exact solutions for physics-informed networks."""

from pyneural.pde import gallery, spectral
from pyneural.pde.causal import Causal
from pyneural.pde.condition import Condition
from pyneural.pde.conditions import Data, Dirichlet, Initial, Neumann, Periodic
from pyneural.pde.domains import (
    Ball,
    Box,
    Disk,
    Domain,
    Ellipse,
    Interval,
    Mesh,
    PointCloud,
    Polygon,
    Polyhedron,
    read_mesh,
)
from pyneural.pde.equation import Equation
from pyneural.pde.exact import cole_hopf, gauss_hermite
from pyneural.pde.gallery.burgers import Burgers
from pyneural.pde.hard import Hard
from pyneural.pde.hilbert import hilbert_index
from pyneural.pde.network import Network
from pyneural.pde.operator import Operator
from pyneural.pde.sampling import SAMPLINGS, residual_adaptive, systematic, unit_points

__all__ = [
    "SAMPLINGS",
    "Ball",
    "Box",
    "Burgers",
    "Causal",
    "Condition",
    "Data",
    "Dirichlet",
    "Disk",
    "Domain",
    "Ellipse",
    "Equation",
    "Hard",
    "Initial",
    "Interval",
    "Mesh",
    "Network",
    "Neumann",
    "Operator",
    "Periodic",
    "PointCloud",
    "Polygon",
    "Polyhedron",
    "cole_hopf",
    "gallery",
    "gauss_hermite",
    "hilbert_index",
    "read_mesh",
    "residual_adaptive",
    "spectral",
    "systematic",
    "unit_points",
]
