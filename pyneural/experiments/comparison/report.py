"""What a comparison found: printed, written as tables, drawn."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyneural import plots
from pyneural.experiments.comparison.compare import Comparison
from pyneural.experiments.comparison.recommendation import DATA, TITLES
from pyneural.experiments.tables import summary, write_csv, write_json

_COLUMNS = {  # title and digits of the columns that are printed
    "c2st": ("C2ST", 3), "sliced_wasserstein": ("sliced W", 3), "frechet": ("Frechet", 1),
    "kernel": ("kernel", 1), "precision": ("precision", 2), "recall": ("recall", 2),
    "correlation": ("correlation", 2), "marginal": ("marginal", 2), "outside": ("outside", 2),
    "confident": ("confident", 2), "classes": ("classes", 1), "sharpness": ("sharpness", 2),
    "log_likelihood": ("nats", 2), "closer": ("closer", 2), "copied": ("copied", 2),
    "train_seconds": ("training s", 1), "seconds_to_mixture": ("as mixture", 1),
    "samples_per_second": ("samples/s", 0), "seconds": ("cell s", 0),
}  # fmt: skip
_WIDTH = 79  # columns of a line
_FIRST, _NARROWEST = 18, 12  # of the names, and of a column of figures
_FEW = 200  # steps of a network, below which it is hardly trained
_LARGE = 10_000  # from which a number is written with a power of ten
_CLAIMED = {"yes": "holds here", "no": "does not hold here", "can't tell": "can't tell"}


def print_report(found: Comparison) -> None:
    """Prints the data, the measures with their spread over seeds, and the recommendation."""
    data = found.data
    kind = f"images of {' x '.join(map(str, data.shape))}" if data.shape else (
        f"rows of {', '.join(data.columns)}"
    )  # fmt: skip
    _print_wrapped(f"Generative models of {data.name}: {len(data.x):,} {kind}", "")
    for note in found.notes:
        _print_wrapped(f"note: {note}")
    _print_columns(_ordered(found))
    print()
    _print_wrapped(
        "mean +- standard deviation over seeds; training s is the time of the training alone, "
        "without measuring; as mixture: seconds until the samples were as good as those of the "
        "mixture at its end; of new samples closer is 0.5 and copied 0"
    )
    bounds = [row["model"] for row in _ordered(found) if row.get("bound")]
    if bounds:
        _print_wrapped(f"nats of {', '.join(bounds)}: a lower bound")
    few = [
        f"{row['model']} {row['steps']:.0f}"
        for row in _ordered(found)
        if row["model"] not in (DATA, "gaussian", "mixture") and row.get("steps", _FEW) < _FEW
    ]
    if few:
        text = f"steps of {', '.join(few)}: too few to judge these models; raise the budget"
        _print_wrapped(text)
    for row in found.rows:
        if row.get("failed") or row.get("stopped"):
            reason = row.get("failed") or row.get("stopped")
            _print_wrapped(f"{row['model']}, seed {row['seed']}: {reason}")
    print()
    for claim in found.claims:
        _print_wrapped(f"{claim.claim}: {_CLAIMED[claim.holds]} ({claim.measured})")
    chosen = found.recommendation
    head = "none" if chosen.model is None else chosen.model
    tail = "" if chosen.decided or chosen.model is None else " (can't tell it from others)"
    print(f"\n  take {head}{tail}")
    for reason in chosen.reasons:
        _print_wrapped(reason, "    ")


def _print_wrapped(text: str, begin: str = "  ") -> None:
    print(textwrap.fill(text, _WIDTH, initial_indent=begin, subsequent_indent=begin + "  "))


def write_report(found: Comparison, out: Path) -> list[Path]:
    """Writes compare.csv and compare.json, a row each model, and compare.png; their paths."""
    table = _ordered(found)
    names = [out / f"compare.{kind}" for kind in ("csv", "json", "png")]
    write_csv(names[0], table)
    chosen = found.recommendation
    write_json(names[1], {
        "data": found.data.name, "notes": found.notes, "models": table,
        "recommendation": chosen._asdict() | {"decided": chosen.decided},
        "claims": [claim._asdict() for claim in found.claims],
    })  # fmt: skip
    plots.save(draw(found), names[2])
    return names


def draw(found: Comparison) -> Any:
    """The figure: measures of each model, and its samples beside the data."""
    table, chosen = _ordered(found), found.recommendation
    models = [row["model"] for row in table if row["model"] != DATA]
    titles = {
        chosen.measure: f"{TITLES[chosen.measure]} (low is good)",
        "recall": "Recall (high is good)",
        "log_likelihood": "Log-likelihood (nats)",
        "samples_per_second": "Samples a second",
    }
    panels = []
    for name, title in titles.items():
        values = {model: _values(found, model, name) for model in models}
        if any(values.values()):
            real = _values(found, DATA, name)
            panels.append(plots.Measure(title, values, real, name == "samples_per_second"))
    data = found.data
    samples = {}
    for model in (DATA, *models):
        rows = [row for row in found.rows if row["model"] == model and row.get("samples")]
        if rows:
            title = "Data" if model == DATA else model
            samples[title] = _shown(found, torch.tensor(rows[0]["samples"]))
    names = [data.columns[i] for i in _pair(found)] if data.columns else ["", ""]
    high = 1.0 if data.levels is None else data.levels - 1.0
    return plots.comparison(panels, models, samples, chosen=chosen.alike, columns=names, high=high)


def _shown(found: Comparison, samples: Tensor) -> Tensor:
    """The first channel of images, or two columns of a table."""
    data = found.data
    if data.shape is None:
        return samples[:, _pair(found)]
    images = samples.unflatten(1, data.shape)[:, 0]
    low, high = data.x.aminmax()
    return images if data.levels is not None else (images - float(low)) / float(high - low)


def _pair(found: Comparison) -> list[int]:
    """The two columns whose correlation is the largest."""
    correlation = found.data.x.T.corrcoef().abs().nan_to_num().triu(1)
    return list(divmod(int(correlation.argmax()), len(correlation)))


def _values(found: Comparison, model: str, name: str) -> list[float]:
    rows = [row for row in found.rows if row["model"] == model]
    return [row[name] for row in rows if row.get(name) is not None]


def _ordered(found: Comparison) -> list[dict[str, Any]]:
    """A row each model: the data, then the best first by the measure of the recommendation."""
    table = summary(found.rows, "model")
    measure = found.recommendation.measure
    return sorted(
        table,
        key=lambda row: (row["model"] != DATA, row.get(measure) is None, row.get(measure, 0.0)),
    )


def _print_columns(table: Sequence[dict[str, Any]]) -> None:
    """The names in a first column, then as many columns beside each other as a line has room for.

    Each is as wide as its longest cell.
    """
    names = [name for name in _COLUMNS if any(row.get(name) is not None for row in table)]
    columns = [[_COLUMNS[name][0], *(_cell(row, name) for row in table)] for name in names]
    widths = [max(_NARROWEST, *map(len, column)) for column in columns]
    first = max([_FIRST, *(len(row["model"]) for row in table)])
    while columns:
        count, width = 1, first + 2 + widths[0] + 2
        while count < len(columns) and width + widths[count] + 2 <= _WIDTH:
            width += widths[count] + 2
            count += 1
        print()
        some = [
            [f"  {cell:>{width}}" for cell in column]
            for column, width in zip(columns[:count], widths[:count], strict=True)
        ]
        for model, *cells in zip(["", *(row["model"] for row in table)], *some, strict=True):
            print(f"  {model:<{first}}{''.join(cells)}".rstrip())
        columns, widths = columns[count:], widths[count:]


def _cell(row: dict[str, Any], name: str) -> str:
    digits, mean, spread = _COLUMNS[name][1], row.get(name), row.get(f"{name}_std")
    if mean is None:
        return "-"
    figures = [mean] if spread is None else [mean, spread]
    return "+-".join(_figures(figures, digits))


def _figures(values: Sequence[float], digits: int) -> list[str]:
    """A mean and its spread; where one is large, both with two digits and a power of ten.

    >>> _figures([8977.2], 0), _figures([83977279.8, 51234.5], 3)
    (['8,977'], ['8.4e7', '5.1e4'])
    """
    if max(map(abs, values)) >= _LARGE:
        return [f"{value:.1e}".replace("e+0", "e").replace("e+", "e") for value in values]
    return [f"{value:,.{digits}f}" for value in values]
