"""``bench pde_examples``: a row for each problem, with error and seconds of each solver."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from bench import pde_examples
from bench.__main__ import main
from bench.pde_examples import EXAMPLES, ITERATIONS
from bench.peers import pde_deepxde, pde_pina


def last_row(capsys, *options):
    try:
        assert main(["pde_examples", "--case", "robin_rod", "--rounds", "1", *options]) == 0
    finally:
        torch.set_default_dtype(torch.float32)
    *_, names, row = capsys.readouterr().out.splitlines()
    return names, row


def test_a_row_for_each_problem(capsys):
    _, row = last_row(capsys, "--steps", "20")
    name, error, seconds, *_ = row.split()
    assert name == "robin_rod"
    assert 0 < float(error) < 1
    assert float(seconds) > 0


def test_a_column_for_each_peer_that_is_installed(capsys, monkeypatch):
    asked = []

    def solve(steps, seed):
        asked.append((steps, seed))
        return 0.5, 1.0

    peers = {
        "Absent": ("a_package_that_is_not_there", None),
        "Idle": ("torch", SimpleNamespace(load=list, PROBLEMS={})),
        "Other": ("torch", SimpleNamespace(load=list, PROBLEMS={"robin_rod": solve})),
    }
    monkeypatch.setattr(pde_examples, "PEERS", peers)
    names, row = last_row(capsys, "--steps", "1")
    assert names.split() == ["pyneural", "Idle", "Other"]
    assert asked == [(ITERATIONS["robin_rod"], 0)]
    assert row[44:66] == " " * 22
    assert row[66:].split()[0] == "5.0e-01"


def test_which_examples_the_peers_solve():
    assert set(pde_deepxde.PROBLEMS) == set(ITERATIONS) == set(EXAMPLES)
    assert set(pde_pina.PROBLEMS) < set(EXAMPLES)
