"""The demos of experiments, of a dense layer and of Keras's snippet, made short."""

from __future__ import annotations

import csv
import json
import signal
from dataclasses import replace

import pytest

from pyneural import cli
from pyneural.demos import cheatsheet as cheatsheet_demo
from pyneural.demos import networks as networks_demo
from pyneural.experiments import cheatsheet, networks
from tests.demos.screen import run_demo, value

pytest.importorskip("matplotlib")
pytest.importorskip("scipy")
pytest.importorskip("sklearn")


@pytest.fixture
def short_sweeps(monkeypatch):
    """All sweeps, with trainings of a few epochs."""
    read = (1, 2, 3, 4, 6)
    names = dict(zip((6, 20, 60, 200, 600), read, strict=True))
    rules = []
    for rule in cheatsheet.RULES:
        sweeps = [
            replace(
                sweep,
                epochs=tuple(names[epoch] for epoch in sweep.epochs),
                setups={
                    name: replace(setup, epochs=6 if sweep.epochs else 1, width=4, batch=50)
                    for name, setup in sweep.setups.items()
                },
            )
            for sweep in rule.sweeps
        ]
        contrasts = rule.contrasts
        if rule.number == 2:
            (first, last), others = rule.contrasts["epochs"], tuple(map(str, read))
            contrasts = {
                "epochs": [
                    replace(first, larger="1", smaller=others[1:]),
                    replace(last, larger="6", smaller=others[:-1]),
                ]
            }
        rules.append(replace(rule, sweeps=sweeps, contrasts=contrasts))
    monkeypatch.setattr(cheatsheet, "RULES", tuple(rules))
    monkeypatch.setattr("pyneural.experiments.cheatsheet.training.HELD_OUT", 20)


def run_experiment(name, tmp_path, capsys, *options):
    """What it prints; its tables lie beside the picture, and nothing else."""
    assert cli.main(["demo", name, "--out", str(tmp_path), *options]) == 0
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"{name}.csv", f"{name}.json", f"{name}.png"]
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert [line for line in lines if len(line) >= 80 and str(tmp_path) not in line] == []
    with open(tmp_path / f"{name}.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return out, rows, json.loads((tmp_path / f"{name}.json").read_text())


def test_cheatsheet(short_sweeps, tmp_path, capsys):
    out, rows, kept = run_experiment("cheatsheet", tmp_path, capsys, "--seeds", "2")
    statements = [c.statement for r in cheatsheet.RULES for cs in r.contrasts.values() for c in cs]
    assert [one["statement"] for one in kept["conclusions"]] == statements
    assert all(f"  {statement}\n" in out for statement in statements)
    endings = ("holds", "does not hold", "can't tell: within the spread")
    assert sum(line.endswith(endings) for line in out.splitlines()) == len(statements)
    assert len(rows) == len(kept["rows"]) == 2 * (5 + sum(
        len(sweep.setups) for rule in cheatsheet.RULES for sweep in rule.sweeps if not sweep.epochs
    ))  # fmt: skip


@pytest.fixture
def three_networks(monkeypatch):
    few = {name: networks.NETWORKS[name] for name in ("linear", "MLP 16", "GRU")}
    monkeypatch.setattr(networks_demo, "NETWORKS", few)
    monkeypatch.setattr("pyneural.experiments.networks.costs._SECONDS", 0.0)
    return few


def test_networks(three_networks, tmp_path, capsys):
    out, rows, kept = run_experiment("networks", tmp_path, capsys, "--seeds", "2", "--epochs", "2")
    assert len(rows) == 6
    assert {row["network"] for row in rows} == set(three_networks)
    stars = [line.split()[0] for line in out.splitlines() if line.endswith(" *")]
    recommended = value(out, "recommended").partition(",")[0]
    assert recommended == kept["recommended"] in kept["as_good_as_the_best"]
    assert len(stars) == len(kept["as_good_as_the_best"])
    costs = {name: kept["networks"][name]["operations"] for name in kept["as_good_as_the_best"]}
    assert costs[recommended] == min(costs.values())
    assert out.count("rank correlation") == 3


def test_an_interrupted_experiment_goes_on(
    listening, three_networks, tmp_path, capsys, monkeypatch
):
    calls = []

    def train(name, epochs, seed):
        calls.append((name, seed))
        if len(calls) == 4:
            signal.raise_signal(signal.SIGINT)
        return {"accuracy": 0.9 + 0.001 * len(calls)}

    monkeypatch.setattr(networks_demo, "train", train)
    options = ("demo", "networks", "--out", str(tmp_path), "--seeds", "2")
    assert cli.main(options) == cli.INTERRUPTED
    assert [path.name for path in tmp_path.iterdir()] == ["networks-cells.json"]
    assert cli.main(options) == 0
    assert calls[:3] == [(name, 0) for name in three_networks]
    assert calls[3:] == [("linear", 1), ("linear", 1), ("MLP 16", 1), ("GRU", 1)]
    assert not (tmp_path / "networks-cells.json").exists()


def test_other_processes_of_torchrun_print_and_draw_nothing(
    three_networks, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(networks_demo, "train", lambda *_: {"accuracy": 0.5})
    args = ("demo", "networks", "--out", str(tmp_path), "--seeds", "2")
    assert cli.main(args) == 0
    assert capsys.readouterr().out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["networks-cells.json"]


def test_cheapest_of_the_best_is_recommended():
    from pyneural.plots import NetworkCost

    def cost(accuracies, operations):
        return NetworkCost("", accuracies, operations, 1, [1.0], [1.0])

    found = {
        "poor": cost([0.5, 0.51, 0.49], 1), "good": cost([0.9, 0.92, 0.91], 10),
        "best": cost([0.91, 0.93, 0.90], 100),
    }  # fmt: skip
    assert networks_demo._recommended(found) == ("good", ["good", "best"])


def test_panels_show_every_judged_statement(short_sweeps):
    sweeps = {sweep for _, _, _, curves in cheatsheet_demo.PANELS for sweep, *_ in curves}
    assert sweeps == {sweep.name for rule in cheatsheet.RULES for sweep in rule.sweeps}


def test_dense_layer(tmp_path, capsys):
    out = run_demo("dense-layer", tmp_path, capsys)
    assert value(out, "layer").startswith("3 to 4 nodes: 16 parameters, 3 x 4 weight + 4 bias")
    rows = [line.split() for line in out.splitlines() if line.split()[:1] == ["512"]]
    ((_, count, ours, torchs, our_gradient, torchs_gradient),) = rows
    assert count == f"{512 * 513:,}"
    assert float(ours) < 3 * float(torchs)  # of rounding, which differs by the processor
    assert float(our_gradient) < 3 * float(torchs_gradient)


def test_keras_style(tmp_path, capsys):
    out = run_demo("keras-style", tmp_path, capsys, "--epochs", "10")
    assert "from pyneural.models import Sequential" in out
    assert "keras" not in out.partition("  parameters")[0]
    assert float(value(out, "accuracy").partition("%")[0]) > 60
