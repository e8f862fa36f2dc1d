"""``bench gram``: every implementation against the Jacobian by torch.func."""

from __future__ import annotations

import json

import pytest
import torch

from bench.__main__ import main
from bench.burgers import Case, Problem
from bench.comparison import relative_error
from bench.gram import IMPLEMENTATIONS, build_func, operations

TINY = Case(2, 7, 33)


@pytest.mark.parametrize(
    "implementation",
    [i for i in IMPLEMENTATIONS if i.group != "compile"],
    ids=lambda implementation: implementation.name,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_implementation_agrees(implementation, dtype):
    if implementation.group == "jax":
        pytest.importorskip("jax")
    problem = Problem.random(TINY, dtype, "cpu", seed=3)
    exact = build_func(problem.double())()
    limit = {torch.float32: 1e-4, torch.float64: 1e-11}[dtype]
    assert relative_error(implementation.build(problem)(), exact) < limit


def test_operations_by_hand():
    problem = Problem.random(Case(1, 3, 5), torch.float64, "cpu")
    assert operations(problem) == 13 * 14 * 5  # 2 x 3 + 3 and 3 x 1 + 1 parameters, 5 points


def test_command(tmp_path, capsys, monkeypatch):
    # It binds the whole process to cores.
    monkeypatch.setattr("bench.machine.use_threads", lambda threads: None)
    path = tmp_path / "out.json"
    options = (
        "--case",
        "2x7",
        "--points",
        "33",
        "--peers",
        "func",
        "--seconds",
        "0.01",
        "--threads",
        "1",
    )
    assert main(["gram", *options, "--json", str(path)]) == 0
    assert "pyneural" in capsys.readouterr().out
    (case,) = json.loads(path.read_text())["gram"]["float64"]["cases"]
    assert {"pyneural", "torch.func, eager"} <= set(case["rows"])
