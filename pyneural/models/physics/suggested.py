"""The network and the training that a problem of ``pde.gallery`` suggests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pyneural.models.physics.pinn import PINN
from pyneural.models.physics.time_windows import TimeWindows
from pyneural.pde import Box
from pyneural.pde.gallery import Problem
from pyneural.training import LevenbergMarquardt, TrainingReport
from pyneural.training.callbacks import AdaptivePoints
from pyneural.training.checks import check


def suggested_pinn(
    problem: Problem,
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
    generator: torch.Generator | None = None,
) -> PINN:
    """The PINN of a problem's recipe; weights come from torch's default generator.

    Args:
        problem: of ``pde.gallery``, or your own.
        dtype: of network, points and the problem's constants, which are converted.
        device: likewise.
        generator: for the points; None makes one from torch's default generator.

    >>> from pyneural.pde.gallery import Heat
    >>> heat = Heat()
    >>> pinn = suggested_pinn(heat)
    >>> report = pinn.fit(**suggested_training(heat, share=0.05), progress=False)
    >>> 0 < pinn.relative_l2(*heat.test_grid()) < 2
    True
    """
    recipe, domain = problem.recipe, problem.to(device, dtype).domain
    network: Any = problem.network().to(device, dtype)
    if recipe.hard:
        network = problem.hard(network)
    conditions = {}
    if not recipe.hard:
        conditions = problem.conditions(
            recipe.condition_points, sampling="lhs", generator=generator, dtype=dtype, device=device
        )
    return PINN(
        network, conditions, equation=problem, domain=domain, points=recipe.points,
        sampling="sobol", adaptive=True, weights=recipe.weights, generator=generator,
    )  # fmt: skip


def suggested_training(problem: Problem, *, share: float = 1.0) -> dict[str, Any]:
    """The arguments of ``PINN.fit`` of a problem's recipe: phases and callbacks.

    Args:
        problem: of ``pde.gallery``, or your own.
        share: of the steps, > 0; less for a quick look.

    Raises:
        ValueError: a share that is not above zero.

    >>> from pyneural.pde.gallery import Heat
    >>> suggested_training(Heat(), share=0.01)["phases"][0].steps
    1
    """
    check(share > 0, "suggested_training: share", "a number > 0", share, "leave it out for 1")
    recipe = problem.recipe
    steps = max(1, round(share * recipe.steps))
    return {
        "phases": [LevenbergMarquardt(steps)], "callbacks": [AdaptivePoints(most=recipe.most)],
    }  # fmt: skip


@dataclass(frozen=True)
class Solved:
    """A problem's solution, and what was trained for it.

    Attributes:
        model: with ``predict`` and ``relative_l2``; after Ctrl-C, as far as it came.
        reports: of each training, of easier problems and of windows, too.
    """

    model: PINN | TimeWindows
    reports: Sequence[TrainingReport]

    @property
    def pinns(self) -> Sequence[PINN]:
        """Those that the solution is made of: one, or one for each window."""
        return self.model.windows if isinstance(self.model, TimeWindows) else [self.model]

    @property
    def seconds(self) -> float:
        """Of training."""
        return sum(report.seconds for report in self.reports)

    @property
    def steps(self) -> int:
        """Of training."""
        return sum(report.steps for report in self.reports)

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended it."""
        return any(report.interrupted for report in self.reports)


def solve(
    problem: Problem,
    *,
    share: float = 1.0,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
    generator: torch.Generator | None = None,
    progress: bool = True,
) -> Solved:
    """Solves a problem as its recipe says; weights come from torch's default generator.

    One PINN, or one for each window of the time. Where the problem has easier ones before it, as a
    flow those of lower Reynolds numbers, each begins with the weights of the last.

    Args:
        problem: of ``pde.gallery``, or your own.
        share: of the steps, > 0; less for a quick look.
        dtype: of networks, points and the problem's constants; windows are in float64.
        device: likewise.
        generator: for the points; None makes one from torch's default generator.
        progress: whether to show bars, on stderr.

    Raises:
        ValueError: a share that is not above zero, or windows in another dtype than float64.

    >>> from pyneural.pde.gallery import Heat
    >>> heat = Heat()
    >>> solved = solve(heat, share=0.05, progress=False)
    >>> 0 < solved.model.relative_l2(*heat.test_grid()) < 2, solved.steps
    (True, 4)
    """
    given: dict[str, Any] = {"device": device, "dtype": dtype, "generator": generator}
    if problem.recipe.windows > 1:
        model = _windows(problem, **given)
        training = suggested_training(problem, share=share)
        return Solved(model, model.fit(**training, progress=progress))
    reports: list[TrainingReport] = []
    before: PINN | None = None
    for one in (*problem.easier(), problem):
        pinn = suggested_pinn(one, **given)
        if before is not None:
            pinn.warm_start(before)
        # After Ctrl-C the weights are handed on, so that the model is one of the problem itself.
        if not (reports and reports[-1].interrupted):
            reports.append(pinn.fit(**suggested_training(one, share=share), progress=progress))
        before = pinn
    return Solved(pinn, reports)


def _windows(
    problem: Problem,
    dtype: torch.dtype,
    device: torch.device | str,
    generator: torch.Generator | None,
) -> TimeWindows:
    where, count = "solve: dtype", problem.recipe.windows
    check(dtype == torch.float64, where, "float64 for time windows", dtype, "leave it out")
    domain: Any = problem.to(device, dtype).domain
    bounds = {
        name: (float(low), float(high))
        for name, low, high in zip(domain.names, *domain.range, strict=True)
    }
    first, last = bounds.pop("t")
    times = [first + (last - first) * number / count for number in range(count)] + [last]

    def make(part: Any, start: Any) -> PINN:
        return PINN(
            problem.window(part, start).to(device), {}, equation=problem, domain=part,
            points=problem.recipe.points, sampling="sobol", adaptive=True, generator=generator,
        )  # fmt: skip

    return TimeWindows(make, Box(**bounds), times, problem.initial)
