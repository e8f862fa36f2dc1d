"""Diffusion on rows beside torch, with the same weights: sampling, and training the denoiser.

Sampling takes 10,000 rows through 100 steps of a denoiser with three layers of 128 units. The peer
is what one writes with torch.nn: a loop over the steps, each compiled as a whole by torch.compile.
Samples without chance (DDIM, the equation of flow matching) are compared with float64; of ancestral
ones, with other noise, mean and standard deviation. A training step is the loss at random
times, its gradient, and the change of the weights by Adam; loss and gradients are compared.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bench.comparison import Comparison, compared
from bench.comparison import add_arguments as add_common_arguments
from bench.harness import Implementation
from pyneural.models import DDPM, FlowMatching, MLPDenoiser
from pyneural.models.diffusion.samplers import ddim_steps

TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-8}
MOMENTS_TOLERANCE = 0.05  # of 10,000 samples with other noise
LEARNING_RATE = 1e-4
UNITS, STEPS, FREQUENCIES = (128, 128, 128), 100, 8
WORKS = {
    "ancestral": "ancestral sampling",
    "ddim": "DDIM sampling",
    "ode": "flow matching by 25 steps of Runge and Kutta",
    "step": "training step",
}
CASES = ("2:ancestral", "7:ancestral", "2:ddim", "7:ddim", "7:ode", "7:step")


@dataclass(frozen=True)
class Case:
    """Rows of some features, and what is done with them."""

    features: int
    work: str
    rows: int = 10_000
    steps: int = STEPS
    units: tuple[int, ...] = UNITS

    @staticmethod
    def parse(text: str) -> Case:
        """FEATURES:WORK.

        >>> Case.parse("7:step").rows
        1024
        """
        features, _, work = text.partition(":")
        if not features.isdigit() or work not in WORKS:
            expected = f"FEATURES:{', '.join(WORKS)}"
            raise ValueError(f"--case: expected {expected}, got {text!r}")
        return Case(int(features), work, 1024 if work == "step" else 10_000)

    @property
    def title(self) -> str:
        steps = "" if self.work == "step" else f", {self.steps} evaluations"
        units = " x ".join(map(str, self.units))
        return (
            f"{self.features} features, {units} units, {self.rows} rows{steps}: "
            + (WORKS[self.work])
        )


@dataclass(frozen=True)
class Problem:
    """A case with the weights of its model, and rows: of data, or of noise to begin with."""

    case: Case
    weights: dict[str, Tensor]
    x: Tensor
    t: Tensor  # of a training step, and its noise
    eps: Tensor

    @staticmethod
    def random(case: Case, dtype: torch.dtype, seed: int) -> Problem:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = make_model(case).to(dtype)
            model.shift.uniform_(1, 2)
            shape = case.rows, case.features
            x, eps = torch.randn(2, *shape, dtype=torch.float64).to(dtype)
            t = torch.randint(1, 1001, (case.rows,))
        return Problem(case, {k: v.clone() for k, v in model.state_dict().items()}, x, t, eps)

    def double(self) -> Problem:
        """The same numbers in float64."""
        weights = {k: v.double() if v.is_floating_point() else v for k, v in self.weights.items()}
        return Problem(self.case, weights, self.x.double(), self.t, self.eps.double())

    def model(self) -> Any:
        model = make_model(self.case).to(self.x.dtype)
        model.load_state_dict(self.weights)
        return model

    def operations(self) -> int:
        """Of the products, two a multiply-add; in sampling, the time adds none to a row."""
        case = self.case
        widths = [case.features, *case.units, case.features]
        edges = sum(a * b for a, b in itertools.pairwise(widths))
        if case.work == "step":
            edges += 2 * FREQUENCIES * case.units[0]
            return 2 * 3 * case.rows * edges
        return 2 * case.rows * case.steps * edges


def make_model(case: Case) -> Any:
    denoiser = MLPDenoiser(case.features, case.units, frequencies=FREQUENCIES)
    return FlowMatching(denoiser) if case.work == "ode" else DDPM(denoiser, "cosine", "v")


def measured(case: Case, x: Tensor) -> list[Tensor]:
    """What is compared of samples."""
    return [x.mean(0), x.std(0)] if case.work == "ancestral" else [x]


def training(model: Any, loss_of: Callable[[], Tensor]) -> Callable[[], Any]:
    parameters = list(model.parameters())
    optimizer = torch.optim.Adam(parameters, LEARNING_RATE, fused=True)

    def step() -> list[Tensor | None]:
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        optimizer.step()
        return [loss, *(parameter.grad for parameter in parameters)]

    return step


def build_ours(problem: Problem) -> Callable[[], Any]:
    case, model = problem.case, problem.model()
    if case.work == "step":
        given = problem.x, problem.t, problem.eps
        return training(model, lambda: model.errors_at(*given).mean())
    options: dict[str, Any] = {"steps": case.steps, "eta": float(case.work == "ancestral")}
    if case.work == "ode":
        options = {"steps": case.steps // 4}
    model.noise_and_condition = lambda *_: (problem.x, None)
    return lambda: measured(case, model.sample(case.rows, **options))


class TorchDenoiser(torch.nn.Module):
    """The same network of torch.nn's layers alone."""

    def __init__(self, denoiser: MLPDenoiser) -> None:
        super().__init__()
        layers: list[torch.nn.Module] = []
        for layer in denoiser.network.layers:
            layers += [layer, torch.nn.SiLU()]
        self.network = torch.nn.Sequential(*layers[:-1])
        self.register_buffer("frequencies", denoiser.frequencies.clone())

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        phase = t[:, None] * self.frequencies
        return self.network(torch.cat([phase.cos(), phase.sin(), x], 1))


def build_torch(problem: Problem, compiled: bool = False) -> Callable[[], Any]:
    case, model = problem.case, problem.model()
    network = TorchDenoiser(model.denoiser).to(problem.x.dtype)
    by: Any = partial(torch.compile, dynamic=False) if compiled else lambda f: f
    if case.work == "step":
        return torch_training(problem, model, network, by)
    ancestral = case.work == "ancestral"

    def step(x: Tensor, t: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        x = a * x + b * network(x, t.expand(len(x)))
        return x + c * torch.randn_like(x) if ancestral else x

    def runge_kutta(x: Tensor, t: Tensor, h: Tensor) -> Tensor:
        slope = lambda t, x: network(x, t.expand(len(x)))  # noqa: E731
        first = slope(t, x)
        second = slope(t + h / 2, x + h / 2 * first)
        third = slope(t + h / 2, x + h / 2 * second)
        fourth = slope(t + h, x + h * third)
        return x + h / 6 * (first + 2 * second + 2 * third + fourth)

    if case.work == "ode":
        function = by(runge_kutta)
        count = case.steps // 4
        rows = [(i / count, 1 / count) for i in range(count)]
    else:
        function = by(step)
        times = model._schedule.times(case.steps)
        table = ddim_steps(model._schedule, model._target, times, float(ancestral))
        rows = [(t / model.steps, *row) for t, row in zip(times, table.tolist(), strict=True)]
    numbers = problem.x.new_tensor(rows)

    def sample() -> list[Tensor]:
        x = problem.x
        with torch.no_grad():
            for row in numbers:
                x = function(x, *row)
            return measured(case, x * model.scale + model.shift)

    return sample


def torch_training(problem: Problem, model: Any, network: Any, by: Any) -> Callable[[], Any]:
    x = problem.x

    def loss_of(t: Tensor, eps: Tensor) -> Tensor:
        alpha, sigma = (of_t.to(x.dtype)[t][:, None] for of_t in (model.alpha, model.sigma))
        found = network(alpha * x + sigma * eps, t.to(x.dtype) / model.steps)
        return (found - (alpha * eps - sigma * x)).square().mean(1).mean()

    function = by(loss_of)

    return training(network, lambda: function(problem.t, problem.eps))


OURS = Implementation("pyneural", "pyneural", build_ours)
PEERS = [
    Implementation("torch", "eager", build_torch),
    Implementation("torch.compile", "compile", partial(build_torch, compiled=True), compiles=True),
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--case", nargs="+", default=CASES, metavar="FEATURES:WORK")
    add_common_arguments(parser, ["eager", "compile"])


def run(options: argparse.Namespace) -> int:
    try:
        cases = [Case.parse(text) for text in options.case]
        comparison = Comparison("diffusion", "diffusion", options)
    except ValueError as error:
        print(f"bench diffusion: {error}")
        return 2
    print("peak: share of the multiply-add probe, counting products")
    passed = True
    for case in cases:
        print(f"\n{case.title}", flush=True)
        problem = Problem.random(case, comparison.dtype, options.seed)
        oracle = [t.detach().clone() for t in build_torch(problem.double())()]
        limit = MOMENTS_TOLERANCE if case.work == "ancestral" else TOLERANCE[comparison.dtype]
        entry, right = compared(comparison, problem, [OURS, *PEERS], oracle, limit)
        comparison.entry["cases"].append({"case": case.title, **entry})
        comparison.keep()
        passed &= right
    if comparison.path:
        print(f"kept in {comparison.path}")
    return 0 if passed else 1
