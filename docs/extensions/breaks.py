"""Places where a long name may be broken on a narrow page: after its dots and underscores.

Without them a browser breaks ``pyneural.experiments.cheatsheet`` within a word. ``<wbr>`` is no
character: who copies the name gets it whole.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

# Programs, equations and tags stay as they are; names have 16 characters or more.
_PART = re.compile(
    r"<(pre|script|style)\b.*?</\1>|<(span|div) class=\"[^\"]*\bmath\b.*?</\2>|<[^>]*>|[\w.]{16,}",
    re.DOTALL,
)


def breakable(text: str) -> str:
    """HTML whose long names may be broken.

    >>> breakable('<a href="pyneural.pde.spectral.html">pyneural.pde.spectral</a>')
    '<a href="pyneural.pde.spectral.html">pyneural.<wbr>pde.<wbr>spectral</a>'
    >>> breakable("<pre>torch.set_num_threads</pre> relative_l2_error")
    '<pre>torch.set_num_threads</pre> relative_<wbr>l2_<wbr>error'
    """
    return _PART.sub(_broken, text)


def _broken(part: re.Match[str]) -> str:
    return (
        re.sub(r"(?<=\w{3})([._])(?=\w{3})", r"\1<wbr>", part[0]) if part[0][0] != "<" else part[0]
    )


def break_names(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object
) -> None:
    """Changes the text of a page and of its menus."""
    for key in ("body", "toc", "furo_navigation_tree"):
        if key in context:
            context[key] = breakable(context[key])
    for key in ("prev", "next"):
        if context.get(key):
            context[key] = context[key] | {"title": breakable(context[key]["title"])}


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the extension, after the theme."""
    app.connect("html-page-context", break_names, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
