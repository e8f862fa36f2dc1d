"""The printed table of a comparison."""

import re

import torch

from pyneural.experiments.comparison import Comparison, DataSet, Recommendation, print_report

MODELS = ("gaussian", "latent-diffusion", "a-model-with-a-long-name")


def comparison(**measures):
    """Three models from two seeds each, with these measures at the second seed."""
    rows = [
        {"model": model, "seed": seed, "c2st": 0.5 + 0.1 * seed, "steps": 1000}
        for model in MODELS
        for seed in range(2)
    ]
    for row in rows:
        row.update({name: (row["seed"] + 1) * value for name, value in measures.items()})
    data = DataSet("stars", torch.zeros(300, 2).double(), ("a", "b"))
    return Comparison(data, (), rows, Recommendation("gaussian", ("gaussian",), "c2st", ()), [])


def tables(text):
    """The lines of each table: titles, then a row for each model."""
    lines = text.splitlines()
    begins = [number for number, line in enumerate(lines) if re.match(r" {20,}\S", line)]
    return [lines[begin : begin + 1 + len(MODELS)] for begin in begins]


def test_columns_stay_below_their_titles(capsys):
    """However long a mean with its spread, and a name, is."""
    long = {
        "frechet": 7654.3, "kernel": 6543.2, "precision": 0.5, "log_likelihood": -6543.21,
        "samples_per_second": 8765.0, "train_seconds": 1234.5,
    }  # fmt: skip
    print_report(comparison(**long))
    text = capsys.readouterr().out
    assert "1.1e4+-5.4e3  9,814.8+-4,626.7" in text
    found = tables(text)
    assert len(found) == 3
    for lines in found:
        ends = [[match.end() for match in re.finditer(r"\S+(?: \S+)*", line)] for line in lines]
        titles = ends[0]
        for line, row in zip(lines[1:], ends[1:], strict=True):
            assert row[1:] == titles, "\n".join(lines)  # the first is the model
            assert len(line) <= 79
        models = [line.split()[0] for line in lines[1:]]
        assert sorted(models) == sorted(MODELS)
