"""Comparisons from end to end, with budgets of a moment."""

import json
import math
import re
import time
from functools import partial

import numpy as np
import pytest
import torch

from pyneural import cli
from pyneural.errors import ArgumentError
from pyneural.experiments.comparison import MODELS, DataSet, compare, load_data
from pyneural.experiments.comparison.compare import _drawn, fits
from pyneural.experiments.comparison.data import Preparation
from pyneural.experiments.comparison.fitting import Fitted, Fitting
from pyneural.experiments.comparison.measures import Features, Judge
from pyneural.experiments.comparison.training import Budget
from pyneural.training import Model
from pyneural.training.callbacks import EMA

pytest.importorskip("sklearn")


def table(count=600):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 2, generator=generator).double()
    return DataSet("table", torch.stack([x[:, 0], x[:, 0] ** 2 + 0.3 * x[:, 1]], 1), ("a", "b"))


def images():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(240) % 2
    x = torch.zeros(240, 8, 8).double()
    x[:, 1:4] = labels[:, None, None] * 8.0
    x += torch.randint(0, 6, x.shape, generator=generator)
    return DataSet("images", x.flatten(1), shape=(1, 8, 8), levels=14, labels=labels)


def fitting_of(data, seconds=0.15):
    train, held_out = data.split(0)
    preparation = Preparation(data, train)
    torch.manual_seed(0)
    return Fitting(data, preparation, train, seconds, 0), held_out


@pytest.mark.parametrize("model", MODELS)
def test_each_model_of_a_table(model):
    fitting, held_out = fitting_of(table())
    fitted = fits(False)[model](fitting)
    assert fitted.draw(7).shape == (7, 2)
    assert bool(fitted.draw(50).isfinite().all())
    assert fitted.parameters > 0
    if model in ("gan", "latent-diffusion"):
        assert fitted.log_prob is None
    else:
        assert fitted.log_prob(held_out[:9]).shape == (9,)


@pytest.mark.parametrize("model", MODELS)
def test_each_model_of_images(model):
    fitting, held_out = fitting_of(images())
    fitted = fits(True)[model](fitting)
    x = fitted.draw(5)
    assert x.shape == (5, 64)
    assert bool(((x >= 0) & (x <= 13) & (x == x.floor())).all())
    if fitted.log_prob is not None:
        # Of whole numbers it is a bound of a probability, never above 1.
        assert float(fitted.log_prob(held_out[:9]).max()) < 0


@pytest.mark.parametrize("shape", [(1, 7, 5), (3, 8, 12)])
@pytest.mark.parametrize("model", ["gan", "ddpm", "flow-matching", "realnvp"])
def test_images_of_other_shapes(shape, model):
    x = np.random.default_rng(0).random((220, *shape))
    fitting, _ = fitting_of(load_data(x), 0.05)
    assert fits(True)[model](fitting).draw(3).shape == (3, math.prod(shape))


def test_likelihoods_are_those_of_the_units_of_the_data():
    data = table(4000)
    scaled = DataSet("scaled", 10 * data.x, data.columns)
    values = []
    for one in (data, scaled):
        fitting, held_out = fitting_of(one)
        values.append(float(fits(False)["gaussian"](fitting).log_prob(held_out).mean()))
    assert values[0] - values[1] == pytest.approx(2 * math.log(10), abs=1e-4)
    train, held_out = data.split(0)
    normal = torch.distributions.MultivariateNormal(train.mean(0), train.T.cov())
    assert values[0] == pytest.approx(float(normal.log_prob(held_out).mean()), abs=1e-3)


def test_mixture_finds_its_components():
    x = torch.cat([torch.randn(900, 2) + torch.tensor([9.0 * i, 0.0]) for i in range(4)]).double()
    fitting, held_out = fitting_of(DataSet("four", x, ("a", "b")), 20.0)
    fitted = fits(False)["mixture"](fitting)
    exact = -2 * 0.5 * math.log(2 * math.pi * math.e) - math.log(4)
    assert float(fitted.log_prob(held_out).mean()) == pytest.approx(exact, abs=0.15)
    assert fitted.parameters >= 4 * 6 - 1


def judge_of(data):
    train, held_out = data.split(0)
    return Judge(Features(data), Preparation(data, train), train, held_out, 200, 5), train


def test_copies_are_found():
    judge, train = judge_of(table(2000))
    copies = judge.measures(train[:200])
    assert copies["copied"] > 0.8
    assert copies["closer"] == pytest.approx(1.0, abs=0.01)
    new = judge.measures(table(4000).x[2000:2200])
    assert abs(new["copied"]) < 0.4
    assert 0.4 < new["closer"] < 0.6


def test_measures_know_what_is_wrong():
    judge, _ = judge_of(table(2000))
    good = judge.measures(table(4000).x[2000:2200])
    narrow = judge.measures(0.2 * table(4000).x[2000:2200])
    assert narrow["recall"] < 0.5 < good["recall"]
    assert narrow["marginal"] > 2 * good["marginal"]
    assert narrow["sliced_wasserstein"] > 2 * good["sliced_wasserstein"]
    flipped = judge.measures(table(4000).x[2000:2200] * torch.tensor([1, -1]))
    assert flipped["outside"] > 0.2 > good["outside"]


def test_budget_is_of_training_alone():
    """Looks and the validation take longer than the training, and are not counted."""
    model = Model(torch.nn.Linear(1, 1))
    model.compile("sgd", "mse")
    x = torch.ones(64, 1)
    looked = []

    def look(seconds):
        looked.append(seconds)
        time.sleep(0.3)

    average = EMA(0.0)
    budget = Budget(0.4, average, None, look)
    start = time.perf_counter()
    model.fit(x, x, batch_size=8, epochs=10**9, verbose=0, callbacks=[average, budget])
    took = time.perf_counter() - start
    assert len(looked) == 3
    assert 0.3 < budget.total < 0.4 + 0.2  # a step more, on a busy machine
    assert took > 0.4 + 0.9
    assert model.optimizer.param_groups[0]["lr"] < 1e-4


class Clock:
    """Stands still but for what it is told."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now

    def wait(self, seconds):
        self.now += seconds


def test_slow_steps_end_nearest_to_the_budget(monkeypatch):
    clock = Clock()
    monkeypatch.setattr("pyneural.experiments.comparison.training.time", clock)
    model = Model(torch.nn.Linear(1, 1))
    model.compile("sgd", "mse")
    model.module.register_forward_hook(lambda *_: clock.wait(0.2))
    average, checked = EMA(0.0), []
    budget = Budget(0.5, average, torch.ones(4, 1))
    budget._check = lambda: checked.append(budget.run.steps)
    model.fit(torch.ones(64, 1), torch.ones(64, 1), batch_size=8, verbose=0, epochs=10**9,
              callbacks=[average, budget])  # fmt: skip
    assert budget.run.steps == 2  # after 0.4 s, not 0.6
    assert checked[-1] == 2  # the last weights take part in the choice


def test_speed_is_the_median_of_some_draws(monkeypatch):
    clock, waits = Clock(), iter([0.4, 0.05, 0.06, 9.0])
    monkeypatch.setitem(_drawn.__globals__, "time", clock)
    fitted = Fitted(lambda count: clock.wait(next(waits)) or torch.zeros(count, 2), None, 1)
    samples, seconds = _drawn(fitted, 7)
    assert samples.shape == (7, 2)
    assert seconds == pytest.approx(0.06)
    assert next(waits) == 9.0  # after half a second no more are drawn


def test_best_weights_are_kept():
    class Given(Model):
        values = iter([3.0, 1.0, 2.0, *[4.0] * 99])

        def evaluate(self, *x, **options):
            return {"loss": next(self.values)}

    model = Given(torch.nn.Linear(1, 1))
    model.compile("sgd", "mse")
    x = torch.ones(64, 1)
    average = EMA(0.0)
    budget = Budget(0.2, average, x)
    model.fit(x, x, batch_size=8, epochs=10**9, verbose=0, callbacks=[average, budget])
    last = model.module.weight.item()
    budget.restore(model)
    assert budget.lowest == 1.0
    assert model.module.weight.item() == budget.best["module.weight"].item() != last


OPTIONS = {"budget": 0.1, "seeds": (0, 1), "measured": 100, "epochs": 2, "verbose": False}


def test_steps_in_place_of_seconds(monkeypatch):
    """The speed of the machine changes no measure: here sampling is timed by another clock."""
    models = ["gaussian", "vae", "gan", "latent-diffusion"]
    options = {**OPTIONS, "budget": 1e-9, "steps": 30}

    def measured():
        for row in compare(table(), models, **options).rows:
            if row["model"] in models[1:]:
                assert row["steps"] == 30
                assert not row["stopped"]
            curve = [quality for _, quality in row.get("curve", ())]
            times = ("seconds", "train_seconds", "samples_per_second", "seconds_to_mixture")
            yield {name: row[name] for name in row if name not in times} | {"curve": curve}

    found = list(measured())
    clock = Clock()
    clock.perf_counter = lambda: clock.wait(1.0) or clock.now
    monkeypatch.setitem(_drawn.__globals__, "time", clock)
    assert list(measured()) == found


def test_first_part_that_takes_the_whole_budget():
    """The second one takes a step; it would go on for ever with less than nothing left."""
    fitting, _ = fitting_of(table(), seconds=1e-6)
    fits(False)["latent-diffusion"](fitting)
    assert fitting.spent.steps == 2


def test_comparison(tmp_path):
    file = tmp_path / "cells.json"
    found = compare(table(), ["gaussian"], file=file, **OPTIONS)
    models = [(row["model"], row["seed"]) for row in found.rows]
    one = ["real rows", "mixture", "gaussian"]
    assert models == [(model, seed) for seed in (0, 1) for model in one]
    assert all(not row.get("failed") for row in found.rows)
    start = time.perf_counter()
    again = compare(table(), ["gaussian"], file=file, **OPTIONS)
    assert again.rows == found.rows
    assert again.recommendation == found.recommendation
    assert time.perf_counter() - start < 5  # nothing was trained
    changed = DataSet("table", table().x + 1, ("a", "b"))
    with pytest.raises(ArgumentError, match="expected cells with digest"):
        compare(changed, ["gaussian"], file=file, **OPTIONS)


def test_broken_samples_are_a_failure(monkeypatch):
    from pyneural.experiments.comparison import gaussians

    def broken(fitting):
        fitted = gaussian(fitting)
        fitted.draw = lambda count: torch.full((count, 2), math.nan).double()
        return fitted

    gaussian = gaussians.fit_gaussian
    monkeypatch.setattr(gaussians, "fit_gaussian", broken)
    found = compare(table(), ["gaussian"], **OPTIONS)
    assert found.recommendation.model == "mixture"
    assert "gaussian is left out: 100 of 100 samples" in " ".join(found.recommendation.reasons)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"models": ["nfs"]}, "models: expected some of gaussian"),
        ({"budget": 0.0}, "budget: expected seconds > 0"),
        ({"budget": math.nan}, "budget: expected seconds > 0"),
        ({"steps": 0}, "steps: expected 1 or more"),
        ({"seeds": (1,)}, "seeds: expected two or more"),
        ({"seeds": 3}, r"seeds: expected two or more .*, got 3; write range\(3\)"),
        ({"seeds": None}, "seeds: expected two or more"),
        ({"seeds": "12"}, "seeds: expected a whole number"),
        ({"seeds": (1, 1)}, "seeds: expected two or more"),
        ({"measured": 0}, "measured: expected 20 or more"),
        ({"epochs": 0}, "epochs: expected 1 or more"),
    ],
)
def test_refused(wrong, expected):
    with pytest.raises(ArgumentError, match=expected):
        compare(table(), **{**OPTIONS, **wrong})


def test_command(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    quick = partial(compare, measured=100, epochs=2)
    monkeypatch.setattr("pyneural.experiments.comparison.command.compare", quick)
    np.save(tmp_path / "table.npy", table().x.numpy())
    options = ["--data", str(tmp_path / "table.npy"), "--models", "gaussian,vae", "--budget", "0.2"]
    out = tmp_path / "out"
    assert cli.main(["compare", *options, "--seeds", "2", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines()[:-4])) < 80
    assert "take " in printed
    assert re.search(
        r"steps of vae \d+: too few to judge these models; raise the\s+budget", printed
    )
    names = {path.name for path in out.iterdir()}
    assert names == {"compare.cells.json", "compare.csv", "compare.json", "compare.png"}
    kept = json.loads((out / "compare.json").read_text())
    assert {row["model"] for row in kept["models"]} == {"real rows", "mixture", "gaussian", "vae"}
    assert cli.main(["compare", "--data", "x.csv"]) == 2
    assert "expected a file, got x.csv" in capsys.readouterr().err
