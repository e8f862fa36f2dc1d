"""Ordinary differential equations dy/dt = f(t, y), with gradients to all that f is made of."""

from pyneural.ode.odeint import IntegrationError, odeint
from pyneural.ode.tableau import DOPRI5, METHODS, RK4, Tableau

__all__ = ["DOPRI5", "METHODS", "RK4", "IntegrationError", "Tableau", "odeint"]
