"""The pages of the API: one for each package folder, with everything that is public in it.

Names come from the ``__all__`` of all packages: a new one is on the site without a line here.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

MORE = ("pyneural.plots.style",)  # public modules that no ``__all__`` names
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
    for package in modules():
        for name in public(package):
            member = getattr(package, name)
            if isinstance(member, ModuleType) or not _is_of(package, member):
                continue
            page = _folder(package, member)
            if (page, id(member)) not in placed:
                placed.add((page, id(member)))
                found.setdefault(page, {}).setdefault(package.__name__, []).append(name)
    for title in borrowed():
        found.setdefault(title, {})
    return dict(sorted(found.items()))


def borrowed() -> dict[str, dict[str, str]]:
    """Names of each package that stand on the page of another part, and where they come from.

    >>> borrowed()["pyneural.models"]["Sequential"]
    'pyneural.training'
    """
    found: dict[str, dict[str, str]] = {}
    for package in modules():
        for name in public(package):
            member = getattr(package, name)
            home = _home(member)
            if home.startswith("pyneural.") and not _is_of(package, member):
                found.setdefault(package.__name__, {})[name] = ".".join(home.split(".")[:2])
    return found


def modules() -> list[ModuleType]:
    """The parts of pyneural, the modules that they name, and all packages with an ``__all__``."""
    found = [import_module(f"pyneural.{name}") for name in import_module("pyneural").__all__]
    parts = tuple(found)
    for module in found:  # which grows meanwhile
        members = (getattr(module, name) for name in public(module))
        found += [one for one in members if isinstance(one, ModuleType) and _is_in(one, parts)]
    for part in parts:
        inside = walk_packages(part.__path__, f"{part.__name__}.")
        packages = [import_module(one.name) for one in inside if one.ispkg]
        found += [one for one in packages if hasattr(one, "__all__") and one not in found]
    return [*found, *map(import_module, MORE)]


def _is_in(module: ModuleType, parts: Iterable[ModuleType]) -> bool:
    return any(module.__name__.startswith(f"{part.__name__}.") for part in parts)


def _is_of(package: ModuleType, member: object) -> bool:
    """Whether a member is of the same part of pyneural; ``pyneural.nn`` has torch's names too."""
    home = _home(member)
    return not home or home.startswith(".".join(package.__name__.split(".")[:2]))


def _home(member: object) -> str:
    """The module that an object says it comes from; none for a number or a table."""
    return getattr(member, "__module__", None) or ""


def public(package: ModuleType) -> list[str]:
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


def page(title: str, names: dict[str, list[str]], others: dict[str, str]) -> str:
    """A page in reStructuredText: what the package is, a table of its names, each of them.

    Args:
        title: the package.
        names: of ``pages``.
        others: of ``borrowed``, which are named at the end.
    """
    lines = [title, "=" * len(title), "", f".. automodule:: {title}", ""]
    inside = [f":doc:`{other}`" for other in pages() if other.startswith(f"{title}.")]
    if inside:
        lines += [f"More on {', '.join(inside)}.", ""]
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
    if others:
        lines += ["Of other parts", "-" * 14, "", f"To be imported from ``{title}`` too.", ""]
        lines += [f".. currentmodule:: {title}", ""]
        for name, part in others.items():
            kind = "class" if inspect.isclass(getattr(import_module(part), name)) else "function"
            lines += [f".. py:{kind}:: {name}", "", f"   The same as :py:obj:`{part}.{name}`.", ""]
    return "\n".join(lines)


def _directive(value: object, name: str) -> list[str]:
    if inspect.isclass(value):
        return [f".. autoclass:: {name}", "   :members:"]
    if callable(value):
        return [f".. autofunction:: {name}"]
    if isinstance(value, str):
        listed: Collection[str] = [value]
    elif isinstance(value, Collection) and all(isinstance(item, (str, int)) for item in value):
        listed = [str(item) for item in value]
    else:
        listed = [type(value).__name__]
    return [f".. py:data:: {name}", "", "   " + ", ".join(f"``{item}``" for item in listed)]


def write_pages(app: Sphinx) -> None:
    """Writes the pages that have changed, and takes away those of packages that are gone."""
    FOLDER.mkdir(exist_ok=True)
    others = borrowed()
    wanted = {
        f"{title}.rst": page(title, names, others.get(title, {}))
        for title, names in pages().items()
    }
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
