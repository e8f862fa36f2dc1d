"""The Navier-Stokes equations of an incompressible flow in the plane."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pyneural.pde.gallery.problem import Problem


class SteadyFlow(Problem):
    """A steady flow (u, v) with pressure p, in units of the density.

    u u_x + v u_y + p_x - nu (u_xx + u_yy) = 0
    u v_x + v v_y + p_y - nu (v_xx + v_yy) = 0
    u_x + v_y = 0
    """

    inputs, outputs = "xy", "uvp"
    formula = "(u . grad) u + grad p = nu laplacian u,  div u = 0"
    nu: float | Tensor

    def residual(self, u, v, p):
        """Momentum in x, momentum in y, mass."""
        return _steady(u, v, p, self.nu)


class Flow(Problem):
    """A flow (u, v) with pressure p, in units of the density.

    u_t + u u_x + v u_y + p_x - nu (u_xx + u_yy) = 0
    v_t + u v_x + v v_y + p_y - nu (v_xx + v_yy) = 0
    u_x + v_y = 0
    """

    inputs, outputs = "txy", "uvp"
    formula = "u_t + (u . grad) u + grad p = nu laplacian u,  div u = 0"
    nu: float | Tensor

    def residual(self, u, v, p):
        """Momentum in x, momentum in y, mass."""
        in_x, in_y, mass = _steady(u, v, p, self.nu)
        return u.t + in_x, v.t + in_y, mass


def _steady(u: Any, v: Any, p: Any, nu: Any) -> tuple[Any, Any, Any]:
    """Residuals of the equations without the rates of change."""
    return (
        u * u.x + v * u.y + p.x - nu * u.laplacian,
        u * v.x + v * v.y + p.y - nu * v.laplacian,
        u.x + v.y,
    )
