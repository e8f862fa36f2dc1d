"""Exact solutions, in float64, for measuring what a network has learned."""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from torch import Tensor

from pyneural.progress import progress

_ORDERS = (100, 200, 400, 800, 1600)
_AGREEMENT = 1e-12
_CHUNK_ELEMENTS = 1 << 21  # points x nodes held at once: 16 MiB an intermediate


@functools.lru_cache(maxsize=8)
def gauss_hermite(order: int) -> tuple[Tensor, Tensor]:
    """Nodes z [order] and logarithms of the weights of Gauss-Hermite quadrature.

        integral exp(-z^2) g(z) dz ~ sum_i w_i g(z_i)

    The nodes are eigenvalues of the Jacobi matrix (Golub and Welsch, 1969), polished by a Newton
    step; the weights come from the orthonormal recurrence, carried with its logarithm. So the
    small weights keep their relative precision and no order overflows, where
    ``numpy.polynomial.hermite.hermgauss`` gives NaN beyond about 300.

    >>> z, log_w = gauss_hermite(40)
    >>> round(float((log_w.exp() * z**2).sum() / math.sqrt(math.pi)), 12)
    0.5
    """
    off_diagonal = np.sqrt(np.arange(1, order) / 2.0)
    z = np.linalg.eigvalsh(np.diag(off_diagonal, 1) + np.diag(off_diagonal, -1))
    for _ in range(2):
        value, previous = np.full(order, math.pi**-0.25), np.zeros(order)
        log_scale = np.zeros(order)
        for j in range(order):
            value, previous = (
                z * math.sqrt(2 / (j + 1)) * value - math.sqrt(j / (j + 1)) * previous,
                value,
            )
            scale = np.maximum(np.abs(value), np.abs(previous))
            value, previous, log_scale = value / scale, previous / scale, log_scale + np.log(scale)
        log_weights = -math.log(order) - 2 * (np.log(np.abs(previous)) + log_scale)
        z = z - value / (math.sqrt(2 * order) * previous)
    return torch.from_numpy(z), torch.from_numpy(log_weights)


def cole_hopf(
    t: Tensor | float, x: Tensor | float, nu: float = 0.01 / math.pi, *, order: int | None = None
) -> Tensor:
    r"""Exact solution of Burgers' equation that starts as -sin(pi x).

    With f(y) = exp(-cos(pi y) / (2 pi nu)),

        u(t, x) = - integral sin(pi (x - e)) f(x - e) exp(-e^2 / (4 nu t)) de
                  / integral f(x - e) exp(-e^2 / (4 nu t)) de

    solves u_t + u u_x = nu u_xx, u(0, x) = -sin(pi x), u(t, -1) = u(t, 1) = 0 (Cole, 1951;
    Hopf, 1950; in this form Basdevant et al., 1986). Both integrals use Gauss-Hermite
    quadrature in z = e / sqrt(4 nu t); f spans e^(1 / (pi nu)), so the exponents are added and
    their maximum taken out before any exponential.

    Args:
        t: times, >= 0.
        x: positions; broadcasts with t.
        nu: viscosity, > 0.
        order: number of quadrature nodes. By default it is doubled from 100 until two orders agree
            to 1e-12 at every point (200 is enough at nu = 0.01 / pi).

    Returns:
        u in float64, in the shape that t and x broadcast to, on their device.

    Raises:
        ValueError: t negative or not finite, nu not positive, or no agreement by order 1600
            (nu outside about 2e-4 to 3).

    >>> u = cole_hopf(torch.tensor([0.0, 0.5]), torch.tensor([0.5, 0.5]))
    >>> [round(value, 12) for value in u.tolist()]
    [-1.0, -0.592769534402]
    """
    t = torch.as_tensor(t, dtype=torch.float64)
    x = torch.as_tensor(x, dtype=torch.float64)
    shape = torch.broadcast_shapes(t.shape, x.shape)
    device = x.device if t.dim() == 0 else t.device
    t, x = t.detach().cpu().broadcast_to(shape), x.detach().cpu().broadcast_to(shape)
    if not bool(torch.isfinite(t).all() and torch.isfinite(x).all()):
        raise ValueError("cole_hopf: t, x: expected finite numbers, got nan or inf; remove them")
    if t.numel() and bool((t < 0).any()):
        raise ValueError(
            f"cole_hopf: t: expected times >= 0, got {float(t.min())}; the solution starts at t = 0"
        )
    if not (math.isfinite(nu) and nu > 0):
        raise ValueError(f"cole_hopf: nu: expected a viscosity > 0, got {nu}; give it as a number")
    if order is not None:
        if order < 2:
            raise ValueError(f"cole_hopf: order: expected at least 2, got {order}; leave it out")
        return _quadrature(t, x, nu, order).to(device)
    previous = _quadrature(t, x, nu, _ORDERS[0])
    for order in _ORDERS[1:]:
        u = _quadrature(t, x, nu, order)
        if bool(((u - previous).abs() <= _AGREEMENT).all()):
            return u.to(device)
        previous = u
    raise ValueError(
        f"cole_hopf: nu: expected a viscosity at which orders {_ORDERS[-2]} and {_ORDERS[-1]} "
        f"agree to {_AGREEMENT}, got {nu}; take nu between 2e-4 and 1"
    )


def _quadrature(t: Tensor, x: Tensor, nu: float, order: int) -> Tensor:
    z, log_weights = gauss_hermite(order)
    shape, u = t.shape, torch.empty(t.numel(), dtype=torch.float64)
    t, x = t.reshape(-1), x.reshape(-1)
    chunk = max(1, _CHUNK_ELEMENTS // order)
    for start in progress("cole_hopf", range(0, t.numel(), chunk)):
        part = slice(start, start + chunk)
        y = math.pi * (x[part, None] - torch.sqrt(4 * nu * t[part, None]) * z)  # [chunk, order]
        share = torch.softmax(log_weights - torch.cos(y) / (2 * math.pi * nu), dim=1)
        u[part] = -(torch.sin(y) * share).sum(1)
    return u.reshape(shape)
