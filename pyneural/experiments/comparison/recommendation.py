"""What to take: a rule, and the claims of a talk, both from the measured numbers."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pyneural.experiments.contrasts import as_good_as_the_best, corrected
from pyneural.experiments.tables import Difference, difference

DATA = "real rows"  # the name of training rows in place of samples
# From simple to involved: of models that cannot be told apart the first one is taken.
MODELS = (
    "gaussian", "mixture", "realnvp", "nsf", "vae", "gan", "flow-matching", "ddpm", "vae-flow",
    "latent-diffusion",
)  # fmt: skip
TITLES = {
    "c2st": "C2ST", "frechet": "Frechet distance", "sliced_wasserstein": "sliced Wasserstein",
    "recall": "recall", "sharpness": "sharpness", "samples_per_second": "samples a second",
}  # fmt: skip
_COPIED = 0.5  # estimated share of copies among the samples, above which a model is left out
_FAR = 10.0  # times the lowest sliced Wasserstein distance of all, above which it is left out
_TINY = 1e-12  # of a distance, before its logarithm
_SATURATED = 0.95  # accuracy of a classifier that tells all samples from data

Row = Mapping[str, Any]


class Recommendation(NamedTuple):
    """What to take, and why."""

    model: str | None  # None where every model failed
    alike: tuple[str, ...]  # models that cannot be told from the best one, itself included
    measure: str
    reasons: tuple[str, ...]

    @property
    def decided(self) -> bool:
        """Whether one model is better than all others beyond the spread."""
        return len(self.alike) == 1


class Claim(NamedTuple):
    """A claim of a talk beside what was measured."""

    claim: str
    measured: str
    holds: str  # "yes", "no" or "can't tell"


def recommend(rows: Sequence[Row], images: bool) -> Recommendation:
    """The simplest model that cannot be told from the best one.

    The best one has the lowest mean over the seeds: of the accuracy of a classifier between samples
    and new rows (C2ST) of a table, of the Frechet distance of images; of the sliced Wasserstein
    distance where the classifier tells the samples of every model from the data (0.95). Which ones
    are as good is said by ``as_good_as_the_best``, with 95 % for all comparisons together.
    Distances are compared by their logarithms. Left out are models that failed for a seed; those of
    whose samples more than half are copies of training rows (``copied`` and ``closer``); and those
    whose sliced Wasserstein distance is more than ten times the lowest one, for any seed of a
    table: a classifier does not see a few samples that are far from all data.

    Args:
        rows: a cell each, with "model", "seed" and the measures, as ``compare`` gives them.
        images: whether the data are images.

    Raises:
        ImportError: scipy is not installed.
    """
    reasons, values = [], dict[str, list[Row]]()
    for row in rows:
        if row["model"] != DATA:
            values.setdefault(row["model"], []).append(row)
    for model, group in list(values.items()):
        failed = [str(row["failed"]) for row in group if row.get("failed")]
        if failed:
            reasons.append(f"{model} is left out: {failed[0]}")
            del values[model]
            continue
        copied = statistics.mean(row["copied"] for row in group)
        closer = statistics.mean(row["closer"] for row in group)
        if copied > _COPIED and closer > _COPIED:
            reasons.append(f"{model} is left out: about {copied:.0%} of its samples are copies")
            del values[model]
    if not images:
        reasons += _leave_out_far_ones(values)
    measure = "frechet" if images else "c2st"
    if not values:
        return Recommendation(None, (), measure, tuple(reasons))
    means = _means(values, measure)
    if measure == "c2st" and min(means.values()) > _SATURATED:
        reasons.append(f"C2ST tells all of them from data ({min(means.values()):.2f} at best)")
        measure = "sliced_wasserstein"
        means = _means(values, measure)
    scaled = {model: [_scaled(row, measure) for row in group] for model, group in values.items()}
    alike = sorted(as_good_as_the_best(scaled), key=MODELS.index)
    chosen, title = alike[0], TITLES[measure]
    figures = {model: _figure(group, measure) for model, group in values.items()}
    if len(alike) == 1:
        reasons.insert(0, f"{chosen} has the lowest {title}, {figures[chosen]}")
        others = sorted((m for m in values if m != chosen), key=lambda model: means[model])
        if others:
            text = f"the next one is {others[0]} with {figures[others[0]]}, beyond the spread"
            reasons.insert(1, text)
    else:
        listed = ", ".join(f"{model} {figures[model]}" for model in alike)
        count = min(len(group) for group in values.values())
        reasons.insert(0, f"from {count} seeds these can't be told apart by {title}: {listed}")
        reasons.insert(1, f"{chosen} is the simplest of them")
    reasons += _beside(values, alike, chosen)
    real = [row for row in rows if row["model"] == DATA]
    if real:
        floor = _figure(real, measure)
        reasons.append(f"real rows in place of samples have {title} {floor}")
    return Recommendation(chosen, tuple(alike), measure, tuple(reasons))


def _leave_out_far_ones(values: dict[str, list[Row]]) -> list[str]:
    """Removes models some of whose samples are far from all data; the reasons."""
    name, reasons = "sliced_wasserstein", []
    worst = {model: max(row[name] for row in group) for model, group in values.items()}
    for model, distance in worst.items():
        if distance > _FAR * min(worst.values()):
            text = f"{TITLES[name]} {distance:.2g}, {min(worst.values()):.2g} at best"
            reasons.append(f"{model} is left out: samples far from the data ({text})")
            del values[model]
    return reasons


def _scaled(row: Row, measure: str) -> float:
    return row[measure] if measure == "c2st" else math.log(max(row[measure], _TINY))


def claims(rows: Sequence[Row]) -> list[Claim]:
    """Blurry VAEs, collapsing GANs, slow diffusion: each beside its measurement.

    VAE: sharpness of its samples, as shown, below that of new images; GAN: recall below the best of
    the other models; diffusion: fewer samples a second than the median of the models that make
    theirs in one pass. A claim holds where the difference over the seeds is beyond their spread:
    by Welch's test, with Holm's correction for the claims together.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if not row.get("failed"):
            groups.setdefault(row["model"], []).append(row)
    told: list[tuple[str, str, Difference]] = []
    vae = _column(groups, "vae", "sharpness")
    if vae:
        real = _column(groups, DATA, "sharpness") or [1.0]
        text = f"sharpness {_spread(vae)} of that of new images, real ones {_spread(real)}"
        told.append(("a VAE is blurry", text, difference(real, vae)))
    gan = _column(groups, "gan", "recall")
    others = {
        m: _column(groups, m, "recall") for m in groups if m not in ("gan", DATA)
    }  # fmt: skip
    others = {m: values for m, values in others.items() if values}
    if gan and others:
        best = max(others, key=lambda model: statistics.mean(others[model]))
        text = f"recall {_spread(gan)}, {best} {_spread(others[best])}"
        told.append(("a GAN collapses", text, difference(others[best], gan)))
    speed = "samples_per_second"
    slow = _column(groups, "ddpm", speed)
    fast = {m: _column(groups, m, speed) for m in ("vae", "gan", "realnvp", "nsf") if m in groups}
    fast = {m: values for m, values in fast.items() if values}
    if slow and fast:
        middle = statistics.median_low(sorted(statistics.mean(v) for v in fast.values()))
        model = next(m for m, values in fast.items() if statistics.mean(values) == middle)
        factor = middle / statistics.mean(slow)
        text = (
            f"{statistics.mean(slow):,.0f} samples a second, {model} {middle:,.0f}: a factor of "
            f"{factor:.2g}"
        )
        logs = [[math.log(value) for value in values] for values in (fast[model], slow)]
        told.append(("diffusion is slow", text, difference(*logs)))
    differences = corrected([found for *_, found in told])
    return [
        Claim(claim, text, _holds(found))
        for (claim, text, _), found in zip(told, differences, strict=True)
    ]


def _holds(found: Difference) -> str:
    """Whether it is more, beyond the spread."""
    return "can't tell" if not found.distinct else "yes" if found.mean > 0 else "no"


def _beside(values: Mapping[str, list[Row]], alike: Sequence[str], chosen: str) -> list[str]:
    """What speaks for others of those that are as good."""
    found = []
    exact = [m for m in alike if values[m][0].get("log_likelihood") is not None]
    if chosen in exact:
        kind = "a lower bound of the likelihood" if values[chosen][0].get("bound") else "a density"
        found.append(f"it has {kind}")
    elif exact:
        found.append(f"it has no likelihood; {exact[0]} has")
    speeds = {m: statistics.mean(row["samples_per_second"] for row in values[m]) for m in alike}
    fastest = max(speeds, key=lambda model: speeds[model])
    if fastest != chosen and speeds[fastest] > 3 * speeds[chosen]:
        text = f"{speeds[fastest]:,.0f} samples a second, {chosen} {speeds[chosen]:,.0f}"
        found.append(f"of them {fastest} draws fastest: {text}")
    return found


def _means(values: Mapping[str, list[Row]], measure: str) -> dict[str, float]:
    return {m: statistics.mean(row[measure] for row in group) for m, group in values.items()}


def _column(groups: Mapping[str, list[Row]], model: str, name: str) -> list[float]:
    values = [row.get(name) for row in groups.get(model, ())]
    return [float(value) for value in values if value is not None]


def _figure(group: Sequence[Row], measure: str) -> str:
    return _spread([row[measure] for row in group])


def _spread(values: Sequence[float]) -> str:
    mean = f"{statistics.mean(values):.3g}"
    return mean if len(values) == 1 else f"{mean} +- {statistics.stdev(values):.1g}"
