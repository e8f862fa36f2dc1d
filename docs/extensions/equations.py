"""Docstrings on the site: their equations in LaTeX, everything else as it stands.

Runs before napoleon reads the sections. What is indented below a paragraph, outside a section such
as Args, is an equation, a program or a table.
"""

from __future__ import annotations

import ast
import re
import textwrap
from typing import Any

from sphinx.application import Sphinx

from extensions.notation import latex

SECTION = re.compile(r"(Args|Attributes|Example|Examples|Raises|Returns|Shape|Source|Yields):")
NAMES = re.compile(r"(?<![`\w:])`(?!`|pyneural\.)([^`]+)`(?!`)")  # code that is no reference
SIGNS = re.compile(r"(``[^`]*``|`[^`]*`|\*\*[^*]+\*\*)|([*|]|(?<=\w)_(?!\w))")


def set_docstring(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Puts directives in the place of blocks, and escapes in prose what reStructuredText reads."""
    lines[:] = directives("\n".join(lines)).split("\n")


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
        part = NAMES.sub(r"``\1``", part)
        return SIGNS.sub(lambda match: match[1] or f"\\{match[2]}", part)
    equation = latex(block)
    if equation is not None:
        return f".. math::\n\n{textwrap.indent(equation, '   ')}"
    language = "python" if _is_python(block) else "text"
    return f".. code-block:: {language}\n\n{textwrap.indent(block, '   ')}"


def _is_python(block: str) -> bool:
    try:
        ast.parse(f"def f():\n{textwrap.indent(block, '    ')}")
    except SyntaxError:
        return False
    return "(" in block


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the extension."""
    app.connect("autodoc-process-docstring", set_docstring, priority=400)
    return {"parallel_read_safe": True}
