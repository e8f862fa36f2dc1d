"""The layers of the package: each imports only those below it, never one above or beside it."""

import ast
import functools
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "pyneural"

# Each floor, and the floors below it that it imports.
BELOW = {
    "_C": set(),
    "_loader": {"_C"},
    "errors": set(),
    "memory": set(),
    "progress": set(),
    "ode": {"errors"},
    "ops": {"_C", "_loader", "ode", "errors", "memory"},
    "nn": {"ops", "errors"},
    "optim": {"ops"},
    "layers": {"ops", "nn", "errors"},
    "pde": {"ops", "nn", "ode", "errors", "progress"},
    "data": {"errors"},
    "metrics": {"optim", "errors", "progress"},
    "interpret": {"errors", "progress"},
    "plots": set(),
    "training": {"ops", "nn", "optim", "plots", "errors", "memory", "progress"},
    "models": {
        "ops",
        "nn",
        "optim",
        "pde",
        "ode",
        "training",
        "layers",
        "data",
        "errors",
        "memory",
        "progress",
    },
    "experiments": {
        "optim",
        "progress",
        "training",
        "models",
        "layers",
        "nn",
        "data",
        "metrics",
        "plots",
        "errors",
    },
    "demos": {
        "progress",
        "ops",
        "nn",
        "optim",
        "pde",
        "training",
        "models",
        "layers",
        "data",
        "metrics",
        "plots",
        "interpret",
        "experiments",
    },
    "cli": {"_C", "_loader", "demos", "experiments"},
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
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            argument = node.args[0]
            first = argument.values[0] if isinstance(argument, ast.JoinedStr) else argument
            names |= {str(getattr(first, "value", ""))}
    return {name for name in names if re.match(r"pyneural\.\w", name)}


@functools.cache
def floors_of(path: Path) -> tuple[str, set[str]]:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = ".".join(("pyneural", *parts[:-1]))
    return parts[0], {name.split(".")[1] for name in imported(tree, package)}


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_only(path):
    floor, used = floors_of(path)
    assert floor in BELOW, f"{floor} is on no floor; add it to this test and to CONTRIBUTING.md"
    above = used - BELOW[floor] - {floor, "__version__"}
    assert not above, f"{path.relative_to(PACKAGE)} ({floor}) imports {', '.join(sorted(above))}"


@pytest.mark.parametrize("floor", BELOW)
def test_every_permission_is_used(floor):
    imports = [floors_of(path) for path in FILES]
    used = set().union(*(below for name, below in imports if name == floor))
    assert BELOW[floor] <= used, f"{floor} imports no {BELOW[floor] - used}: remove the permission"


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
        ("import_module('pyneural._C')", {"pyneural._C"}),
        ("import_module(f'pyneural.demos.{name}')", {"pyneural.demos."}),
        ("import_module(f'pyneural.{name}')", set()),
        ("import torch", set()),
    ],
)
def test_imports_are_found(line, expected):
    assert imported(ast.parse(line), "pyneural.nn") == expected


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path, modules: set[str]) -> set[str]:
    """The modules that a file imports, those for annotations or inside functions included."""
    package = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]
    found = set()
    for name in imported(ast.parse(path.read_text(encoding="utf-8")), package):
        module = name if name in modules else name.rpartition(".")[0]
        found.add(module)
    return (found & modules) - {"pyneural"}


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a ring; none if there is no such ring."""
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for below in sorted(graph[module]):
            found = visit(below, [*path, module])
            if found:
                return found
        done.add(module)
        return []

    return next(filter(None, (visit(module, []) for module in sorted(graph))), [])


def test_modules_have_no_circle():
    modules = {module_of(path) for path in FILES}
    graph = {module_of(path): imports_of(path, modules) for path in FILES}
    assert len(graph["pyneural.training.run"]) > 5, "imports are not found"
    ring = circle(graph)
    assert not ring, " -> ".join(ring)


def test_circles_are_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
