"""The network and the training that a problem of ``pde.gallery`` suggests."""

from __future__ import annotations

from typing import Any

import torch

from pyneural.models.physics.pinn import PINN
from pyneural.pde.gallery import Problem
from pyneural.training import LevenbergMarquardt
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
