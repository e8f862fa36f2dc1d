import json

import pytest
import torch

from bench.__main__ import main
from bench.comparison import relative_error
from bench.mse_loss import OURS, PEERS, Case, Problem, build_torch


@pytest.mark.parametrize("backward", [False, True])
def test_implementations_agree(backward):
    problem = Problem.random(Case(50), backward, torch.float64, "cpu", 3)
    oracle = build_torch(False, problem.double())()
    assert len(oracle) == 1 + backward
    for implementation in (OURS, PEERS[0]):
        assert relative_error(implementation.build(problem)(), oracle) < 1e-14


def test_command_prints_tables_and_keeps_json(tmp_path, capsys, monkeypatch):
    # It binds the whole process to cores.
    monkeypatch.setattr("bench.machine.use_threads", lambda threads: None)
    path = tmp_path / "out.json"
    arguments = "mse_loss --quick --seconds 0 --case 50 --peers eager --threads 1 --json"
    assert main([*arguments.split(), str(path)]) == 0
    cases = json.loads(path.read_text())["mse_loss"]["float32"]["cases"]
    assert [case["backward"] for case in cases] == [False, True]
    assert cases[1]["rows"]["pyneural"]["median"] > 0
    assert "torch eager" in capsys.readouterr().out


def test_command_refuses_a_bad_case(capsys):
    assert main(["mse_loss", "--case", "0"]) == 2
    assert "case: expected elements >= 1, got 0" in capsys.readouterr().out
