"""A training that goes on: what it cannot do any more, and why it has nothing to do."""

from collections.abc import Sequence
from typing import Any

from pyneural.training.checks import check
from pyneural.training.solvers.base import Phase, PhaseReport
from pyneural.training.state.file import CheckpointError

ALL_STEPS = "all steps done"


def check_finished(reports: Sequence[PhaseReport], phases: Sequence[Phase]) -> None:
    """CheckpointError where a phase that is over, as all its steps were made, is given more."""
    for number, (done, phase) in enumerate(zip(reports, phases, strict=False), 1):
        good = done.reason != ALL_STEPS or phase.steps is None or phase.steps <= done.steps
        expected = f"{done.steps}, which were made before phase {number + 1} began"
        where, remedy = f"resume: phase {number} ({phase.name}): steps", "give more to the last one"
        check(good, where, expected, phase.steps, remedy, CheckpointError)


def nothing_to_do(run: Any) -> str:
    """Why a training that was to go on has made no step, and the remedy."""
    if run.history.stopped is not None:
        why = f"the training had been stopped ({run.history.stopped})"
        remedy = "to go on from these weights, fit again without resuming"
    elif run.solver.reason is not None:
        why, remedy = f"its last phase had {run.solver.reason}", "append another phase"
    else:
        why = f"all of its {run.steps:,} steps had been made"
        remedy = "give more steps to the last phase, or append one"
    return f"fit: no step was made, as {why}; {remedy}"
