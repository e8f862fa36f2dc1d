"""bench diffusion: cases, and that torch does the same work."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from bench.comparison import relative_error
from bench.diffusion import WORKS, Case, Problem, build_ours, build_torch


def test_cases_are_read_and_others_refused():
    assert Case.parse("7:ddim").title == (
        "7 features, 128 x 128 x 128 units, 10000 rows, 100 evaluations: DDIM sampling"
    )
    for text in ("7", "x:step", "7:fit"):
        with pytest.raises(ValueError, match="FEATURES:ancestral, ddim, ode, step, got"):
            Case.parse(text)


def test_operations_by_hand():
    case = replace(Case.parse("2:ddim"), rows=10, units=(3,), steps=5)
    assert Problem.random(case, torch.float32, 0).operations() == 2 * 10 * 5 * (2 * 3 + 3 * 2)
    case = replace(case, work="step")
    edges = 2 * 3 + 3 * 2 + 16 * 3
    assert Problem.random(case, torch.float32, 0).operations() == 3 * 2 * 10 * edges


@pytest.mark.parametrize("work", WORKS)
def test_torch_does_the_same_work(work):
    rows = 5000 if work == "ancestral" else 20
    case = Case(3, work, rows, 8, (16, 12))
    problem = Problem.random(case, torch.float64, seed=1)
    ours, theirs = (build(problem)() for build in (build_ours, build_torch))
    assert relative_error(ours, theirs) < (0.1 if work == "ancestral" else 1e-9)
