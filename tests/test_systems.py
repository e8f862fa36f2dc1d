"""Each system of the course has a demo, and each demo a picture and a test."""

import ast
from pathlib import Path

import pytest

from pyneural import cli

SYSTEMS = [f"S{number:02}" for number in range(1, 37)]
TESTS = Path(__file__).parent / "demos"


def strings(path):
    """All texts in a file, but for docstrings of more than a line."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}


@pytest.fixture(scope="module")
def shown():
    """Names of demos by system."""
    found = {}
    for name in cli.demo_names():
        for system in cli.load_demo(name).SYSTEMS:
            found.setdefault(system, []).append(name)
    return found


@pytest.mark.parametrize("system", SYSTEMS)
def test_each_system_has_a_demo(system, shown):
    assert shown.get(system), f"no demo shows {system}: add one, with it in SYSTEMS"


def test_no_demo_shows_a_system_that_is_not_there(shown):
    assert set(shown) <= set(SYSTEMS)


@pytest.mark.parametrize("name", cli.demo_names())
def test_each_demo_has_a_test(name):
    files = [path for path in TESTS.glob("test_*.py") if name in strings(path)]
    assert files, f"no file of tests/demos runs the demo {name}"


@pytest.mark.parametrize("name", cli.demo_names())
def test_each_demo_returns_a_figure(name):
    """What its ``run`` returns, in all ways but that of a list, comes from pyneural.plots."""
    path = Path(cli.load_demo(name).__file__)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    (run,) = [node for node in tree.body if getattr(node, "name", "") == "run"]
    returned = [node.value for node in ast.walk(run) if isinstance(node, ast.Return)]
    assert any(isinstance(value, ast.Call) for value in returned), f"{name} returns no figure"


@pytest.mark.parametrize("name", cli.demo_names())
def test_short_trainings_end_after_steps_on_a_busy_machine_too(name):
    """Pictures of the gallery are made by them; a limit in seconds would leave little there."""
    quick = getattr(cli.load_demo(name), "QUICK", ())
    assert "--time-limit" not in quick or "--steps" in quick
