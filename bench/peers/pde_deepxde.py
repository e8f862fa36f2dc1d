"""DeepXDE on torch: problems of examples/pde with the same networks and points, by L-BFGS.

Each function takes the number of L-BFGS iterations and a seed, and gives the relative L2 error and
the seconds of training, as ``main`` of the example of its name.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import time
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import torch

from pyneural.pde.gallery import Lorenz


def load(seed: int = 0) -> ModuleType:
    """DeepXDE in float64; ImportError where it is not installed."""
    os.environ["DDE_BACKEND"] = "pytorch"
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        import deepxde as dde

        dde.config.set_default_float("float64")
    dde.config.set_random_seed(seed)
    return dde


def _network(*widths: int, low: Sequence[float] = (), high: Sequence[float] = ()) -> Any:
    """A network of these widths, whose inputs are scaled to -1 to 1 where they have bounds."""
    import deepxde as dde

    network = dde.nn.FNN(widths, "tanh", "Glorot normal")
    if low:
        first, last = torch.tensor([low, high])
        network.apply_feature_transform(lambda x: (2 * x - first - last) / (last - first))
    return network


def _trained(data: Any, network: Any, steps: int, **options: Any) -> tuple[Any, float]:
    """The model after training, and the seconds of that."""
    import deepxde as dde

    model = dde.Model(data, network)
    return model, _train(model, steps, **options)


def _train(model: Any, steps: int, **options: Any) -> float:
    """The seconds of training."""
    import deepxde as dde

    dde.optimizers.set_LBFGS_options(maxiter=steps, ftol=0, gtol=0)
    # It would make whole thousands of iterations.
    dde.optimizers.LBFGS_options.update(iter_per_step=steps, fun_per_step=10 * steps)
    with contextlib.redirect_stdout(io.StringIO()):
        model.compile("L-BFGS", **options)
        began = time.perf_counter()
        model.train(display_every=steps)
    return time.perf_counter() - began


def _error(model: Any, x: np.ndarray, exact: np.ndarray) -> float:
    return float(np.linalg.norm(model.predict(x) - exact) / np.linalg.norm(exact))


def robin_rod(steps: int, seed: int) -> tuple[float, float]:
    dde = load(seed)
    rod = dde.geometry.Interval(-1, 1)
    left = dde.icbc.DirichletBC(rod, lambda x: 0, lambda x, on: on and x[0] < 0)
    right = dde.icbc.RobinBC(rod, lambda x, u: u, lambda x, on: on and x[0] > 0)
    data = dde.data.PDE(rod, lambda x, u: dde.grad.hessian(u, x) - 2, [left, right], 48, 2)
    model, seconds = _trained(data, _network(1, 20, 20, 1), steps)
    x = np.linspace(-1, 1, 101)[:, None]
    return _error(model, x, (x + 1) ** 2), seconds


def clamped_beam(steps: int, seed: int) -> tuple[float, float]:
    dde = load(seed)
    beam = dde.geometry.Interval(0, 1)

    def second(x: Any, u: Any) -> Any:
        return dde.grad.hessian(u, x)

    def on(end: float) -> Callable[[Any, bool], bool]:
        return lambda x, on_boundary: on_boundary and math.isclose(x[0], end)

    conditions = [
        dde.icbc.DirichletBC(beam, lambda x: 0, on(0)),
        dde.icbc.NeumannBC(beam, lambda x: 0, on(0)),
        dde.icbc.OperatorBC(beam, lambda x, u, _: second(x, u), on(1)),
        dde.icbc.OperatorBC(beam, lambda x, u, _: dde.grad.jacobian(second(x, u), x), on(1)),
    ]
    load_law = lambda x, u: dde.grad.hessian(second(x, u), x) + 1  # noqa: E731
    data = dde.data.PDE(beam, load_law, conditions, 28, 2)
    model, seconds = _trained(data, _network(1, 20, 20, 1), steps)
    x = np.linspace(0, 1, 101)[:, None]
    return _error(model, x, -(x**4) / 24 + x**3 / 6 - x**2 / 4), seconds


def annulus(steps: int, seed: int) -> tuple[float, float]:
    dde = load(seed)
    rim, hole = dde.geometry.Disk([0, 0], 2), dde.geometry.Disk([0, 0], 1)
    ring = dde.geometry.CSGDifference(rim, hole)
    conditions = [
        dde.icbc.DirichletBC(ring, lambda x: 0, lambda x, on: on and np.hypot(*x) < 1.5),
        dde.icbc.NeumannBC(ring, lambda x: 0.5, lambda x, on: on and np.hypot(*x) > 1.5),
    ]
    data = dde.data.PDE(ring, _laplacian, conditions, 800, 180)
    model, seconds = _trained(data, _network(2, 20, 20, 1), steps)
    x = ring.random_points(2000)
    return _error(model, x, np.log(np.linalg.norm(x, axis=1, keepdims=True))), seconds


def l_shape(steps: int, seed: int) -> tuple[float, float]:
    dde = load(seed)
    corners = [[0, 0], [1, 0], [1, 1], [-1, 1], [-1, -1], [0, -1]]
    shape = dde.geometry.Polygon(corners)

    def exact(x: np.ndarray) -> np.ndarray:
        angle = np.arctan2(x[:, 1], x[:, 0]) % (2 * math.pi)
        return (np.hypot(*x.T) ** (2 / 3) * np.sin(2 / 3 * angle))[:, None]

    boundary = dde.icbc.DirichletBC(shape, exact, lambda x, on: on)
    data = dde.data.PDE(shape, _laplacian, boundary, 1000, 300)
    model, seconds = _trained(data, _network(2, 20, 20, 20, 1), steps, loss_weights=[1, 100])
    x = shape.random_points(2000)
    return _error(model, x, exact(x)), seconds


def inverse_source(steps: int, seed: int) -> tuple[float, float]:
    dde = load(seed)
    q, b = dde.Variable(1.0), dde.Variable(1.0)
    rod = dde.geometry.Interval(0, 1)
    readings = np.linspace(0.1, 0.9, 10)[:, None]
    conditions = [
        dde.icbc.DirichletBC(rod, lambda x: 0, lambda x, on: on and x[0] < 0.5),
        dde.icbc.OperatorBC(rod, lambda x, u, _: u - b, lambda x, on: on and x[0] > 0.5),
        dde.icbc.PointSetBC(readings, 0.5 * readings + 1.5 * readings * (1 - readings)),
    ]
    data = dde.data.PDE(rod, lambda x, u: dde.grad.hessian(u, x) + q, conditions, 48, 2)
    _, seconds = _trained(data, _network(1, 20, 20, 1), steps, external_trainable_variables=[q, b])
    return max(abs(q.item() - 3), abs(b.item() - 0.5)), seconds


def parametric_heat(steps: int, seed: int) -> tuple[float, float]:
    dde = load(seed)
    pi = math.pi
    domain = dde.geometry.GeometryXTime(
        dde.geometry.Rectangle([0, 0.05], [1, 0.2]), dde.geometry.TimeDomain(0, 1)
    )  # x, nu, t

    def law(x: Any, u: Any) -> Any:
        return dde.grad.jacobian(u, x, j=2) - x[:, 1:2] * dde.grad.hessian(u, x, i=0, j=0)

    def on_ends(x: np.ndarray, on_boundary: bool) -> bool:
        return on_boundary and bool(np.isclose(x[0] * (1 - x[0]), 0))

    conditions = [
        dde.icbc.IC(domain, lambda x: np.sin(pi * x[:, :1]), lambda _, on: on),
        dde.icbc.DirichletBC(domain, lambda x: 0, on_ends),
    ]
    data = dde.data.TimePDE(domain, law, conditions, 1000, 330, 150)  # about 150 of 330 on the ends
    model, seconds = _trained(
        data, _network(3, 20, 20, 20, 1, low=(0, 0.05, 0), high=(1, 0.2, 1)), steps
    )
    x = domain.random_points(2000)
    exact = np.exp(-x[:, 1] * pi**2 * x[:, 2]) * np.sin(pi * x[:, 0])
    return _error(model, x, exact[:, None]), seconds


def fourier_features(steps: int, seed: int) -> tuple[float, float]:
    """Its MsFFN is for TensorFlow 1 only; here its features are a transform of the input."""
    dde = load(seed)
    rod, a, b = dde.geometry.Interval(0, 1), 2 * math.pi, 50 * math.pi

    def law(x: Any, u: Any) -> Any:
        source = a**2 * torch.sin(a * x) + b**2 / 10 * torch.sin(b * x)
        return (dde.grad.hessian(u, x) + source) / 100

    ends = dde.icbc.DirichletBC(rod, lambda x: 0, lambda _, on: on)
    data = dde.data.PDE(rod, law, ends, 298, 2, train_distribution="uniform")
    frequencies = 10 * torch.randn(1, 50, generator=torch.Generator().manual_seed(0))

    def features(x: torch.Tensor) -> torch.Tensor:
        angles = 2 * math.pi * x @ frequencies
        return torch.cat([torch.cos(angles), torch.sin(angles)], 1)

    network = _network(100, 30, 1)
    network.apply_feature_transform(features)
    model, seconds = _trained(data, network, steps)
    x = np.linspace(0, 1, 1000)[:, None]
    return _error(model, x, np.sin(a * x) + np.sin(b * x) / 10), seconds


def integro_differential(steps: int, seed: int) -> tuple[float, float]:
    dde = load(seed)
    domain = dde.geometry.Interval(0, 5)

    def law(x: Any, u: Any, integral: np.ndarray) -> Any:
        past = torch.from_numpy(integral) @ u
        return (dde.grad.jacobian(u, x) + u)[: len(past)] - past

    start = dde.icbc.DirichletBC(domain, lambda x: 1, lambda x, on: on and x[0] < 2.5)
    data = dde.data.IDE(
        domain, law, start, 20, kernel=lambda x, s: np.exp(s - x),
        num_domain=38, num_boundary=2, train_distribution="uniform",
    )  # fmt: skip
    model, seconds = _trained(data, _network(1, 20, 20, 1, low=(0,), high=(5,)), steps)
    x = np.linspace(0, 5, 40)[:, None]
    return _error(model, x, np.exp(-x) * np.cosh(x)), seconds


def lorenz(steps: int, seed: int) -> tuple[float, float]:
    """As there, the states almost alone at first, then the equations with more weight."""
    dde = load(seed)
    times, states = (each.numpy() for each in Lorenz(last=3).test_grid())
    right = 10, 15, 8 / 3
    sigma, rho, beta = found = [dde.Variable(1.0) for _ in right]

    def laws(t: Any, state: Any) -> list[Any]:
        x, y, z = state[:, :1], state[:, 1:2], state[:, 2:]
        rates = sigma * (y - x), x * (rho - z) - y, x * y - beta * z
        return [dde.grad.jacobian(state, t, i=i) - rate for i, rate in enumerate(rates)]

    measured = [
        dde.icbc.PointSetBC(times[::8], states[::8, i : i + 1], component=i) for i in range(3)
    ]
    data = dde.data.PDE(dde.geometry.TimeDomain(0, 3), laws, measured, 198, 2)
    network = _network(1, 40, 40, 40, 3, low=(0,), high=(3,))
    network.apply_output_transform(lambda _, state: 20 * state)
    model, seconds = dde.Model(data, network), 0.0
    for weight in (1e-5, 3e-3):
        weights = [weight] * 3 + [1] * 3
        seconds += _train(
            model, steps // 2, loss_weights=weights, external_trainable_variables=found
        )
    return max(abs(c.item() / r - 1) for c, r in zip(found, right, strict=True)), seconds


def network_per_output(steps: int, seed: int) -> tuple[float, float]:
    """Its networks have the same number of layers each, here two."""
    dde = load(seed)
    rod, pi = dde.geometry.Interval(0, 1), math.pi

    def laws(x: Any, uq: Any) -> list[Any]:
        u_x, q_x = dde.grad.jacobian(uq, x, i=0), dde.grad.jacobian(uq, x, i=1)
        return [uq[:, 1:] + u_x, q_x - pi**2 * torch.sin(pi * x)]

    ends = dde.icbc.DirichletBC(rod, lambda x: 0, lambda _, on: on, component=0)
    data = dde.data.PDE(rod, laws, ends, 48, 2)
    network = dde.nn.PFNN([1, [20, 20], [20, 20], 2], "tanh", "Glorot normal")
    model, seconds = _trained(data, network, steps)
    x = np.linspace(0, 1, 101)[:, None]
    return _error(model, x, np.hstack([np.sin(pi * x), -pi * np.cos(pi * x)])), seconds


def _laplacian(x: Any, u: Any) -> torch.Tensor:
    import deepxde as dde

    return dde.grad.hessian(u, x, i=0, j=0) + dde.grad.hessian(u, x, i=1, j=1)


PROBLEMS: dict[str, Callable[[int, int], tuple[float, float]]] = {
    f.__name__: f
    for f in (
        robin_rod, clamped_beam, annulus, l_shape, inverse_source, parametric_heat,
        fourier_features, integro_differential, lorenz, network_per_output,
    )
}  # fmt: skip
