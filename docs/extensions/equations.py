"""Docstrings on the site: their equations in LaTeX, everything else as it stands.

Runs before napoleon reads the sections. What is indented below a paragraph, outside a section such
as Args, is an equation, a program or a table.
"""

from __future__ import annotations

import ast
import re
import textwrap
from typing import TYPE_CHECKING, Any

from extensions.notation import latex

if TYPE_CHECKING:
    from sphinx.application import Sphinx

SECTION = re.compile(r"(Args|Attributes|Example|Examples|Raises|Returns|Shape|Source|Yields):")
NAMES = re.compile(r"(?<![`\w:])`(?!`|pyneural\.)([^`]+)`(?!`)")  # code that is no reference
SEVERAL = re.compile(r"    (\w+)((?:, \w+)+):(?= )")
SIGNS = re.compile(r"(``[^`]*``|`[^`]*`|\*\*[^*]+\*\*)|([*|]|(?<=\w)_(?!\w))")


def set_docstring(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Puts directives in place of blocks, and escapes in prose what reStructuredText reads."""
    lines[:] = directives("\n".join(lines)).split("\n")
    if what in ("attribute", "data", "property"):
        # An empty comment: of the first line napoleon takes what stands before a colon as a type.
        lines[:0] = ["..", ""]


def skip(
    app: Sphinx, what: str, name: str, obj: object, skipped: bool, options: object
) -> bool | None:
    """Leaves out fields of named tuples of which nothing is said; None leaves it to Sphinx."""
    return True if str(obj.__doc__).startswith("Alias for field number") else None


def directives(docstring: str) -> str:
    """A docstring with a directive for each equation, program and table."""
    parts = re.split(r"\n[ ]*\n", docstring.strip("\n"))
    sections = _sections(parts)
    return "\n\n".join(_part(part, inside) for part, inside in zip(parts, sections, strict=True))


def _sections(parts: list[str]) -> list[bool]:
    """Of each paragraph, whether it belongs to a section."""
    inside, found = False, []
    for part in parts:
        if not part.startswith(" "):
            inside = SECTION.match(part) is not None
        found.append(inside)
    return found


def _part(part: str, in_section: bool) -> str:
    block = textwrap.dedent(part)
    if block.lstrip().startswith(">>>"):
        return part if in_section else block
    if re.match(r"=+ +=", block):  # a table of reStructuredText
        return block
    if in_section or not part.startswith("    "):
        part = one_name_each(part) if in_section else part
        part = NAMES.sub(r"``\1``", part)
        return SIGNS.sub(lambda match: match[1] or f"\\{match[2]}", part)
    equation = latex(block)
    if equation is not None:
        return f".. math::\n\n{textwrap.indent(equation, '   ')}"
    language = "python" if _is_python(block) else "text"
    return f".. code-block:: {language}\n\n{textwrap.indent(block, '   ')}"


def one_name_each(section: str) -> str:
    """A section with a name in each entry: of ``a, b: text`` Sphinx would take a for a type."""
    found: list[str] = []
    others: list[str] = []
    for line in section.split("\n"):
        if not line.startswith("     "):  # no continuation of an entry
            found, others = found + others, []
        if match := SEVERAL.match(line):
            first, *more = (name.strip() for name in (match[1] + match[2]).split(","))
            others = [f"    {name}: see ``{first}``." for name in more]
            line = f"    {first}:{line[match.end() :]}"
        found.append(line)
    return "\n".join(found + others)


def _is_python(block: str) -> bool:
    try:
        ast.parse(f"def f():\n{textwrap.indent(block, '    ')}")
    except SyntaxError:
        return False
    return "(" in block


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the extension."""
    app.connect("autodoc-process-docstring", set_docstring, priority=400)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True}
