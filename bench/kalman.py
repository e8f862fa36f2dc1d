"""Linear state-space models: pyneural and statsmodels.

    forward: log-likelihood and smoothed states of a series
    forward + backward: log-likelihood and its gradient for all matrices; statsmodels has none, and
    finds the derivative along a single direction from two more log-likelihoods

The results are first compared with those of statsmodels in float64. One series: neither uses a
second thread.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from bench.comparison import Comparison, compared, run_bench
from bench.comparison import add_arguments as add_common_arguments
from bench.harness import Implementation
from pyneural.models import StateSpaceModel

CASES = ("50000x2x1", "5000x6x3")
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-8}
GRADIENT_TOLERANCE = {torch.float32: 1e-2, torch.float64: 1e-5}  # of the central differences
DIFFERENCE = 1e-5
NAMES = "transition", "observation", "process_noise", "observation_noise"


@dataclass(frozen=True)
class Case:
    """A series of T steps with n states and p observations."""

    steps: int
    states: int
    observations: int

    @staticmethod
    def parse(text: str) -> Case:
        parts = text.split("x")
        if len(parts) != 3 or not all(part.isdigit() and int(part) for part in parts):
            raise ValueError(f"case: expected STEPSxSTATESxOBSERVATIONS, got {text!r}")
        return Case(*map(int, parts))

    @property
    def title(self) -> str:
        return f"{self.steps:,} steps, {self.states} states, {self.observations} observed"


@dataclass(frozen=True)
class Problem:
    """A stable model, a series drawn from it, and a direction in the space of its matrices."""

    backward: bool
    model: StateSpaceModel
    y: Tensor
    direction: dict[str, Tensor]

    @staticmethod
    def random(case: Case, backward: bool, dtype: torch.dtype, seed: int) -> Problem:
        generator = torch.Generator().manual_seed(seed)
        n, p = case.states, case.observations

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        def covariance(size: int) -> Tensor:
            root = normal(size, size)
            return root @ root.mT / size + 0.2 * torch.eye(size, dtype=torch.float64)

        Phi = normal(n, n)
        Phi = 0.95 * Phi / torch.linalg.eigvals(Phi).abs().max()
        parts = Phi, normal(p, n), covariance(n), covariance(p), normal(n), covariance(n)
        model = StateSpaceModel(*parts)
        _, y = model.simulate(case.steps, seed)
        direction = {name: normal(*getattr(model, name).shape) for name in NAMES[:2]}
        for name in NAMES[2:]:
            root = normal(*getattr(model, name).shape)
            direction[name] = root + root.mT
        rounded = StateSpaceModel(*(part.to(dtype) for part in parts))
        return Problem(backward, rounded, y.to(dtype), direction)

    def operations(self) -> int:
        """Of the products in a step of the filter; smoother or gradient take twice as many."""
        n, p = self.model.observation.shape[::-1]
        a_filter = 4 * n**3 + 6 * n**2 * p + 3 * n * p**2 + p**3
        return 3 * 2 * len(self.y) * a_filter


def build_ours(problem: Problem) -> Callable[[], list[Tensor]]:
    if not problem.backward:

        def forward() -> list[Tensor]:
            with torch.no_grad():
                found = problem.model.smooth(problem.y)
            return [found.log_likelihood, found.mean, found.covariance]

        return forward
    leaves = {name: getattr(problem.model, name).requires_grad_() for name in NAMES}

    def both() -> list[Tensor]:
        value = problem.model.filter(problem.y).log_likelihood
        grads = torch.autograd.grad(value, list(leaves.values()))
        pairs = zip(grads, problem.direction.values(), strict=True)
        return [value, torch.stack([(g.double() * d).sum() for g, d in pairs]).sum()]

    return both


def statsmodels_smoother(model: StateSpaceModel, y: Tensor) -> Any:
    import numpy as np
    from statsmodels.tsa.statespace.kalman_smoother import KalmanSmoother

    p, n = model.observation.shape
    smoother = KalmanSmoother(k_endog=p, k_states=n)
    smoother.bind(np.ascontiguousarray(y.numpy()))
    smoother["selection"] = np.eye(n, dtype=y.numpy().dtype)
    for key, name in zip(("transition", "design", "state_cov", "obs_cov"), NAMES, strict=True):
        smoother[key] = getattr(model, name).detach().numpy()
    smoother.initialize_known(model.initial_mean.numpy(), model.initial_covariance.numpy())
    return smoother


def build_statsmodels(problem: Problem) -> Callable[[], list[Tensor]]:
    model, y = problem.model, problem.y
    if not problem.backward:
        smoother = statsmodels_smoother(model, y)

        def forward() -> list[Tensor]:
            found = smoother.smooth()
            covariance = found.smoothed_state_cov.transpose(2, 0, 1)
            return [
                torch.tensor(found.llf),
                *map(torch.tensor, (found.smoothed_state.T, covariance)),
            ]

        return forward
    smoothers = []
    for step in (0, DIFFERENCE, -DIFFERENCE):
        moved = {
            name: getattr(model, name).detach() + (step * problem.direction[name]).to(y.dtype)
            for name in NAMES
        }
        smoothers.append(statsmodels_smoother(replace(model, **moved), y))

    def both() -> list[Tensor]:
        value, after, before = (torch.tensor(smoother.loglike()) for smoother in smoothers)
        return [value, (after - before) / (2 * DIFFERENCE)]

    return both


def oracle_of(problem: Problem) -> list[Tensor]:
    """What a call must give, by statsmodels in float64."""
    parts = (getattr(problem.model, field.name) for field in fields(problem.model)[:6])
    model = StateSpaceModel(*(part.detach().double() for part in parts))
    return build_statsmodels(replace(problem, model=model, y=problem.y.double()))()


OURS = Implementation("pyneural", "pyneural", build_ours)
PEERS = [Implementation("statsmodels", "statsmodels", build_statsmodels)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--case", nargs="+", default=CASES, metavar="STEPSxSTATESxOBSERVATIONS")
    add_common_arguments(parser, [peer.group for peer in PEERS], ("float64", "float32"))


def run(options: argparse.Namespace) -> int:
    return run_bench(
        "kalman",
        "state-space models",
        options,
        lambda: [Case.parse(text) for text in options.case],
        bench_case,
        counting="the products of a filter's step, three times with smoother or gradient",
    )


def bench_case(case: Case, backward: bool, comparison: Comparison) -> tuple[dict[str, Any], bool]:
    """The figures of one case, and whether ours agree with the oracle."""
    problem = Problem.random(case, backward, comparison.dtype, comparison.options.seed)
    limits = GRADIENT_TOLERANCE if backward else TOLERANCE
    oracle = oracle_of(problem)
    return compared(comparison, problem, [OURS, *PEERS], oracle, limits[comparison.dtype])
