"""What the oldest Python that is supported lacks, and neither ruff nor mypy sees."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = [
    path for room in ("pyneural", "bench", "build_tools") for path in ROOT.glob(f"{room}/**/*.py")
]


def generic_named_tuples(text):
    """Classes that have another base beside `typing.NamedTuple`, which Python 3.10 refuses."""
    tree = ast.parse(text)
    names = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "typing"
        for alias in node.names
        if alias.name == "NamedTuple"
    }
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return [
        each.name
        for each in classes
        if len(each.bases) > 1
        and names & {base.id for base in each.bases if isinstance(base, ast.Name)}
    ]


def test_no_named_tuple_has_another_base():
    texts = {path.name: path.read_text() for path in SOURCES}
    found = {name: generic_named_tuples(text) for name, text in texts.items() if "Generic[" in text}
    assert {name: classes for name, classes in found.items() if classes} == {}


@pytest.mark.parametrize(("module", "expected"), [("typing", ["Pair"]), ("typing_extensions", [])])
def test_such_a_class_is_found(module, expected):
    text = f"from {module} import NamedTuple\nclass Pair(NamedTuple, Generic[T]): pass\n"
    assert generic_named_tuples(text) == expected
