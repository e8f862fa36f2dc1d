import json

import pytest
import torch

from bench.__main__ import main
from bench.comparison import relative_error
from bench.rnn import OURS, TORCH, Case, Problem, build


def test_case_from_text():
    assert Case.parse("3x10x4x5:GRU") == [Case(3, 10, 4, 5, "GRU")]
    assert [case.layer for case in Case.parse("3x10x4x5")] == ["RNN", "GRU", "LSTM"]
    for text in ("3x10x4", "3x10x4x0", "3x10x4x5:MLP", "axb"):
        with pytest.raises(ValueError, match="expected ROWSxSTEPSxINPUTSxHIDDEN"):
            Case.parse(text)


def test_operations_by_hand():
    (case,) = Case.parse("3x10x4x5:GRU")
    forward = 2 * 3 * 10 * 3 * 5 * (4 + 5)
    for backward in (False, True):
        problem = Problem.random(case, backward, torch.float32, "cpu", 0)
        assert problem.operations() == forward * (3 if backward else 1)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("layer", ["RNN", "GRU", "LSTM"])
def test_implementations_agree(layer, backward):
    problem = Problem.random(Case(3, 10, 4, 5, layer), backward, torch.float64, "cpu", 3)
    oracle = build(torch.nn, problem.double())()
    for implementation in (OURS, TORCH):
        assert relative_error(implementation.build(problem)(), oracle) < 1e-12


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_command_prints_tables_and_keeps_json(dtype, tmp_path, capsys, monkeypatch):
    # It binds the whole process to cores.
    monkeypatch.setattr("bench.machine.use_threads", lambda threads: None)
    path = tmp_path / "out.json"
    arguments = f"rnn --dtype {dtype} --quick --seconds 0 --case 3x10x4x5:LSTM --threads 1 --json"
    code = main([*arguments.split(), str(path)])
    printed = capsys.readouterr().out
    assert code == 0, printed
    cases = json.loads(path.read_text())["rnn"][dtype]["cases"]
    assert [case["backward"] for case in cases] == [False, True]
    assert cases[1]["rows"]["torch"]["median"] > 0


def test_command_refuses_a_bad_case(capsys):
    assert main(["rnn", "--case", "big"]) == 2
    assert "expected ROWSxSTEPSxINPUTSxHIDDEN" in capsys.readouterr().out
