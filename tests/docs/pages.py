"""The pages of docs/ as the tests read them: their blocks of code, headings, links and pictures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FENCE = re.compile(
    r"^(?P<fence>`{3,}|:{3,})(?P<language>[^\n]*)\n(?P<text>.*?)^(?P=fence)[ ]*$",
    re.MULTILINE | re.DOTALL,
)
INCLUDE = re.compile(r"^```\{include\} (\S+)\n(?:.*?\n)?```$", re.MULTILINE | re.DOTALL)
OPTIONS = re.compile(r"\A(?:---\n.*?\n---\n|(?::[a-z-]+:[^\n]*\n)+)", re.DOTALL)


class Block(NamedTuple):
    """A fenced block: its language, its text, its options, and the line where it begins."""

    language: str
    text: str
    options: str
    line: int


def pages() -> list[Path]:
    """The sources of all pages."""
    return [path for path in sorted(DOCS.rglob("*.md")) if path != DOCS / "README.md"]


def name_of(page: Path) -> str:
    """The path of a page below the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, those of included files left out."""
    text, found = page.read_text(encoding="utf-8"), []
    for match in FENCE.finditer(text):
        language, body = match["language"].strip(), match["text"]
        options = OPTIONS.match(body) if language.startswith("{") else None
        skipped = options.group() if options else ""
        line = text.count("\n", 0, match.start()) + 2 + skipped.count("\n")
        found.append(Block(language, body[len(skipped) :], skipped, line))
    return found


def programs(page: Path) -> list[Block]:
    """The blocks of Python, in order."""
    languages = ("python", "{code-cell}", "{code-cell} ipython3", "{code-cell} python")
    return [block for block in blocks(page) if block.language in languages]


def prose(page: Path) -> str:
    """A page with its included files, without what is fenced and without its front matter."""
    text = page.read_text(encoding="utf-8")
    text = INCLUDE.sub(lambda match: prose((page.parent / match[1]).resolve()), text)
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
    return FENCE.sub("", text)


def headings(page: Path) -> list[tuple[int, str]]:
    """Level and text of each heading."""
    found = re.findall(r"^(#+) +(.*?) *#*$", prose(page), re.MULTILINE)
    return [(len(signs), text) for signs, text in found]


def anchors(page: Path) -> set[str]:
    """What a link to a part of the page may name, as GitHub and MyST make it from headings."""
    text = page.read_text(encoding="utf-8")
    given = set(re.findall(r"^\(([\w-]+)\)=$", text, re.MULTILINE))
    titles = (re.sub(r"[^\w\- ]", "", title.lower()) for _, title in headings(page))
    return given | {title.replace(" ", "-") for title in titles}


def links(page: Path) -> list[str]:
    """The targets of all links in the text of a page, included files left out."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    return re.findall(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)", text)
