"""The pages of the API: one for each package folder, with everything that is public in it.

Names come from the ``__all__`` of the packages: a new one is on the site without a line here.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from sphinx.application import Sphinx

# Public packages that no ``__all__`` names.
MORE = ("pyneural.models.flows", "pyneural.training.losses")
FOLDER = Path(__file__).parents[1] / "api" / "packages"


def pages() -> dict[str, dict[str, list[str]]]:
    """Public names by page and by the package to import them from.

    A class of ``pyneural.models`` that lives in ``pyneural/models/flows/`` stands on the page of
    that folder, under the name by which users import it.

    >>> pages()["pyneural.models.flows"]["pyneural.models"][:2]
    ['CNF', 'MAF']
    """
    found: dict[str, dict[str, list[str]]] = {}
    placed: set[tuple[str, int]] = set()  # the page and the object
    parts = [f"pyneural.{name}" for name in import_module("pyneural").__all__]
    waiting = [import_module(name) for name in (*parts, *MORE)]
    while waiting:
        package = waiting.pop(0)
        for name in _public(package):
            member = getattr(package, name)
            if not _is_of(package, member):
                continue
            if isinstance(member, ModuleType):
                waiting.insert(0, member)
                continue
            page = _folder(package, member)
            if (page, id(member)) not in placed:
                placed.add((page, id(member)))
                found.setdefault(page, {}).setdefault(package.__name__, []).append(name)
    return dict(sorted(found.items()))


def _is_of(package: ModuleType, member: object) -> bool:
    """Whether a member is of the same part of pyneural; ``pyneural.nn`` has torch's names too."""
    home = member.__name__ if isinstance(member, ModuleType) else _home(member)
    return not home or home.startswith(".".join(package.__name__.split(".")[:2]))


def _home(member: object) -> str:
    """The module that an object says it comes from; none for a number or a table."""
    return getattr(member, "__module__", None) or ""


def _public(package: ModuleType) -> list[str]:
    """Names in ``__all__``; of a module without one, what is defined in it."""
    defined = [
        name
        for name, member in vars(package).items()
        if _home(member) == package.__name__ and not name.startswith("_")
    ]
    return getattr(package, "__all__", defined)


def _folder(package: ModuleType, member: object) -> str:
    """The package folder below ``package`` that the member is defined in."""
    home = _home(member)
    if not home.startswith(package.__name__ + ".") or not hasattr(package, "__path__"):
        return package.__name__
    if hasattr(import_module(home), "__path__"):
        return home
    folder = home.rpartition(".")[0]
    return folder if folder.count(".") <= 2 else ".".join(folder.split(".")[:3])


def page(title: str, names: dict[str, list[str]]) -> str:
    """A page in reStructuredText: what the package is, a table of its names, each of them."""
    lines = [title, "=" * len(title), "", f".. automodule:: {title}", ""]
    for package, members in names.items():
        lines += [f".. currentmodule:: {package}", ""]
        if package != title:
            lines += [f"To be imported from ``{package}``.", ""]
        module = import_module(package)
        listed = [member for member in members if callable(getattr(module, member))]
        lines += [".. autosummary::", "   :nosignatures:", ""]
        lines += [f"   {member}" for member in listed] + [""]
        for member in members:
            lines += [*_directive(getattr(module, member), member), ""]
    return "\n".join(lines)


def _directive(value: object, name: str) -> list[str]:
    if inspect.isclass(value):
        return [f".. autoclass:: {name}", "   :members:"]
    if callable(value):
        return [f".. autofunction:: {name}"]
    listed = value if isinstance(value, Collection) else [type(value).__name__]
    return [f".. py:data:: {name}", "", "   " + ", ".join(f"``{item}``" for item in listed)]


def write_pages(app: Sphinx) -> None:
    """Writes the pages that have changed, and takes away those of packages that are gone."""
    FOLDER.mkdir(exist_ok=True)
    wanted = {f"{title}.rst": page(title, names) for title, names in pages().items()}
    for path in FOLDER.glob("*.rst"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        path = FOLDER / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the extension."""
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True}
