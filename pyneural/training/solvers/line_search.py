"""A step length that meets the strong Wolfe conditions."""

import math
from collections.abc import Callable
from typing import Generic, TypeVar

from typing_extensions import NamedTuple  # typing's is not Generic in Python 3.10

Found = TypeVar("Found")

DECREASE, CURVATURE = 1e-4, 0.9  # c1 and c2, as is usual for quasi-Newton methods
EVALUATIONS = 25  # at most
_GROWTH = 10.0  # of the step at most from one trial to the next
_MARGIN = 0.1  # of an interval: how near to its ends no trial is made
_SHORTER = 0.1  # where a trial is not finite


class Trial(NamedTuple, Generic[Found]):
    """A point on the line: its step, loss and slope there, and what else was found."""

    step: float
    loss: float
    slope: float
    found: Found

    @property
    def finite(self) -> bool:
        """Whether loss and slope are."""
        return math.isfinite(self.loss) and math.isfinite(self.slope)


def strong_wolfe(
    evaluate: Callable[[float], Trial[Found]], start: Trial[Found], step: float
) -> tuple[Trial[Found], bool]:
    """Searches for a step alpha > 0 along a line on which phi(alpha) is the loss.

        phi(alpha)    <= phi(0) + c1 alpha phi'(0)        it falls enough
        |phi'(alpha)| <= c2 |phi'(0)|                     it is flat enough

    (Nocedal and Wright 2006, algorithms 3.5 and 3.6, c1 = 1e-4, c2 = 0.9): trials grow until a
    minimum is bracketed, then the bracket shrinks by cubic interpolation of two losses and slopes.
    A trial that is not finite counts as one whose loss is too large.

    Args:
        evaluate: the trial at a step.
        start: that at step 0, with a slope < 0.
        step: of the first trial, > 0.

    Returns:
        the trial that was found, and whether it meets both conditions. If it does not, as where
        rounding hides the decrease, it is the lowest that was seen, which may be the start.

    >>> def evaluate(step):
    ...     return Trial(step, (step - 3) ** 2, 2 * (step - 3), None)
    >>> found, good = strong_wolfe(evaluate, evaluate(0.0), 1.0)
    >>> found.step, good
    (1.0, True)
    """
    low, high, trials = start, None, 0  # the bracket: where the loss is lowest, the other end

    def falls_enough(trial: Trial[Found]) -> bool:
        return trial.finite and trial.loss <= start.loss + DECREASE * trial.step * start.slope

    while trials < EVALUATIONS:
        trial = evaluate(step)
        trials += 1
        if not falls_enough(trial) or trial.loss >= low.loss:
            high = trial
        elif abs(trial.slope) <= -CURVATURE * start.slope:
            return trial, True
        else:
            # Downhill from the new point lies away from the old one, or between the two.
            ahead = 1.0 if high is None else high.step - low.step
            if trial.slope * ahead >= 0:
                high = low
            before, low = low, trial
            if high is None:
                step = _further(before, low)
                continue
        step = _between(low, high)
        if not min(low.step, high.step) < step < max(low.step, high.step):
            break  # no number lies between them
    return low, False


def _further(before: Trial, last: Trial) -> float:
    """A longer step, by the cubic through the last two trials."""
    step, length = _cubic_minimum(before, last), last.step - before.step
    nearest, furthest = last.step + _MARGIN * length, _GROWTH * last.step
    return furthest if step is None or step <= last.step else min(max(step, nearest), furthest)


def _between(low: Trial, high: Trial) -> float:
    """A step inside the bracket, not too near to its ends."""
    length = high.step - low.step
    if not high.finite:
        return low.step + _SHORTER * length
    step = _cubic_minimum(low, high)
    part = 0.5 if step is None else (step - low.step) / length
    return low.step + min(max(part, _MARGIN), 1 - _MARGIN) * length


def _cubic_minimum(a: Trial, b: Trial) -> float | None:
    """Where the cubic with the losses and slopes of two trials is least (their equation 3.59)."""
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.step - b.step)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return None
    d2 = math.copysign(math.sqrt(square), b.step - a.step)
    below = b.slope - a.slope + 2 * d2
    if below == 0:
        return None
    step = b.step - (b.step - a.step) * (b.slope + d2 - d1) / below
    return step if math.isfinite(step) else None
