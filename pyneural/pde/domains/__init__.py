"""Domains: boxes, disks, balls, polygons, meshes, and what is made of them."""

from pyneural.pde.domains.base import Domain
from pyneural.pde.domains.box import Box, Interval
from pyneural.pde.domains.cloud import PointCloud
from pyneural.pde.domains.drawing import Drawing
from pyneural.pde.domains.mesh import Mesh, read_mesh
from pyneural.pde.domains.polygon import Polygon
from pyneural.pde.domains.polyhedron import Polyhedron
from pyneural.pde.domains.round import Ball, Disk, Ellipse

__all__ = [
    "Ball",
    "Box",
    "Disk",
    "Domain",
    "Drawing",
    "Ellipse",
    "Interval",
    "Mesh",
    "PointCloud",
    "Polygon",
    "Polyhedron",
    "read_mesh",
]
