"""The code of every page runs, block after block, with trainings cut short."""

import contextlib
import dataclasses
import math
import os
import warnings

import pytest
import torch

from pyneural import metrics
from pyneural.experiments import comparison
from pyneural.models import DDPM, NeuralPosterior
from pyneural.training.run import Run
from tests.docs.pages import name_of, pages, programs

PAGES = [page for page in pages() if programs(page)]
LONG = 50  # batches of an epoch


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Each phase of the trainings, which go through one loop, is cut to a few steps.

    Samples are fewer, and so are the epochs of classifiers and the steps of comparisons; densities
    are not as exact.
    """
    whole = Run.__init__

    def cut(self, model, phases, batches, *arguments, **options):
        few = [shortened(phase, len(batches)) for phase in phases]
        whole(self, model, few, batches, *arguments, **options)

    monkeypatch.setattr(Run, "__init__", cut)
    sample, c2st, compare = DDPM.sample, metrics.c2st, comparison.compare
    log_prob, credible_level = DDPM.log_prob, NeuralPosterior.credible_level

    def fewer_samples(self, count, *arguments, **options):
        return sample(self, min(count, 4000), *arguments, **options)

    def short_c2st(*samples, **options):
        return c2st(*samples, **options | {"epochs": 2})

    def short_compare(*arguments, **options):
        return compare(*arguments, **options | {"steps": 5, "epochs": 2, "seeds": (0, 1)})

    def rough_log_prob(self, *arguments, **options):
        return log_prob(self, *arguments, **options | {"rtol": 1e-2, "atol": 1e-2})

    def rough_level(self, theta, x):
        return credible_level(self, theta, x, samples=50)

    monkeypatch.setattr(DDPM, "sample", fewer_samples)
    monkeypatch.setattr(DDPM, "log_prob", rough_log_prob)
    monkeypatch.setattr(NeuralPosterior, "credible_level", rough_level)
    monkeypatch.setattr(metrics, "c2st", short_c2st)
    monkeypatch.setattr(comparison, "compare", short_compare)


def shortened(phase, batches):
    """Of 4 epochs one, of 10 two, of more three, or one if it is long; of the steps as many."""
    few = {
        name: 1 if name == "epochs" and batches > LONG else min(3, math.ceil(count / 5))
        for name in ("steps", "epochs")
        if (count := getattr(phase, name)) is not None
    }
    return dataclasses.replace(phase, **few)


@pytest.fixture
def clean(tmp_path, monkeypatch):
    """A folder of its own, figures without a screen, and torch left as it was."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()
    environment = dict(os.environ)
    yield
    torch.set_default_dtype(dtype)
    torch.set_num_threads(threads)
    os.environ.clear()
    os.environ.update(environment)
    pyplot.close("all")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
@pytest.mark.usefixtures("clean")
def test_code_runs(page):
    names = {"__name__": "__main__"}
    for block in programs(page):
        code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
        expected = pytest.raises(Exception) if "raises-exception" in block.options else None  # noqa: PT011
        with expected or contextlib.nullcontext(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of trainings that were too short
            exec(code, names)
