import json

import pytest
import torch

from bench.__main__ import main
from bench.comparison import relative_error
from bench.mlp import CASES, OURS, PEERS, TOLERANCE, WIDE, Case, Problem, build_torch


def test_case_from_text():
    assert Case.parse("10:3-4-1:tanh") == Case(10, (3, 4, 1), "tanh")
    assert Case.parse("1000:3-4-1:tanh").title == "1,000 rows, 3-4-1, tanh"
    for text in ("10:3:tanh", "10:3-4", "10:3-4-1:swish", "0:3-4:tanh", "10:3-0-1:tanh"):
        with pytest.raises(ValueError, match="expected ROWS:INPUTS-WIDTH"):
            Case.parse(text)
    assert set(WIDE) < set(CASES)


def test_operations_by_hand():
    case = Case(5, (3, 4, 2), "tanh")
    for backward, products in ((False, 1), (True, 3)):
        problem = Problem.random(case, backward, torch.float32, "cpu", 0)
        assert problem.operations() == products * 2 * 5 * (3 * 4 + 4 * 2)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_implementations_agree(dtype, backward):
    """In halves the kernels go layer by layer, which they do from a width of 129."""
    width = 129 if dtype in (torch.bfloat16, torch.float16) else 7
    problem = Problem.random(Case(9, (5, width, 6, 2), "silu"), backward, dtype, "cpu", 3)
    oracle = build_torch(False, problem.double())()
    assert len(oracle) == (8 if backward else 1)
    for implementation in (OURS, PEERS[0]):
        result = implementation.build(problem)()
        assert all(tensor.dtype == dtype for tensor in result)
        assert relative_error(result, oracle) < TOLERANCE[dtype]


def test_command_prints_tables_and_keeps_json(tmp_path, capsys, monkeypatch):
    # It binds the whole process to cores.
    monkeypatch.setattr("bench.machine.use_threads", lambda threads: None)
    path = tmp_path / "out.json"
    arguments = (
        "mlp --quick --seconds 0 --dtype bfloat16 --case 9:5-129-2:tanh --peers eager --threads 1"
    )
    code = main([*arguments.split(), "--json", str(path)])
    printed = capsys.readouterr().out
    assert code == 0, printed
    cases = json.loads(path.read_text())["mlp"]["bfloat16"]["cases"]
    assert [case["backward"] for case in cases] == [False, True]
    assert cases[1]["rows"][OURS.name]["median"] > 0
    assert "torch eager" in printed


def test_command_refuses_a_bad_case(capsys):
    assert main(["mlp", "--case", "big"]) == 2
    assert "expected ROWS:INPUTS-WIDTH" in capsys.readouterr().out
