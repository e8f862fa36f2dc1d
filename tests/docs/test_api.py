"""Everything that is public stands on a page of the API."""

import importlib.util
import pkgutil
import re
from importlib import import_module

import pytest

import pyneural
from tests.docs.pages import DOCS, programs
from tests.docs.pages import pages as sources

spec = importlib.util.spec_from_file_location("api", DOCS / "extensions" / "api.py")
api = importlib.util.module_from_spec(spec)
spec.loader.exec_module(api)

PACKAGES = [
    module.name
    for module in pkgutil.walk_packages(pyneural.__path__, "pyneural.")
    if module.ispkg and hasattr(import_module(module.name), "__all__")
]


@pytest.fixture(scope="module")
def entries():
    """Names with the package to import them from, as the pages have them."""
    others, found = api.borrowed(), set()
    for title, names in api.pages().items():
        package = None
        for line in api.page(title, names, others.get(title, {})).splitlines():
            if module := re.match(r"\.\. currentmodule:: (\S+)", line):
                package = module[1]
            elif entry := re.match(r"\.\. (?:auto|py:)(?:class|function|data):: (\w+)", line):
                found.add((package, entry[1]))
    return found


def home_of(value):
    return getattr(value, "__module__", None) or "pyneural"


@pytest.mark.parametrize("package", PACKAGES)
def test_each_public_name_has_an_entry(package, entries):
    listed = [getattr(import_module(module), name) for module, name in entries]
    missing = []
    for name in import_module(package).__all__:
        value = getattr(import_module(package), name)
        if isinstance(value, type(pyneural)) or not home_of(value).startswith("pyneural"):
            continue  # a package, which is among these itself, or a name of torch's
        is_part = package.count(".") == 1  # there it is looked for under that name
        if (package, name) not in entries and (is_part or not any(value is one for one in listed)):
            missing.append(name)
    assert not missing, f"public names of {package} on no page: {missing}"


def test_names_that_pages_import_have_an_entry(entries):
    """What a reader copies from a page can be looked up."""
    missing = []
    for page in sources():
        for block in programs(page):
            for module, names in re.findall(
                r"^from (pyneural\S*) import \(?([\w\s,]+)\)?$", block.text, re.MULTILINE
            ):
                for name in re.findall(r"\w+", names):
                    value = getattr(import_module(module), name, None)
                    if value is None or isinstance(value, type(pyneural)):
                        value = import_module(f"{module}.{name}")
                        if value.__name__ not in {package for package, _ in entries}:
                            missing.append(f"{page.name}: {module}.{name}")
                    elif (module, name) not in entries:
                        missing.append(f"{page.name}: {module}.{name}")
    assert not missing, missing
