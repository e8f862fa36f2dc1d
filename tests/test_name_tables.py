"""Every name in the tables of docs/howto/from-*.md is one of pyneural, or of the other package."""

import importlib
import os
import re
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parents[1] / "docs" / "howto").glob("from-*.md"))
# What the names of a page begin with, where that is not a package.
ALIASES = {"dde": "deepxde", "nn": "torch.nn", "optim": "torch.optim", "autograd": "torch.autograd"}
HERE = {"torch": "torch"}  # with which a name of ours may begin that is none of pyneural


def rows(page):
    """Names of the other package and of pyneural in each row of the tables."""
    for line in page.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 3:
            yield tuple(re.findall(r"`([A-Za-z_][\w.]*)`", cell) for cell in cells[:2])


def found(name, package):
    """What a dotted name stands for, its last parts being attributes."""
    first, *rest = name.split(".")
    module = importlib.import_module(package(first))
    value = module
    for part in rest:
        try:
            value = getattr(value, part)
        except AttributeError:
            value = importlib.import_module(f"{value.__name__}.{part}")
    return value


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_names_of_pyneural_exist(page):
    names = [name for _, ours in rows(page) for name in ours]
    assert len(names) > 10
    for name in names:
        found(name, lambda first: HERE.get(first, f"pyneural.{first}"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_names_of_the_other_package_exist(page):
    os.environ.setdefault("KERAS_BACKEND", "torch")
    package = {"from-deepxde": "deepxde"}.get(page.stem, page.stem.removeprefix("from-"))
    os.environ.setdefault("DDE_BACKEND", "pytorch")
    pytest.importorskip(package)
    names = [name for theirs, _ in rows(page) for name in theirs]
    assert len(names) > 10
    for name in names:
        found(name, lambda first: ALIASES.get(first, first))
