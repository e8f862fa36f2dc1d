"""bench flows: cases, and that both packages do the same work."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch

from bench.comparison import relative_error
from bench.flows import CASES, Case, Problem, build
from bench.peers import flows_flowjax


def test_cases_are_read_and_others_refused():
    assert Case.parse("NSF:64:sample").title.endswith(
        "64 features, 5 transforms with 128 x 128 units, 1024 rows: sampling"
    )
    for text in ("NSF:7", "NSF:x:step", "NSF:7:fit"):
        with pytest.raises(ValueError, match="FLOW:FEATURES:step, sample or log_prob, got"):
            Case.parse(text)


def test_operations_are_those_of_weights_that_are_present():
    case = replace(Case.parse("MAF:2:step"), transforms=1, hidden=(3,), rows=10)
    problem = Problem.random(case, torch.float64, seed=0)
    # Each of three units sees the first feature alone, and gives two numbers for the second.
    assert problem.operations() == 3 * 2 * 10 * (3 + 3 * 2)


@pytest.mark.parametrize("text", [case for case in CASES if not case.startswith("CNF")])
def test_both_packages_do_the_same_work(text):
    pytest.importorskip("zuko")
    case = replace(Case.parse(text), transforms=2, hidden=(6, 5), rows=9)
    problem = Problem.random(case, torch.float64, seed=1)
    ours, theirs = (build(package, problem)() for package in ("pyneural.models", "zuko.flows"))
    assert relative_error(ours, theirs) < 1e-9


def test_flowjax_trains_a_flow_of_the_same_size():
    pytest.importorskip("flowjax")
    calls, errors, absent = {}, {}, {}
    problem = Problem.random(Case("MAF", 3, "step", 2, (8, 8), 16), torch.float32, 0)
    flows_flowjax.added(problem, calls, errors, absent)
    (call,) = calls.values()
    first, *_, last = (float(call()[0]) for _ in range(50))
    assert last < first
    assert not absent


def test_flowjax_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "flowjax", None)
    monkeypatch.setitem(sys.modules, "equinox", None)
    calls, errors, absent = {}, {}, {}
    problem = Problem.random(Case("MAF", 3, "step"), torch.float32, 0)
    flows_flowjax.added(problem, calls, errors, absent)
    assert not calls
    assert "Error" in absent["FlowJAX, jit, own weights"]
