"""pyproject.toml declares what pyneural imports, and nothing else."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Modules whose distribution has another name, or that another module imports.
DISTRIBUTIONS = {
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "torch.utils.tensorboard": "tensorboard",
}


def imported(path: Path) -> set[str]:
    """Distributions of the modules that a file imports anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names.add(str(getattr(node.args[0], "value", "pyneural")))
    tops = {name if name in DISTRIBUTIONS else name.split(".")[0] for name in names}
    return {DISTRIBUTIONS.get(name, name) for name in tops - sys.stdlib_module_names}


def test_dependencies_and_extras_are_those_imported():
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    of_users = [extras[name] for name in extras if name not in ("dev", "docs")]
    groups = [project["dependencies"], *of_users]
    declared = {re.match(r"[\w-]+", requirement)[0] for group in groups for requirement in group}
    used = set().union(*(imported(path) for path in (ROOT / "pyneural").rglob("*.py")))
    assert declared == used - {"pyneural"}
