import json

import pytest
import torch

from bench.__main__ import main
from bench.burgers import Case, Problem
from bench.comparison import relative_error
from bench.jet import IMPLEMENTATIONS, OURS, memory_subject
from bench.memory import measure
from bench.peers import jet_nested

TINY = Case(2, 7, 33)


def oracle(problem):
    return jet_nested.build(problem.double())()


def test_operations_by_hand():
    # Layers 2 -> 3 (value only), 3 -> 3 and 3 -> 1 (four channels), 5 points, 2 a multiply-add.
    assert Case(2, 3, 5).operations(4) == 3 * 2 * 5 * (2 * 3 + 4 * (3 * 3 + 3 * 1))


def test_case_from_text():
    assert Case.parse("4x64", None) == Case(4, 64, 10_000)
    assert Case.parse("4x256", None).points == 8192
    with pytest.raises(ValueError, match="expected DEPTHxWIDTH"):
        Case.parse("64", None)


def test_relative_error_finds_one_wrong_gradient():
    right = (torch.tensor(2.0), [torch.ones(3), torch.ones(2)])
    wrong = (torch.tensor(2.0), [torch.ones(3), torch.tensor([1.0, 2.0])])
    assert relative_error(right, right) == 0
    assert relative_error(wrong, right) == pytest.approx(0.5**0.5)
    assert relative_error((torch.tensor(float("nan")), right[1]), right) == float("inf")
    assert relative_error((right[0], [torch.ones(4), torch.ones(2)]), right) == float("inf")


# torch.compile takes longer than all the others together; the bench validates it at each run.
@pytest.mark.parametrize(
    "implementation",
    [i for i in IMPLEMENTATIONS if i.group != "compile"],
    ids=lambda implementation: implementation.name,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_implementation_agrees_with_the_oracle(implementation, dtype):
    if implementation.group == "jax":
        pytest.importorskip("jax")
    problem = Problem.random(TINY, dtype, "cpu", seed=3)
    result = implementation.build(problem)()
    limit = {torch.float32: 1e-4, torch.float64: 1e-11}[dtype]
    assert relative_error(result, oracle(problem)) < limit


def test_command_prints_a_table_and_keeps_json(tmp_path, capsys, monkeypatch):
    # It binds the whole process to cores.
    monkeypatch.setattr("bench.machine.use_threads", lambda threads: None)
    path = tmp_path / "out.json"
    arguments = "jet --quick --seconds 0 --case 2x8 --points 50 --peers eager --threads 1 --json"
    code = main([*arguments.split(), str(path)])
    printed = capsys.readouterr().out
    assert code == 0, printed
    case = json.loads(path.read_text())["jet"]["float32"]["cases"][0]
    assert case["rows"][OURS]["median"] > 0
    assert OURS in printed
    assert "torch eager, nested autograd" in printed


def test_command_refuses_a_bad_case(capsys):
    assert main(["jet", "--case", "big"]) == 2
    assert "expected DEPTHxWIDTH" in capsys.readouterr().out


def test_memory_counts_what_a_call_takes(monkeypatch):
    subject = {
        "implementation": "torch eager, nested autograd",
        "case": {"depth": 3, "width": 64, "points": 20_000},
        "dtype": "float32",
        "device": "cpu",
        "threads": 1,
    }
    monkeypatch.setattr("bench.memory.use_threads", lambda threads: None)
    # At the least the graph of the value: an activation of 5 MB a layer.
    try:
        extra = measure("jet", subject)
    except OSError:
        pytest.skip("no /proc/self/clear_refs to write to here")
    assert extra > 3 * 20_000 * 64 * 4
    assert memory_subject(subject)[2].case.points == 64
