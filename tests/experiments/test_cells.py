"""Cells of an experiment: run once each, kept in a file, resumed, shared over processes."""

import csv
import json
import math
import os
import signal

import pytest
import torch

from pyneural.errors import ArgumentError
from pyneural.experiments import Cell, run_cells, summary, write_csv
from pyneural.experiments.progress import time_left
from pyneural.training import Model
from tests.processes import run_on_two_processes


def cells_of(calls, seeds=(0, 1), sizes=(1, 2)):
    """Cells that note their calls."""

    def run(size, seed):
        calls.append((size, seed))
        return {"value": size + seed, "random": float(torch.rand(())), "curve": [1.0, 2.0]}

    return [
        Cell({"size": size, "seed": seed}, lambda size=size, seed=seed: run(size, seed))
        for seed in seeds
        for size in sizes
    ]


def test_table(tmp_path):
    rows = run_cells(cells_of([]), tmp_path / "cells.json", verbose=False)
    assert [(row["size"], row["seed"], row["value"]) for row in rows] == [
        (1, 0, 1), (2, 0, 2), (1, 1, 2), (2, 1, 3),
    ]  # fmt: skip
    assert all(row["seconds"] >= 0 and row["curve"] == [1.0, 2.0] for row in rows)
    assert os.listdir(tmp_path) == ["cells.json"]


def test_finished_cells_are_not_run_again(tmp_path):
    calls, file = [], tmp_path / "cells.json"
    first = run_cells(cells_of(calls, seeds=[0]), file, settings={"budget": 1}, verbose=False)
    again = run_cells(cells_of(calls), file, settings={"budget": 1}, verbose=False)
    assert calls == [(1, 0), (2, 0), (1, 1), (2, 1)]
    assert again[:2] == first
    # Fewer are asked for, but none is forgotten.
    run_cells(cells_of(calls, seeds=[1]), file, settings={"budget": 1}, verbose=False)
    assert len(calls) == 4
    assert len(json.loads(file.read_text())["cells"]) == 4


@pytest.mark.parametrize("found", [None, 3.0, [("loss", 1.0)]])
def test_a_cell_gives_its_values_by_column(found, tmp_path):
    cell = Cell({"seed": 0}, lambda: found)
    with pytest.raises(ArgumentError, match=r"run_cells: seed 0: expected .* return a dict"):
        run_cells([cell], tmp_path / "cells.json", verbose=False)


def test_interrupted_between_cells(tmp_path):
    calls, file = [], tmp_path / "cells.json"
    cells = cells_of(calls)

    def interrupt():
        raise KeyboardInterrupt

    broken = [*cells[:2], Cell(cells[2].labels, interrupt), cells[3]]
    with pytest.raises(KeyboardInterrupt):
        run_cells(broken, file, verbose=False)
    assert calls == [(1, 0), (2, 0)]
    rows = run_cells(cells, file, verbose=False)
    assert calls == [(1, 0), (2, 0), (1, 1), (2, 1)]
    assert rows == run_cells(cells, file, verbose=False)


def test_half_trained_model_is_no_result(listening, tmp_path):
    """The first Ctrl-C lets a training of its own return; in a cell it must not."""

    def train():
        model = Model(torch.nn.Linear(1, 1))
        model.compile("sgd", "mse")
        signal_once = iter([True])

        def loss_hook(module, inputs, output):
            if next(signal_once, False):
                signal.raise_signal(signal.SIGINT)

        model.module.register_forward_hook(loss_hook)
        model.fit(torch.ones(8, 1), torch.ones(8, 1), batch_size=1, epochs=5, verbose=0)
        return {"trained": True}

    file = tmp_path / "cells.json"
    with pytest.raises(KeyboardInterrupt):
        run_cells([Cell({"seed": 0}, train)], file, verbose=False)
    assert json.loads(file.read_text())["cells"] == []


def test_random_numbers_depend_on_the_cell_alone():
    alone = run_cells(cells_of([], seeds=[1], sizes=[2]), verbose=False)
    state = torch.get_rng_state()
    together = run_cells(cells_of([]), verbose=False)
    assert torch.equal(state, torch.get_rng_state())
    assert together[3]["random"] == alone[0]["random"]
    assert len({row["random"] for row in together}) == 4


def test_what_is_not_finite_is_none(tmp_path):
    cell = Cell({"seed": 0}, lambda: {"loss": math.nan, "top": math.inf, "curve": [math.nan, 1.0]})
    (row,) = run_cells([cell], tmp_path / "cells.json", verbose=False)
    assert row["loss"] is None
    assert row["top"] is None
    assert row["curve"] == [None, 1.0]


def test_other_settings_are_refused(tmp_path):
    calls, file = [], tmp_path / "cells.json"
    run_cells(cells_of(calls), file, settings={"budget": 1.0, "data": "a"}, verbose=False)
    expected = "expected cells with budget 2.0 in .*, got some with budget 1.0; .*delete it"
    with pytest.raises(ArgumentError, match=expected):
        run_cells(cells_of(calls), file, settings={"budget": 2.0, "data": "a"}, verbose=False)
    assert len(calls) == 4
    assert json.loads(file.read_text())["settings"] == {"budget": 1.0, "data": "a"}


@pytest.mark.parametrize("text", ["", "{}", '{"settings": {}, "cells": [3]}', "[]"])
def test_damaged_file_is_refused(tmp_path, text):
    file = tmp_path / "cells.json"
    file.write_text(text)
    with pytest.raises(ArgumentError, match=r"expected finished cells in .*; delete it"):
        run_cells(cells_of([]), file, verbose=False)
    assert file.read_text() == text


def test_refused_cells():
    cell = Cell({"seed": 0}, lambda: {"value": 1})
    with pytest.raises(ArgumentError, match=r"different labels, got \['seed 0'\]"):
        run_cells([cell, cell], verbose=False)
    with pytest.raises(ArgumentError, match=r"beside the labels, got \['seed'\]"):
        run_cells([Cell({"seed": 0}, lambda: {"seed": 1})], verbose=False)
    with pytest.raises(ArgumentError, match=r"seed 0: value: expected numbers, .* got Tensor"):
        run_cells([Cell({"seed": 0}, lambda: {"value": torch.ones(2)})], verbose=False)


SCRIPT = """
import json, os, sys
from pathlib import Path
import torch
from pyneural.experiments import run_cells
from tests.experiments.test_cells import cells_of, trained_cells

out, calls = Path(sys.argv[1]), []
cells = cells_of(calls) + trained_cells()
rows = run_cells(cells, out / "cells.json", settings={"n": 1})
text = json.dumps({"calls": calls, "rows": rows, "files": sorted(os.listdir(out))})
(out / f"rank{os.environ['RANK']}").write_text(text)
"""


def trained_cells():
    """A cell whose training must not wait for the other process."""

    def train():
        torch.manual_seed(0)
        model = Model(torch.nn.Linear(1, 1))
        model.compile("sgd", "mse")
        x = torch.ones(9, 1)
        history = model.fit(x, x, batch_size=2, verbose=0)
        return {"loss": history["loss"][-1]}

    return [Cell({"size": 9, "seed": 0}, train)]


def test_two_processes(tmp_path):
    alone = run_cells(cells_of([]) + trained_cells(), verbose=False)
    # What an interrupted process has left behind: the first cell.
    left = {"labels": {"size": 1, "seed": 0}, "values": {"value": -1}, "seconds": 0.5}
    part = {"settings": {"n": 1}, "cells": [left]}
    (tmp_path / "cells.part1.json").write_text(json.dumps(part))
    run_on_two_processes(SCRIPT, tmp_path)
    first, second = (json.loads((tmp_path / f"rank{rank}").read_text()) for rank in (0, 1))
    assert first["rows"] == second["rows"]
    assert first["rows"][0] == {"size": 1, "seed": 0, "value": -1, "seconds": 0.5}
    for row, expected in zip(first["rows"][1:], alone[1:], strict=True):
        assert {**row, "seconds": 0} == {**expected, "seconds": 0}
    assert first["calls"] == [[2, 0], [2, 1]]
    assert second["calls"] == [[1, 1]]
    kept = json.loads((tmp_path / "cells.json").read_text())["cells"]
    assert len(kept) == 5
    assert not (tmp_path / "cells.part1.json").exists()


def timed(kind, seed, expected=None):
    return Cell({"model": kind, "seed": seed}, dict, expected)


def test_time_left():
    waiting = [timed("slow", 1), timed("fast", 1)]
    assert time_left([], waiting) is None
    assert time_left([(timed("slow", 0), 8.0)], waiting) == 16
    finished = [(timed("slow", 0), 8.0), (timed("fast", 0), 1.0)]
    assert time_left(finished, waiting) == 9
    assert time_left(finished, waiting, running=5.0) == 4
    assert time_left(finished, waiting, running=50.0) == 1
    # What is expected is corrected by what was found.
    finished = [(timed("a", 0, 2.0), 3.0)]
    assert time_left(finished, [timed("b", 0, 4.0)]) == 6
    assert time_left([], [timed("b", 0, 4.0)]) == 4


def test_bar_in_a_file_has_no_control_characters(capsys):
    run_cells(cells_of([]))
    assert capsys.readouterr().err == ""


def test_written_table(tmp_path):
    rows = run_cells(cells_of([]), verbose=False)
    write_csv(tmp_path / "table.csv", [{**row, "seconds": 1.5} for row in rows])
    with open(tmp_path / "table.csv") as file:
        read = list(csv.DictReader(file))
    assert list(read[0]) == ["size", "seed", "value", "random", "seconds"]
    assert [row["value"] for row in read] == ["1", "2", "2", "3"]
    assert summary(rows, "size")[1]["value"] == 2.5
