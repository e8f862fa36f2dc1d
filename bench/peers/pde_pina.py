"""PINA: problems of examples/pde with the same networks and points, by L-BFGS.

Each function takes the number of L-BFGS iterations and a seed, and gives the relative L2 error and
the seconds of training, as ``main`` of the example of its name.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch


def load(seed: int = 0) -> Any:
    """PINA in float64; ImportError where it is not installed."""
    import pina
    import pina.domain

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(seed)
    return pina


def _trained(problem: Any, network: torch.nn.Module, steps: int) -> float:
    """The seconds of training."""
    from pina import Trainer
    from pina.optim import TorchOptimizer
    from pina.solver import PINN

    optimizer = TorchOptimizer(
        torch.optim.LBFGS, max_iter=steps, max_eval=10 * steps, tolerance_grad=0,
        tolerance_change=0, history_size=100, line_search_fn="strong_wolfe",
    )  # fmt: skip
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar"), False)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        solver = PINN(problem, network, optimizer=optimizer)
        trainer = Trainer(
            solver, max_epochs=1, accelerator="cpu", enable_model_summary=False, **quiet
        )
        began = time.perf_counter()
        trainer.train()
    return time.perf_counter() - began


def _network(inputs: int, layers: int) -> Any:
    from pina.model import FeedForward

    return FeedForward(inputs, 1, inner_size=20, n_layers=layers, func=torch.nn.Tanh)


def _error(network: torch.nn.Module, x: torch.Tensor, exact: torch.Tensor) -> float:
    with torch.no_grad():
        return float((network(x) - exact).norm() / exact.norm())


def robin_rod(steps: int, seed: int) -> tuple[float, float]:
    pina = load(seed)
    from pina.equation import Equation, FixedValue
    from pina.operator import grad, laplacian
    from pina.problem import SpatialProblem

    def points(*values: float) -> Any:
        return pina.LabelTensor(torch.tensor(values)[:, None], ["x"])

    class Rod(SpatialProblem):
        output_variables = ["u"]  # noqa: RUF012
        spatial_domain = pina.domain.CartesianDomain({"x": [-1, 1]})
        domains = {"rod": spatial_domain}  # noqa: RUF012
        conditions = {  # noqa: RUF012
            "rod": pina.Condition(
                domain="rod", equation=Equation(lambda x, u: laplacian(u, x) - 2)
            ),
            "left": pina.Condition(input=points(-1.0), equation=FixedValue(0.0)),
            "right": pina.Condition(
                input=points(1.0), equation=Equation(lambda x, u: grad(u, x) - u)
            ),
        }

    rod, network = Rod(), _network(1, 2)
    rod.discretise_domain(50, "grid")
    seconds = _trained(rod, network, steps)
    x = torch.linspace(-1, 1, 101)[:, None]
    return _error(network, x, (x + 1) ** 2), seconds


def inverse_source(steps: int, seed: int) -> tuple[float, float]:
    """The constants are parameters of the network.

    Those of its ``InverseProblem`` are a parameter group of their own, of which torch's L-BFGS
    takes no notice: they would stay as they are.
    """
    pina = load(seed)
    from pina.equation import Equation, FixedValue
    from pina.operator import laplacian
    from pina.problem import SpatialProblem

    network = _network(1, 2)
    network.q, network.b = (torch.nn.Parameter(torch.tensor(1.0)) for _ in range(2))
    q, b = network.q, network.b
    readings = torch.linspace(0.1, 0.9, 10)[:, None]
    measured = 0.5 * readings + 1.5 * readings * (1 - readings)

    def points(x: torch.Tensor) -> Any:
        return pina.LabelTensor(x, ["x"])

    class Rod(SpatialProblem):
        output_variables = ["u"]  # noqa: RUF012
        spatial_domain = pina.domain.CartesianDomain({"x": [0, 1]})
        domains = {"rod": spatial_domain}  # noqa: RUF012
        conditions = {  # noqa: RUF012
            "rod": pina.Condition(
                domain="rod", equation=Equation(lambda x, u: laplacian(u, x) + q)
            ),
            "left": pina.Condition(input=points(torch.zeros(1, 1)), equation=FixedValue(0.0)),
            "right": pina.Condition(
                input=points(torch.ones(1, 1)), equation=Equation(lambda x, u: u - b)
            ),
            "readings": pina.Condition(
                input=points(readings), target=pina.LabelTensor(measured, ["u"])
            ),
        }

    rod = Rod()
    rod.discretise_domain(50, "grid")
    seconds = _trained(rod, network, steps)
    return max(abs(q.item() - 3), abs(b.item() - 0.5)), seconds


def parametric_heat(steps: int, seed: int) -> tuple[float, float]:
    pina = load(seed)
    from pina.domain import CartesianDomain
    from pina.equation import Equation, FixedValue
    from pina.operator import grad, laplacian
    from pina.problem import ParametricProblem, SpatialProblem, TimeDependentProblem

    pi = math.pi

    def law(x: Any, u: Any) -> Any:
        return grad(u, x, d="t") - x.extract("nu") * laplacian(u, x, d="x")

    def start(x: Any, u: Any) -> Any:
        return u - torch.sin(pi * x.extract("x"))

    class Heat(TimeDependentProblem, SpatialProblem, ParametricProblem):
        output_variables = ["u"]  # noqa: RUF012
        temporal_domain = CartesianDomain({"t": [0, 1]})
        spatial_domain = CartesianDomain({"x": [0, 1]})
        parameter_domain = CartesianDomain({"nu": [0.05, 0.2]})
        domains = {  # noqa: RUF012
            "inside": CartesianDomain({"t": [0, 1], "x": [0, 1], "nu": [0.05, 0.2]}),
            "start": CartesianDomain({"t": 0, "x": [0, 1], "nu": [0.05, 0.2]}),
            "left": CartesianDomain({"t": [0, 1], "x": 0, "nu": [0.05, 0.2]}),
            "right": CartesianDomain({"t": [0, 1], "x": 1, "nu": [0.05, 0.2]}),
        }
        conditions = {  # noqa: RUF012
            "inside": pina.Condition(domain="inside", equation=Equation(law)),
            "start": pina.Condition(domain="start", equation=Equation(start)),
            "left": pina.Condition(domain="left", equation=FixedValue(0.0)),
            "right": pina.Condition(domain="right", equation=FixedValue(0.0)),
        }

    heat = Heat()
    heat.discretise_domain(1000, "lh", domains="inside")
    heat.discretise_domain(150, "lh", domains="start")
    heat.discretise_domain(75, "lh", domains=["left", "right"])
    order = heat.input_variables
    bounds = {"t": (0.0, 1.0), "x": (0.0, 1.0), "nu": (0.05, 0.2)}
    low, high = torch.tensor([bounds[name] for name in order]).T
    network = _network(3, 3)
    first = network.model[0]
    with torch.no_grad():  # inputs of -1 to 1
        first.bias -= first.weight @ ((low + high) / (high - low))
        first.weight *= 2 / (high - low)
    seconds = _trained(heat, network, steps)
    points = low + (high - low) * torch.rand(2000, 3)
    t, x, n = (points[:, order.index(name)] for name in ("t", "x", "nu"))
    exact = torch.exp(-n * pi**2 * t) * torch.sin(pi * x)
    return _error(network, points, exact[:, None]), seconds


PROBLEMS: dict[str, Callable[[int, int], tuple[float, float]]] = {
    f.__name__: f for f in (robin_rod, inverse_source, parametric_heat)
}
