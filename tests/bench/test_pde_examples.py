"""``bench pde_examples``: a row for each problem, with error and seconds."""

from __future__ import annotations

import torch

from bench.__main__ import main
from bench.pde_examples import EXAMPLES, ITERATIONS
from bench.peers.pde_deepxde import PROBLEMS


def test_a_row_for_each_problem(capsys):
    try:
        assert main(["pde_examples", "--case", "robin_rod", "--rounds", "1", "--steps", "20"]) == 0
    finally:
        torch.set_default_dtype(torch.float32)
    *_, row = capsys.readouterr().out.splitlines()
    name, error, seconds, *_ = row.split()
    assert name == "robin_rod"
    assert 0 < float(error) < 1
    assert float(seconds) > 0


def test_the_peer_solves_some_of_the_examples():
    assert set(PROBLEMS) < set(EXAMPLES)
    assert ITERATIONS.keys() == PROBLEMS.keys()
