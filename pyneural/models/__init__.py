"""The systems of the course, one file each."""

from pyneural.models.pinn import PINN

__all__ = ["PINN"]
