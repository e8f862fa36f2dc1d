"""The floors of the house: each imports only those below it, never one above or beside it."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "pyneural"

# Each floor and the ones that it may import besides itself.
BELOW = {
    "_C": set(),
    "_loader": {"_C"},
    "ops": {"_C", "_loader"},
    "nn": {"ops"},
    "layers": {"ops", "nn"},
    "pde": {"ops"},
    "data": set(),
    "plots": {"pde"},
    "training": {"ops", "nn", "pde", "plots"},
    "models": {"ops", "nn", "pde", "training", "layers", "data", "plots"},
    "demos": {"ops", "nn", "pde", "training", "models", "layers", "data", "plots"},
    "cli": {"_C", "_loader", "demos"},
    "__init__": set(),
}


def imported(tree: ast.AST, package: str) -> set[str]:
    """The modules of pyneural that a file imports, anywhere in it, as dotted names."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: -(node.level - 1) or None] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            # `from pyneural import nn` names the floor after the import.
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == "pyneural" and "." in name}


def floors_of(path: Path) -> tuple[str, set[str]]:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = ".".join(("pyneural", *parts[:-1]))
    return parts[0], {name.split(".")[1] for name in imported(tree, package)}


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_only(path):
    floor, used = floors_of(path)
    assert floor in BELOW, f"{floor} is on no floor; give it one in this test and in README.md"
    above = used - BELOW[floor] - {floor, "__version__"}
    assert not above, f"{path.relative_to(PACKAGE)} ({floor}) imports {', '.join(sorted(above))}"


def test_floors_have_no_cycle():
    for floor, below in BELOW.items():
        for other in below:
            assert floor not in BELOW[other], f"{floor} and {other} import each other"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("from pyneural import nn", {"pyneural.nn"}),
        ("import pyneural.ops.jet", {"pyneural.ops.jet"}),
        ("from . import mlp", {"pyneural.nn.mlp"}),
        ("from ..training import fit", {"pyneural.training.fit"}),
        ("def f():\n    from pyneural.models import pinn", {"pyneural.models.pinn"}),
        ("import torch", set()),
    ],
)
def test_imports_are_found(line, expected):
    assert imported(ast.parse(line), "pyneural.nn") == expected
