"""Docstrings as the site has them."""

from collections import namedtuple

import pytest

from tests.docs.pages import DOCS


@pytest.fixture
def equations(monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    from extensions import equations

    return equations


def test_entries_of_several_names(equations):
    section = "Args:\n    t, x, u: grid:\n        [T], [X].\n    seed: of all, as in a, b: so."
    expected = [
        "Of a grid.", "", "Args:", "    t: grid:", "        [T], [X].", "    x: see ``t``.",
        "    u: see ``t``.", "    seed: of all, as in a, b: so.",
    ]  # fmt: skip
    found = equations.directives(f"Of a grid.\n\n{section}")
    assert found.split("\n") == expected


def test_fields_without_a_word_are_left_out(equations):
    point = namedtuple("Point", "x y")
    assert equations.skip(None, "class", "x", point.x, False, None)
    assert equations.skip(None, "class", "count", point.count, False, None) is None


def test_words_before_a_colon_are_no_type_of_a_property(equations):
    napoleon = pytest.importorskip("sphinx.ext.napoleon")
    lines = ["Whether p < 0.05: the spread alone does not explain it."]
    equations.set_docstring(None, "property", "distinct", None, None, lines)
    found = str(napoleon.GoogleDocstring(lines, what="property", name="distinct"))
    assert "Whether p < 0.05: the spread" in found
    assert ":type:" not in found
