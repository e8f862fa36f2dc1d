"""DeepXDE on torch: problems of the gallery for as many seconds as ours took.

Networks of 4 x 20 tanh units in float64, the same conditions built in, 4,096 points of a Sobol
sequence; a thousand steps of Adam, then L-BFGS until the time is up. Each function takes the
seconds and a seed, and gives the relative L2 error on the test points of ``pde.gallery``.
"""

from __future__ import annotations

import contextlib
import io
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from bench.peers.pde_deepxde import load
from pyneural.pde.gallery import GALLERY

_POINTS, _ADAM = 4095, 1000  # with DeepXDE's own one a power of two
PI = math.pi


def _solve(
    name: str, seconds: float, seed: int, residual: Callable[[Any, Any], Any],
    built_in: Callable[[Any, Any], Any], features: Callable[[Any], Any] | None = None,
) -> float:  # fmt: skip
    dde = load(seed)
    domain = GALLERY[name]().domain
    low, high = (end.tolist() for end in domain.range)
    box = dde.geometry.Hypercube(low, high)
    data = dde.data.PDE(box, residual, [], _POINTS, train_distribution="Sobol")
    inputs = domain.dim if features is None else features(torch.zeros(1, domain.dim)).shape[1]
    network = dde.nn.FNN([inputs, 20, 20, 20, 20, 1], "tanh", "Glorot normal")
    if features is not None:
        network.apply_feature_transform(features)
    network.apply_output_transform(built_in)
    model = dde.Model(data, network)
    began = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        model.compile("adam", lr=1e-3)
        model.train(iterations=_ADAM, display_every=_ADAM, callbacks=[_timer(dde, began, seconds)])
        dde.optimizers.set_LBFGS_options(maxiter=10**6, ftol=0, gtol=0)
        dde.optimizers.LBFGS_options.update(iter_per_step=50, fun_per_step=500)
        model.compile("L-BFGS")
        model.train(display_every=10**6, callbacks=[_timer(dde, began, seconds)])
    points, exact = (part.numpy() for part in GALLERY[name]().test_grid())
    return float(np.linalg.norm(model.predict(points) - exact) / np.linalg.norm(exact))


def _timer(dde: Any, began: float, seconds: float) -> Any:
    """Ends a training that many seconds after the beginning."""

    class Until(dde.callbacks.Callback):
        def on_epoch_end(self) -> None:
            if time.perf_counter() - began > seconds:
                self.model.stop_training = True

    return Until()


def _on_a_ring(x: Any) -> Any:
    """The features t, cos(pi x), sin(pi x)."""
    return torch.cat([x[:, :1], torch.cos(PI * x[:, 1:]), torch.sin(PI * x[:, 1:])], 1)


def _slopes(u: Any, x: Any) -> tuple[Any, Any, Any]:
    """u_t, u_x and u_xx, as DeepXDE's examples take them."""
    import deepxde as dde

    return (
        dde.grad.jacobian(u, x, i=0, j=0),
        dde.grad.jacobian(u, x, i=0, j=1),
        dde.grad.hessian(u, x, i=1, j=1),
    )


def burgers(seconds: float, seed: int) -> float:
    def residual(x: Any, u: Any) -> Any:
        u_t, u_x, u_xx = _slopes(u, x)
        return u_t + u * u_x - 0.01 / PI * u_xx

    def built_in(x: Any, n: Any) -> Any:
        return -torch.sin(PI * x[:, 1:]) + x[:, :1] * n

    return _solve("burgers", seconds, seed, residual, built_in, _on_a_ring)


def allen_cahn(seconds: float, seed: int) -> float:
    def residual(x: Any, u: Any) -> Any:
        u_t, _, u_xx = _slopes(u, x)
        return u_t - 1e-4 * u_xx - 5 * (u - u**3)

    def built_in(x: Any, n: Any) -> Any:
        return x[:, 1:] ** 2 * torch.cos(PI * x[:, 1:]) + x[:, :1] * n

    return _solve("allen-cahn", seconds, seed, residual, built_in, _on_a_ring)


def kdv(seconds: float, seed: int) -> float:
    def residual(x: Any, u: Any) -> Any:
        import deepxde as dde

        u_t, u_x, u_xx = _slopes(u, x)
        return u_t + u * u_x + 0.022**2 * dde.grad.jacobian(u_xx, x, i=0, j=1)

    def built_in(x: Any, n: Any) -> Any:
        return torch.cos(PI * x[:, 1:]) + x[:, :1] * n

    return _solve("kdv", seconds, seed, residual, built_in, _on_a_ring)


def helmholtz(seconds: float, seed: int) -> float:
    def residual(x: Any, u: Any) -> Any:
        import deepxde as dde

        laplacian = dde.grad.hessian(u, x, i=0, j=0) + dde.grad.hessian(u, x, i=1, j=1)
        mode = torch.sin(PI * x[:, :1]) * torch.sin(4 * PI * x[:, 1:])
        return laplacian + u - (1 - 17 * PI**2) * mode

    def built_in(x: Any, n: Any) -> Any:
        return (1 - x[:, :1] ** 2) * (1 - x[:, 1:] ** 2) * n

    return _solve("helmholtz", seconds, seed, residual, built_in)


def wave(seconds: float, seed: int) -> float:
    def residual(x: Any, u: Any) -> Any:
        import deepxde as dde

        return dde.grad.hessian(u, x, i=0, j=0) - dde.grad.hessian(u, x, i=1, j=1)

    def built_in(x: Any, n: Any) -> Any:
        t, x = x[:, :1], x[:, 1:]
        return torch.sin(PI * x) + torch.sin(4 * PI * x) / 2 + t**2 * x * (1 - x) * n

    return _solve("wave", seconds, seed, residual, built_in)


PROBLEMS: dict[str, Callable[[float, int], float]] = {
    "burgers": burgers,
    "allen-cahn": allen_cahn,
    "kdv": kdv,
    "helmholtz": helmholtz,
    "wave": wave,
}
