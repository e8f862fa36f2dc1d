"""Problems of the gallery solved as their recipes say: easier ones before, windows of the time."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from pyneural.models import PINN, TimeWindows, solve
from pyneural.pde import gallery
from pyneural.training import TrainingReport


def with_recipe(problem, **changes):
    problem.recipe = replace(problem.recipe, hidden=(8, 8), points=300, **changes)
    return problem


def seeded(problem, **options):
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    return solve(problem, generator=generator, progress=False, **options)


def test_a_recipe_of_one_network():
    heat = with_recipe(gallery.Heat(), steps=30)
    solved = seeded(heat)
    assert isinstance(solved.model, PINN)
    assert (solved.steps, len(solved.reports), list(solved.pinns)) == (30, 1, [solved.model])
    assert solved.seconds > 0
    assert not solved.interrupted
    assert solved.model.relative_l2(*heat.test_grid()) < 1e-2
    assert seeded(heat, share=0.1).steps == 3


def test_windows_follow_each_other():
    ring = with_recipe(gallery.KdV(0.05), steps=30, windows=3)
    ring.modes, ring.steps = 64, 500
    solved = seeded(ring)
    assert isinstance(solved.model, TimeWindows)
    assert [len(solved.reports), len(solved.pinns)] == [3, 3]
    assert solved.model.relative_l2(*ring.test_grid()) < 1e-2
    x = torch.linspace(-1, 1, 9, dtype=torch.float64)
    for time, pair in zip(solved.model.times[1:], pairwise(solved.pinns), strict=False):
        points = torch.stack([torch.full_like(x, time), x], 1)
        before, after = (pinn.predict(points) for pinn in pair)
        assert (before - after).abs().max() < 1e-8 * before.abs().max()


def test_windows_are_in_float64():
    ring = with_recipe(gallery.KdV(), steps=1, windows=2)
    with pytest.raises(ValueError, match="solve: dtype: expected float64 for time windows"):
        seeded(ring, dtype=torch.float32)


def test_an_easier_problem_comes_first():
    class Heated(gallery.Heat):
        def easier(self):
            return [with_recipe(gallery.Heat(0.05), steps=20)]

    late, alone = Heated(), gallery.Heat()
    for problem in (late, alone):
        with_recipe(problem, steps=2)
    solved = seeded(late)
    assert [report.steps for report in solved.reports] == [20, 2]
    grid = alone.test_grid()
    assert solved.model.relative_l2(*grid) < 0.5 * seeded(alone).model.relative_l2(*grid)


@pytest.mark.parametrize("share", [0, -1.0])
def test_a_share_that_is_not_positive_is_refused(share):
    with pytest.raises(ValueError, match="share: expected a number > 0"):
        solve(gallery.Heat(), share=share, progress=False)


def test_after_an_interruption_the_model_is_one_of_the_problem(monkeypatch):
    class Heated(gallery.Heat):
        def easier(self):
            return [with_recipe(gallery.Heat(0.05), steps=2)] * 2

    fitted = []

    def recorded(pinn, **options):
        fitted.append(pinn)
        return fit(pinn, **options)

    fit = PINN.fit
    monkeypatch.setattr(PINN, "fit", recorded)
    monkeypatch.setattr(TrainingReport, "interrupted", True)
    problem = with_recipe(Heated(), steps=2)
    solved = seeded(problem)
    assert (len(fitted), len(solved.reports), solved.interrupted) == (1, 1, True)
    assert solved.model.equation is problem
    pairs = zip(solved.model.network.parameters(), fitted[0].network.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
