"""Equations for the Fourier solver that several files test."""

from __future__ import annotations

import math

import torch

from pyneural.pde import Box, Equation, spectral


def burgers(nu=0.05):
    return spectral.Fourier(
        lambda u: nu * u.xx - u * u.x,
        Box(t=(0, 1), x=(-1, 1)),
        lambda x: -torch.sin(math.pi * x),
    )


class Wave(Equation):
    inputs, outputs = "txy", "u"

    def residual(self, u):
        return u.tt - 4 * u.laplacian
