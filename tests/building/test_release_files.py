"""The citation and the conda recipe say what pyproject.toml says."""

import re
from pathlib import Path

import pytest

import pyneural

ROOT = Path(__file__).parents[2]
CONDA = {"torch": "pytorch"}  # by the name on the index of Python's packages


@pytest.mark.parametrize("name", ["CITATION.cff", "recipe/recipe.yaml"])
def test_version_and_license(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert re.search(r'^ *version: "?([\d.]+)"?$', text, re.MULTILINE)[1] == pyneural.__version__
    assert re.search(r"^ *license: (\S+)$", text, re.MULTILINE)[1] == "BSD-3-Clause"


def test_recipe_runs_with_what_the_package_requires():
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {re.match(r"[\w-]+", one)[0] for one in project["dependencies"]}
    text = (ROOT / "recipe/recipe.yaml").read_text(encoding="utf-8")
    run = text.partition("  run:\n")[2].partition("\n\n")[0]
    found = re.findall(r'- (?:\$\{\{ pin_compatible\(")?([\w-]+)', run)
    assert set(found) == {CONDA.get(name, name) for name in names} | {"python"}


def test_recipe_is_built_for_the_pythons_of_the_package():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    least = int(re.search(r'requires-python = ">=3\.(\d+)"', text)[1])
    variants = (ROOT / "recipe/variants.yaml").read_text(encoding="utf-8")
    pythons = variants.partition("python:\n")[2].partition("c_stdlib")[0]
    found = [int(minor) for minor in re.findall(r'- "3\.(\d+)"', pythons)]
    assert found == list(range(least, least + len(found)))
    assert len(found) >= 4
