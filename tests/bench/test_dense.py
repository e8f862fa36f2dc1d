import json

import pytest
import torch

from bench.__main__ import main
from bench.comparison import relative_error
from bench.dense import DENSE, MASKED, PEERS, TOLERANCE, Case, Problem, build_torch, cases


def test_case_from_text():
    assert Case.parse("10x3x4:tanh") == Case(10, 3, 4, "tanh", 0.0)
    assert Case.parse("10x3x4:tanh:0.5").title == "10 x 3 x 4, tanh, 50% of the edges absent"
    for text in ("10x3:tanh", "10x3x4", "10x3x4:swish", "10x3x4:tanh:1", "0x3x4:tanh"):
        with pytest.raises(ValueError, match="expected ROWSxINPUTSxOUTPUTS:ACTIVATION"):
            Case.parse(text)


def test_operations_by_hand():
    case = Case(5, 3, 4, "tanh", 0.0)
    assert Problem.random(case, False, torch.float32, "cpu", 0).operations() == 2 * 5 * 3 * 4
    assert Problem.random(case, True, torch.float32, "cpu", 0).operations() == 6 * 5 * 3 * 4


@pytest.mark.parametrize("backward", [False, True])
def test_implementations_agree(backward):
    problem = Problem.random(Case(9, 7, 5, "gelu", 0.6), backward, torch.float64, "cpu", 3)
    oracle = build_torch(False, problem.double())()
    assert relative_error(DENSE.build(problem)(), oracle) < 1e-12
    assert relative_error(PEERS[0].build(problem)(), oracle) < 1e-12
    if backward:
        oracle[2] = oracle[2][problem.mask]
    assert relative_error(MASKED.build(problem)(), oracle) < 1e-12


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halves(dtype):
    """All but the sparse cases, which masked_dense does not have in them."""
    problem = Problem.random(Case(9, 70, 5, "gelu", 0.0), True, dtype, "cpu", 3)
    oracle = build_torch(False, problem.double())()
    for implementation in (DENSE, PEERS[0]):
        result = implementation.build(problem)()
        assert all(tensor.dtype == dtype for tensor in result)
        assert relative_error(result, oracle) < TOLERANCE[dtype]
    assert [case for case in cases(None, torch.float32) if not case.sparsity] == cases(None, dtype)
    with pytest.raises(ValueError, match="expected float32 or float64 where edges are absent"):
        cases(["9x5x3:relu:0.5"], dtype)


def test_command_prints_tables_and_keeps_json(tmp_path, capsys, monkeypatch):
    # It binds the whole process to cores.
    monkeypatch.setattr("bench.machine.use_threads", lambda threads: None)
    path = tmp_path / "out.json"
    arguments = "dense --quick --seconds 0 --case 50x8x6:relu:0.5 --peers eager --threads 1 --json"
    code = main([*arguments.split(), str(path)])
    printed = capsys.readouterr().out
    assert code == 0, printed
    cases = json.loads(path.read_text())["dense"]["float32"]["cases"]
    assert [case["backward"] for case in cases] == [False, True]
    assert cases[1]["rows"][MASKED.name]["median"] > 0
    assert "torch eager" in printed


def test_command_refuses_a_bad_case(capsys):
    assert main(["dense", "--case", "big"]) == 2
    assert "expected ROWSxINPUTSxOUTPUTS" in capsys.readouterr().out
