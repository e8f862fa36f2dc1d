"""Normalizing flows beside zuko, with the same weights, and FlowJAX: training, sampling, densities.

A step is the mean negative log-likelihood of a batch, its gradient, and the change of the weights
by Adam; loss and gradients are first compared with float64. Sampling passes fixed points of the
base distribution backwards through the transforms; the samples are compared, and so are the
log-densities of the rows, which are exact but for the tolerance of the integration of a CNF.
FlowJAX has weights of its own, and is timed alone.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bench.comparison import Comparison, timed_rows, validated
from bench.comparison import add_arguments as add_common_arguments
from bench.harness import Implementation
from bench.peers import flows_flowjax
from pyneural import optim

# float32: gradients of many layers, and of a sample what D inversions in turn make of rounding.
TOLERANCE = {torch.float32: 5e-3, torch.float64: 1e-8}
LEARNING_RATE = 1e-4
CASES = (
    "NSF:7:step",
    "MAF:7:step",
    "RealNVP:7:step",
    "NSF:7:sample",
    "NSF:64:sample",
    "CNF:7:step",
    "CNF:7:log_prob",
)
WORKS = {"step": "training step", "sample": "sampling", "log_prob": "log-density"}


@dataclass(frozen=True)
class Case:
    """A flow of some features, and what is done with it."""

    flow: str
    features: int
    work: str
    transforms: int = 5
    hidden: tuple[int, ...] = (128, 128)
    rows: int = 1024

    @staticmethod
    def parse(text: str) -> Case:
        """FLOW:FEATURES:step, sample or log_prob.

        >>> Case.parse("NSF:7:sample").features
        7
        """
        parts = text.split(":")
        if len(parts) != 3 or not parts[1].isdigit() or parts[2] not in WORKS:
            expected = "FLOW:FEATURES:step, sample or log_prob"
            raise ValueError(f"--case: expected {expected}, got {text!r}")
        return Case(parts[0], int(parts[1]), parts[2])

    @property
    def title(self) -> str:
        networks = "a network" if self.flow == "CNF" else f"{self.transforms} transforms"
        units = " x ".join(map(str, self.hidden))
        what = f"{self.flow}, {self.features} features"
        return f"{what}, {networks} with {units} units, {self.rows} rows: {WORKS[self.work]}"

    def make(self, package: Any) -> torch.nn.Module:
        """The flow of ``zuko.flows`` or ``pyneural.models``."""
        options: dict[str, Any] = {"hidden_features": self.hidden}
        if self.flow != "CNF":
            options["transforms"] = self.transforms
        return getattr(package, self.flow)(self.features, **options)


@dataclass(frozen=True)
class Problem:
    """A case with its weights and its rows, of data or of the base distribution."""

    case: Case
    weights: dict[str, Tensor]
    x: Tensor
    learning_rate: float = LEARNING_RATE

    @staticmethod
    def random(case: Case, dtype: torch.dtype, seed: int) -> Problem:
        ours = importlib.import_module("pyneural.models")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            flow = case.make(ours).to(dtype)
            x = torch.randn(case.rows, case.features, dtype=torch.float64).to(dtype)
        return Problem(case, {k: v.clone() for k, v in flow.state_dict().items()}, x)

    def double(self) -> Problem:
        """The same numbers in float64."""
        weights = {k: v.double() if v.is_floating_point() else v for k, v in self.weights.items()}
        return Problem(self.case, weights, self.x.double())

    def operations(self) -> int:
        """Of the products with weights that are not masked, two a multiply-add; of a CNF none."""
        if self.case.flow == "CNF":
            return 0
        edges = sum(
            int(self.weights.get(name.removesuffix("weight") + "mask", weight != 0).sum())
            for name, weight in self.weights.items()
            if name.endswith("weight")
        )
        return 2 * self.case.rows * edges * (3 if self.case.work == "step" else 1)


def build(package: str, problem: Problem, compiled: bool = False) -> Callable[[], Any]:
    """A call that does the work with the flow of that package."""
    flow = problem.case.make(importlib.import_module(package)).to(problem.x.dtype)
    flow.load_state_dict(problem.weights)
    parameters, ours = list(flow.parameters()), package == "pyneural.models"
    if problem.case.work != "step":

        def sample(z: Tensor) -> Tensor:
            with torch.no_grad():
                return flow().transform.inv(z)

        def log_prob(x: Tensor) -> Tensor:
            with torch.no_grad():
                return flow().log_prob(x)

        work = sample if problem.case.work == "sample" else log_prob
        chosen = torch.compile(work, dynamic=False) if compiled else work
        return lambda: [chosen(problem.x)]

    optimizer = (optim if ours else torch.optim).Adam(parameters, LEARNING_RATE, fused=True)

    def loss_of(x: Tensor) -> Tensor:
        # What the training of each minimises.
        return flow.mean_nll(x) if ours else -flow().log_prob(x).mean()

    loss_by = torch.compile(loss_of, dynamic=False) if compiled else loss_of

    def step() -> list[Tensor | None]:
        optimizer.zero_grad()
        loss = loss_by(problem.x)
        loss.backward()
        optimizer.step()
        return [loss, *(parameter.grad for parameter in parameters)]

    return step


OURS = Implementation("pyneural", "pyneural", partial(build, "pyneural.models"))
PEERS = [
    Implementation("zuko", "eager", partial(build, "zuko.flows")),
    Implementation(
        "zuko, compiled", "compile", partial(build, "zuko.flows", compiled=True), compiles=True
    ),
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--case", nargs="+", default=CASES, metavar="FLOW:FEATURES:WORK")
    add_common_arguments(parser, ["eager", "compile", "jax"])


def run(options: argparse.Namespace) -> int:
    try:
        cases = [Case.parse(text) for text in options.case]
        comparison = Comparison("flows", "normalizing flows", options)
    except ValueError as error:
        print(f"bench flows: {error}")
        return 2
    print("peak: share of the multiply-add probe, counting products with weights that are present")
    passed = True
    for case in cases:
        print(f"\n{case.title}", flush=True)
        problem = Problem.random(case, comparison.dtype, options.seed)
        oracle = [t.clone() for t in build("pyneural.models", problem.double())()]
        limit = TOLERANCE[comparison.dtype]
        chosen = comparison.chosen([OURS, *PEERS])
        found = validated(problem, chosen, oracle, limit)
        jax = comparison.chosen([flows_flowjax.IMPLEMENTATION])
        if jax:
            flows_flowjax.added(problem, *found)
        entry, right = timed_rows(comparison, problem, [*chosen, *jax], *found)
        comparison.entry["cases"].append({"case": case.title, **entry})
        comparison.keep()
        passed &= right
    if comparison.path:
        print(f"kept in {comparison.path}")
    return 0 if passed else 1
