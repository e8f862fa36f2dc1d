"""The systems of the course, one file each, and the networks that they are built with."""

from pyneural.models.pinn import PINN
from pyneural.training import Model, Sequential, load_model

__all__ = ["PINN", "Model", "Sequential", "load_model"]
