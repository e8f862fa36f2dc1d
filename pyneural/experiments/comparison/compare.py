"""Which generative model is right for some data: trained within one budget each, and measured."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyneural.errors import check_argument, whole
from pyneural.experiments.cells import Cell, Row, run_cells
from pyneural.experiments.comparison import gaussians, images, vectors
from pyneural.experiments.comparison.data import DataSet, Preparation, load_data
from pyneural.experiments.comparison.fitting import LOOKED, Fitted, Fitting
from pyneural.experiments.comparison.measures import EPOCHS, Features, Judge
from pyneural.experiments.comparison.recommendation import (
    DATA,
    MODELS,
    Claim,
    Recommendation,
    claims,
    recommend,
)

MEASURED = 2_000  # samples of a measure, at most
SHOWN_IMAGES, SHOWN_ROWS = 24, 400  # samples that are kept for the picture
_FEWEST = 20  # of them, below which no measure means anything
_WORST = 0.01  # share of the samples that may have values that are not finite
_DRAWS, _DRAWING = 5, 0.5  # draws of which the speed is the median, and seconds of them, at most
_EVALUATION = 6.0  # seconds that measuring is expected to take

Fit = Callable[[Fitting], Fitted]


def fits(images_wanted: bool) -> dict[str, Fit]:
    """What trains each model, for tables or for images."""
    kind = images if images_wanted else vectors
    return {
        "gaussian": gaussians.fit_gaussian,
        "mixture": gaussians.fit_mixture,
        "realnvp": kind.fit_realnvp,
        "nsf": kind.fit_nsf,
        "vae": kind.fit_vae,
        "gan": kind.fit_gan,
        "flow-matching": kind.fit_flow_matching,
        "ddpm": kind.fit_ddpm,
        "vae-flow": partial(kind.fit_vae, prior="flow"),
        "latent-diffusion": kind.fit_latent_diffusion,
    }


@dataclass(frozen=True)
class Comparison:
    """What was found.

    Args:
        data: the data set.
        notes: on what was done to the data.
        rows: a cell each: model, seed, and what was measured.
        recommendation: what to take.
        claims: of a talk, beside what was measured.
    """

    data: DataSet
    notes: tuple[str, ...]
    rows: list[Row]
    recommendation: Recommendation
    claims: list[Claim]


def compare(
    source: str | os.PathLike[str] | Tensor | np.ndarray | DataSet,
    models: Sequence[str] = MODELS,
    *,
    budget: float = 20.0,
    steps: int | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    file: str | os.PathLike[str] | None = None,
    drop: Sequence[str] = (),
    wheel: str | os.PathLike[str] | None = None,
    measured: int = MEASURED,
    epochs: int = EPOCHS,
    verbose: bool = True,
) -> Comparison:
    """Trains generative models on data with the same budget each, and says which one to take.

    A cell is a model and a seed. The seed draws a fifth of the rows that are held out, the same for
    all models, the weights, and the samples. All models see the data in the same units (see
    ``Preparation``), and a tenth of the training rows is their validation set: the weights with the
    lowest validation loss are kept, and the number of Gaussians of the mixture is chosen by it. The
    budget is of training alone; measuring takes some seconds more.

    Measured are, of samples against as many held-out rows: C2ST (0.5 is perfect), sliced
    Wasserstein distance, precision and recall; of tables the largest differences of a correlation
    and of a distribution function; of images Frechet and kernel distance, classes, confidence and
    sharpness; the log-likelihood of held-out rows in nats a row, or its lower bound; ``closer`` and
    ``copied`` (see ``Judge``); the time until the sliced Wasserstein distance was that of the
    mixture, and samples a second. Real rows in place of samples give what is at best possible.

    Args:
        source: see ``load_data``.
        models: of ``MODELS``; the mixture of Gaussians is always in.
        budget: seconds of training for each, > 0.
        steps: of training for each network, in place of seconds. The outcome then does not depend
            on the speed of the machine, but for the times in it; the mixture has no limit.
        seeds: two or more, so that there is a spread.
        file: of finished cells, with which an interrupted comparison goes on; see ``run_cells``.
        drop: columns of a table to leave out.
        wheel: of pzflow, for the galaxies.
        measured: samples of each measure, at most.
        epochs: of the classifier of C2ST, at most.
        verbose: whether to show the cells done and the time left.

    Raises:
        ArgumentError: data or arguments that do not fit.
        ImportError: scikit-learn, or what the data need, is not installed.

    >>> x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0)).exp()
    >>> found = compare(x, ["gaussian"], budget=0.2, seeds=(0, 1), epochs=5, verbose=False)
    >>> [row["model"] for row in found.rows]
    ['real rows', 'mixture', 'gaussian', 'real rows', 'mixture', 'gaussian']
    """
    gaussians.check_sklearn()
    unknown = [model for model in models if model not in MODELS]
    check_argument(not unknown, "compare: models", f"some of {', '.join(MODELS)}", unknown)
    good = isinstance(budget, (int, float)) and 0 < budget < math.inf
    check_argument(good, "compare: budget", "seconds > 0", budget, "write 20")
    if steps is not None:
        steps = whole("compare: steps", steps)
        check_argument(steps > 0, "compare: steps", "1 or more", steps, "write 1000")
    good, remedy = isinstance(seeds, Iterable), "write range(3)"
    check_argument(good, "compare: seeds", "two or more different ones", seeds, remedy)
    seeds = [whole("compare: seeds", seed) for seed in seeds]
    good = len(set(seeds)) == len(seeds) >= 2 and min(seeds) >= 0
    check_argument(good, "compare: seeds", "two or more different ones", seeds, "write 0, 1, 2")
    for name, value, least in (("measured", measured, _FEWEST), ("epochs", epochs, 1)):
        value, where = whole(f"compare: {name}", value), f"compare: {name}"
        check_argument(value >= least, where, f"{least} or more", value, "leave it out")
    data = source if isinstance(source, DataSet) else load_data(source, drop, wheel)
    notes = (*data.notes, *Preparation(data, data.split(seeds[0])[0]).notes)
    names = dict.fromkeys(["mixture", *models])
    features = Features(data)
    cells = [
        Cell(
            {"model": model, "seed": seed},
            partial(_measure, model, seed, data, features, budget, steps, measured, epochs),
            _EVALUATION + (0.0 if model in (DATA, "gaussian") else budget),
        )
        for seed in seeds
        for model in (DATA, *names)
    ]
    settings = {
        "data": data.name, "digest": data.digest, "measured": measured, "epochs": epochs,
        "budget": budget if steps is None else f"{steps} steps",
    }  # fmt: skip
    rows = run_cells(cells, file, settings=settings, verbose=verbose)
    _add_times(rows)
    return Comparison(data, notes, rows, recommend(rows, data.is_images), claims(rows))


def _measure(
    model: str,
    seed: int,
    data: DataSet,
    features: Features,
    budget: float,
    steps: int | None,
    measured: int,
    epochs: int,
) -> dict[str, Any]:
    """The values of a cell."""
    train, held_out = data.split(seed)
    preparation = Preparation(data, train)
    judge = Judge(features, preparation, train, held_out, measured, epochs)
    if model == DATA:
        found = judge.measures(train[: judge.count], copies=False)
        return found | _kept(data, train, judge.count)
    torch.manual_seed(seed)
    _ = judge.real  # before the clock starts
    fitting = Fitting(data, preparation, train, float(budget), seed, judge.quality, steps)
    try:
        fitted = fits(data.is_images)[model](fitting)
        samples, seconds = _drawn(fitted, judge.count)
    except (FloatingPointError, np.linalg.LinAlgError) as error:
        return {"failed": f"{type(error).__name__}: {error}"}
    values: dict[str, Any] = {
        "train_seconds": fitting.spent.seconds, "steps": fitting.spent.steps,
        "parameters": fitted.parameters, "stopped": fitted.stopped,
        "samples_per_second": len(samples) / seconds,
    }  # fmt: skip
    finite = samples.isfinite().all(1)
    lost = int((~finite).sum())
    if lost > _WORST * len(samples):
        return values | {"failed": f"{lost:,} of {len(samples):,} samples are not finite"}
    if lost:  # others in their place, as measures depend on the number of samples
        samples[~finite] = samples[finite][:lost]
    values |= {"failed": "", "not_finite": lost} | judge.measures(samples)
    values |= _likelihood(fitted, held_out, data)
    fitting.curve.append((fitting.spent.seconds, judge.quality(samples[:LOOKED])))
    values["curve"] = [list(point) for point in fitting.curve]
    if fitted.picture is not None and data.is_images:
        samples = fitted.picture(judge.count)
        values["sharpness"] = judge.sharpness(samples)
    return values | _kept(data, samples, judge.count)


def _drawn(fitted: Fitted, count: int) -> tuple[Tensor, float]:
    """Samples, and the seconds that so many take: the median of some draws, if they are fast."""
    start = time.perf_counter()
    found = fitted.draw(count)
    times = [time.perf_counter() - start]
    with torch.random.fork_rng(devices=[]):  # what follows does not depend on how many these are
        while len(times) < _DRAWS and sum(times) < _DRAWING:
            start = time.perf_counter()
            fitted.draw(count)
            times.append(time.perf_counter() - start)
    return found, statistics.median(times)


def _likelihood(fitted: Fitted, held_out: Tensor, data: DataSet) -> dict[str, Any]:
    """Nats of a held-out row, and bits a pixel of images."""
    if fitted.log_prob is None:
        return {}
    with torch.no_grad():
        value = float(fitted.log_prob(held_out[: fitted.measured]).mean())
    found: dict[str, Any] = {"log_likelihood": value, "bound": fitted.bound}
    if data.is_images:
        found["bits_per_pixel"] = -value / (data.x.shape[1] * math.log(2))
    return found


def _kept(data: DataSet, samples: Tensor, count: int) -> dict[str, Any]:
    """Samples for the picture, with three digits."""
    shown = SHOWN_IMAGES if data.is_images else SHOWN_ROWS
    chosen = samples[: min(shown, count)].tolist()
    return {"samples": [[float(f"{value:.4g}") for value in row] for row in chosen]}


def _add_times(rows: Sequence[Row]) -> None:
    """Adds the seconds until the looks were as good as the mixture is at its end."""
    ends = [row["curve"][-1][1] for row in rows if row["model"] == "mixture" and row.get("curve")]
    if not ends:
        return
    goal = sum(ends) / len(ends)
    for row in rows:
        times = [seconds for seconds, value in row.get("curve") or () if value <= goal]
        row["seconds_to_mixture"] = times[0] if times else None
