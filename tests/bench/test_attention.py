import json

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from bench.__main__ import main
from bench.attention import CASES, OURS, PEERS, Case, Problem, build, memory_subject
from bench.comparison import relative_error


def test_case_from_text():
    assert Case.parse("1x2x3x4:full") == [Case(1, 2, 3, 4, False)]
    assert [case.is_causal for case in Case.parse("1x2x3x4")] == [False, True]
    for text in ("1x2x3", "1x2x3x0", "1x2x3x4:half", "axb"):
        with pytest.raises(ValueError, match="expected BATCHxHEADSxLENGTHxWIDTH"):
            Case.parse(text)
    assert {16, 64, 128} == {case.width for text in CASES for case in Case.parse(text)}


def test_operations_by_hand():
    for is_causal, scores in ((False, 25), (True, 15)):
        case = Case(2, 3, 5, 4, is_causal)
        for backward, products in ((False, 2), (True, 7)):
            problem = Problem.random(case, backward, torch.float32, "cpu", 0)
            assert problem.operations() == 2 * products * 2 * 3 * scores * 4


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("backward", [False, True])
def test_implementations_agree(backward, is_causal):
    problem = Problem.random(Case(2, 2, 9, 4, is_causal), backward, torch.float32, "cpu", 3)
    oracle = build(scaled_dot_product_attention, problem.double())()
    for implementation in (OURS, *PEERS[:2]):
        assert relative_error(implementation.build(problem)(), oracle) < 1e-5


def test_memory_subject():
    implementation, problem, small = memory_subject({"dtype": "float32", "device": "cpu"})
    assert implementation is OURS
    assert problem.grad_out.shape[2] > small.grad_out.shape[2]


def test_command_prints_tables_and_keeps_json(tmp_path, capsys, monkeypatch):
    # It binds the whole process to cores.
    monkeypatch.setattr("bench.machine.use_threads", lambda threads: None)
    path = tmp_path / "out.json"
    arguments = (
        "attention --quick --seconds 0 --case 1x2x9x4:causal --threads 1 --peers sdpa --json"
    )
    code = main([*arguments.split(), str(path)])
    printed = capsys.readouterr().out
    assert code == 0, printed
    cases = json.loads(path.read_text())["attention"]["float32"]["cases"]
    assert [case["backward"] for case in cases] == [False, True]
    assert cases[1]["rows"]["torch sdpa"]["median"] > 0


def test_command_refuses_a_bad_case(capsys):
    assert main(["attention", "--case", "big"]) == 2
    assert "expected BATCHxHEADSxLENGTHxWIDTH" in capsys.readouterr().out
