"""What the curves of a training say, in words.

The labels name the faults that a curve shows. They are rules of thumb on the logarithm of the loss,
l_e = log(loss of epoch e), whose changes do not depend on the unit of the loss. Where the loss is
below 0, as the negative logarithm of a density may be, its changes are measured by its range.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pyneural.training.checks import check

STILL_LEARNING = "still learning"
OVERFITTING = "overfitting"
JUMPS = "jumps"
VALIDATION_BELOW = "validation below training"
RATE_TOO_HIGH = "learning rate too high"
RATE_TOO_LOW = "learning rate too low"
DIVERGED = "diverged"
TOO_SHORT = "too few epochs"

_AGAINST_OVERFITTING = "stop there (EarlyStopping), take more data, dropout or a smaller network"
_FEWEST_EPOCHS = 8  # below, a change cannot be told from chance

# Thresholds, all in l unless they are said to be ratios; e.g. 0.02 is 2 %.
_FALL_AT_THE_END = 0.02  # between the last fifth of the epochs and the one before
_RISE_OF_VALIDATION = 0.05  # above its best value
_JUMP = 0.3  # from one epoch to the next ...
_JUMP_OVER_NOISE = 6.0  # ... and this multiple of the usual change
_OFTEN = 0.1  # share of the epochs; more are no jumps but noise
_BELOW = 0.12  # validation below training
_ROUGH = 0.12  # standard deviation of the changes in the second half
_STAYS = 0.5  # a larger fall in the second half is progress
_CREEPS = 0.1  # fall of the whole training
_UNCHANGED = 0.02  # from the first epoch on
_BENT = 0.4  # ratio of the falls in second and first half where the curve flattens out


@dataclass(frozen=True)
class Finding:
    """One thing that the curve shows: its label, how that is seen, what to do."""

    label: str
    reason: str
    suggestion: str

    def __str__(self) -> str:
        return f"{self.label}: {self.reason}; {self.suggestion}"


@dataclass(frozen=True)
class Diagnosis:
    """What a loss curve shows; empty where it is as it should be."""

    findings: tuple[Finding, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the findings."""
        return tuple(finding.label for finding in self.findings)

    def __str__(self) -> str:
        healthy = "nothing wrong: the loss has fallen and flattened out"
        return "\n".join(map(str, self.findings)) or healthy


def diagnose(loss: Sequence[float], val_loss: Sequence[float] | None = None) -> Diagnosis:
    """What curves of training and validation loss show; below 8 epochs, which way they go.

    >>> diagnose([1.0, 3.0, float("inf")]).labels
    ('diverged',)
    >>> falling = [0.9**epoch for epoch in range(20)]
    >>> print(diagnose(falling))
    still learning: the loss fell by 34 % over the last fifth of the epochs; train for more epochs
    """
    curve = np.asarray(loss, dtype=float)
    beside = None if val_loss is None else np.asarray(val_loss, dtype=float)
    if beside is not None:
        expected, remedy = f"{len(curve)} epochs, as loss has", "give both curves of one training"
        good = len(beside) == len(curve)
        check(good, "diagnose: val_loss", expected, len(beside), remedy)
    diverged = _diverged(curve)
    if diverged is not None:
        return Diagnosis((diverged,))
    if len(curve) < _FEWEST_EPOCHS:
        return Diagnosis((_too_short(curve, beside),))
    if curve.min() < 0:
        return Diagnosis(tuple(_of_any_sign(curve, beside)))
    tiny = np.finfo(float).tiny  # of a loss that reached 0
    levels = np.log(np.maximum(curve, tiny))
    held_out = None
    if beside is not None and np.isfinite(beside).all():
        held_out = np.log(np.maximum(beside, tiny))
    places = _jump_places(levels)
    jumps = _jumps(levels, places)
    # A loss that was smooth until it jumped is rough only since.
    late = len(places) > 0 and places[0] > len(levels) // 2
    until = levels[: places[0]] if late else levels
    found = [_rate_too_low(levels), _rate_too_high(until) or _rises(levels, jumps), jumps]
    if held_out is not None:
        found += [_overfitting(levels, held_out), _validation_below(levels, held_out)]
    labels = {finding.label for finding in found if finding is not None}
    if not labels & {RATE_TOO_LOW, RATE_TOO_HIGH, OVERFITTING}:
        found.append(_still_learning(levels, held_out))
    return Diagnosis(tuple(finding for finding in found if finding is not None))


def _diverged(loss: np.ndarray) -> Finding | None:
    bad = np.flatnonzero(~np.isfinite(loss))
    remedy = "divide the learning rate by 10, scale the data, or clip the gradient (clip_norm)"
    if len(bad):
        return Finding(DIVERGED, f"the loss is {loss[bad[0]]} in epoch {bad[0] + 1}", remedy)
    if len(loss) > 1 and loss.min() >= 0 and loss[-1] > 2 * loss[0]:
        times = loss[-1] / loss[0] if loss[0] > 0 else float("inf")
        return Finding(DIVERGED, f"the last loss is {times:.3g} times the first", remedy)
    return None


def _too_short(loss: np.ndarray, held_out: np.ndarray | None) -> Finding:
    many = "1 epoch" if len(loss) == 1 else f"{len(loss) or 'no'} epochs"
    seen = [f"after {many} a trend cannot be told from chance"]
    if len(loss) > 1:
        way = "fell" if loss[-1] < loss[0] else "did not fall"
        seen.append(f"the loss {way}, from {loss[0]:.4g} to {loss[-1]:.4g}")
    if held_out is not None and len(loss) > 1 and np.isfinite(held_out).any():
        best = int(np.nanargmin(np.where(np.isfinite(held_out), held_out, np.nan)))
        seen.append(f"the validation loss was best in epoch {best + 1} ({held_out[best]:.4g})")
    remedy = f"train for {_FEWEST_EPOCHS} epochs or more, or wait longer before stopping (patience)"
    return Finding(TOO_SHORT, ", ".join(seen), remedy)


def _of_any_sign(loss: np.ndarray, held_out: np.ndarray | None) -> list[Finding]:
    """Of a loss that has no logarithm: changes in parts of its range."""
    size, width = float(np.ptp(loss)), _fifth(loss)
    if size <= _UNCHANGED * 1e-2 * float(np.abs(loss).max()):
        reason = f"the loss stays near {loss[0]:.4g}"
        return [Finding(RATE_TOO_LOW, reason, "multiply the learning rate by 10")]
    last, before = float(np.median(loss[-width:])), float(np.median(loss[-2 * width : -width]))
    best = int(loss.argmin())
    if last - loss[best] > _JUMP * size:
        reason = f"the loss was lowest in epoch {best + 1} ({loss[best]:.4g}) and is {last:.4g} now"
        remedy = "divide the learning rate by 10 and start anew, or clip the gradient (clip_norm)"
        return [Finding(RATE_TOO_HIGH, reason, remedy)]
    found = []
    if held_out is not None and np.isfinite(held_out).all():
        best = int(held_out.argmin())
        end = float(np.median(held_out[-width:]))
        rise, noise = end - held_out[best], float(np.diff(held_out[len(held_out) // 2 :]).std())
        if rise > max(_RISE_OF_VALIDATION * np.ptp(held_out), 2 * noise) and loss[best] > last:
            reason = (
                f"the validation loss was best in epoch {best + 1} ({held_out[best]:.4g}) and is "
                f"{end:.4g} now, while the training loss fell to {last:.4g}"
            )
            found.append(Finding(OVERFITTING, reason, _AGAINST_OVERFITTING))
    noise = float(np.std(np.diff(loss[-2 * width :]))) / np.sqrt(width)
    if not found and before - last > max(_FALL_AT_THE_END * size, 2 * noise):
        share = 100 * (before - last) / size
        reason = f"the loss fell by {share:.2g} % of its range over the last fifth of the epochs"
        found.append(Finding(STILL_LEARNING, reason, "train for more epochs"))
    return found


def _still_learning(levels: np.ndarray, held_out: np.ndarray | None) -> Finding | None:
    width = _fifth(levels)
    fall = _fall_at_the_end(levels, width)
    if held_out is not None and _fall_at_the_end(held_out, width) <= 0:
        return None  # more epochs do not help what was held out
    noise = float(np.std(np.diff(levels[-2 * width :]))) / np.sqrt(width)  # standard error of that
    if fall < max(_FALL_AT_THE_END, 2 * noise) and not _falls_as_at_first(levels):
        return None
    reason = f"the loss fell by {_percent(fall)} over the last fifth of the epochs"
    return Finding(STILL_LEARNING, reason, "train for more epochs")


def _fall_at_the_end(levels: np.ndarray, width: int) -> float:
    """From the last but one part of so many epochs to the last."""
    return float(np.median(levels[-2 * width : -width]) - np.median(levels[-width:]))


def _overfitting(levels: np.ndarray, held_out: np.ndarray) -> Finding | None:
    smooth = np.array([np.median(held_out[max(0, e - 1) : e + 2]) for e in range(len(held_out))])
    best = int(smooth.argmin())
    end = float(np.median(held_out[-_fifth(held_out) :]))
    rise, fall = end - smooth[best], levels[best] - np.median(levels[-_fifth(levels) :])
    noise = float(np.diff(held_out[len(held_out) // 2 :]).std())
    if rise < max(_RISE_OF_VALIDATION, 2 * noise) or fall < _RISE_OF_VALIDATION:
        return None
    return Finding(
        OVERFITTING,
        f"the validation loss was best in epoch {best + 1} and is {100 * np.expm1(rise):.0f} % "
        f"higher now, while the training loss fell by another {_percent(fall)}",
        _AGAINST_OVERFITTING,
    )


def _validation_below(levels: np.ndarray, held_out: np.ndarray) -> Finding | None:
    # The training loss is a mean over the epoch, so that the next one's is nearer to its end.
    half = len(levels) // 2
    gap = float(np.median(levels[half + 1 :] - held_out[half:-1]))
    if gap < _BELOW:
        return None
    return Finding(
        VALIDATION_BELOW,
        f"in the second half the validation loss is {_percent(gap)} below the training loss",
        "with dropout or other noise in training that is as it should be; without, look whether "
        "the validation samples are easier, or are in the training set",
    )


def _jump_places(levels: np.ndarray) -> np.ndarray:
    """Epochs in which the loss jumped up; none where it does so often."""
    changes = np.diff(levels)
    usual = 1.48 * float(np.median(np.abs(changes - np.median(changes))))
    places = np.flatnonzero(changes > max(_JUMP, _JUMP_OVER_NOISE * usual)) + 1
    return places if len(places) <= max(1.0, _OFTEN * len(levels)) else places[:0]


def _jumps(levels: np.ndarray, places: np.ndarray) -> Finding | None:
    if len(places) == 0:
        return None
    changes = np.diff(levels)
    largest = int(places[changes[places - 1].argmax()])
    return Finding(
        JUMPS,
        f"the loss jumped up {'once' if len(places) == 1 else f'{len(places)} times'}, in epoch "
        f"{largest + 1} by a factor {np.exp(changes[largest - 1]):.3g}",
        "no harm if it comes down again; else lower the learning rate, clip the gradient, look "
        "for bad samples, or try another initialisation or a smooth activation",
    )


def _rate_too_high(levels: np.ndarray) -> Finding | None:
    half = levels[len(levels) // 2 :]
    changes = np.diff(half)
    usual = 1.48 * float(np.median(np.abs(changes - np.median(changes))))
    slope = float(np.polyfit(np.arange(len(half)), half, 1)[0])
    # A few jumps make the deviation large, but not the usual change.
    rough = changes.std() > _ROUGH and usual > _ROUGH / 2
    if not rough or -slope * len(half) > _STAYS:
        return None
    return Finding(
        RATE_TOO_HIGH,
        f"in the second half the loss changes by {100 * np.expm1(changes.std()):.0f} % from epoch "
        "to epoch without getting lower",
        "divide the learning rate by 3 to 10, or let it fall (ReduceLROnPlateau)",
    )


def _rises(levels: np.ndarray, jumps: Finding | None) -> Finding | None:
    """Too high a rate without the roughness: the loss goes up and stays there."""
    end = float(np.median(levels[-_fifth(levels) :]))
    best = int(levels.argmin())
    rise = end - levels[best]
    # After a jump the loss may stay where it came down; that is said already.
    if rise < (_UNCHANGED if best == 0 else _JUMP) or jumps is not None:
        return None
    higher = f"is {100 * np.expm1(rise):.0f} % higher now"
    remedy = "divide the learning rate by 10 and start anew, or clip the gradient (clip_norm)"
    return Finding(RATE_TOO_HIGH, f"the loss was lowest in epoch {best + 1} and {higher}", remedy)


def _rate_too_low(levels: np.ndarray) -> Finding | None:
    fall = float(levels[0] - levels[-1])
    if 0 < fall < _CREEPS and _falls_as_at_first(levels):
        reason = f"the loss falls steadily, but by {_percent(fall)} in all epochs together"
        return Finding(RATE_TOO_LOW, reason, "multiply the learning rate by 10")
    if np.ptp(levels) < _UNCHANGED and levels[0] > np.log(np.finfo(float).tiny):
        reason = f"the loss stays the same within {_percent(max(float(np.ptp(levels)), 1e-4))}"
        else_look = "if that does not help, look for frozen layers and saturated activations"
        return Finding(RATE_TOO_LOW, reason, f"multiply the learning rate by 10; {else_look}")
    return None


def _falls_as_at_first(levels: np.ndarray) -> bool:
    """Whether the loss falls in nearly every epoch, and in the second half as in the first."""
    middle = len(levels) // 2
    first, second = levels[0] - levels[middle], levels[middle] - levels[-1]
    return bool((np.diff(levels) <= 0).mean() > 0.8 and second > _BENT * max(first, 0))


def _fifth(levels: np.ndarray) -> int:
    return max(len(levels) // 5, 2)


def _percent(fall: float) -> str:
    """A fall of the logarithm as a share of the loss."""
    share = -100 * np.expm1(-fall)
    return f"{share:.2g} %" if share < 10 else f"{share:.0f} %"
