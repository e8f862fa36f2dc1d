"""Headings, links, pictures and shell commands of the pages, without building the site."""

import re
import shlex
from itertools import pairwise

import pytest

from pyneural import cli
from pyneural.demos._options import COMMON
from tests.docs.pages import DOCS, ROOT, anchors, blocks, headings, links, name_of, pages, prose

PAGES = pages()
WITH_COMMANDS = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "bench" / "README.md"]
PROGRAMS = {"pip", "python", "torchrun", "srun", "bash", "pyneural", "make"}
by_name = pytest.mark.parametrize("page", PAGES, ids=name_of)


@by_name
def test_a_page_has_one_title_and_skips_no_level(page):
    levels = [level for level, _ in headings(page)]
    assert levels[:1] == [1], "the first heading is the title"
    assert levels.count(1) == 1, "one title"
    for before, level in pairwise(levels):
        assert level <= before + 1, f"from level {before} to {level}: {headings(page)}"


@by_name
def test_links_lead_to_pages_and_headings(page):
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{link}: there is no {path}"
        assert path in PAGES, f"{link}: no page of the site; name the file without a link"
        assert not anchor or anchor in anchors(path), f"{link}: expected one of {anchors(path)}"


@by_name
def test_pictures_have_a_text(page):
    for text, target in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", prose(page)):
        assert text, f"{target} has no text for who cannot see it"
    for block in blocks(page):
        if block.language.startswith(("{image}", "{figure}")):
            assert re.search(r"^:alt: \S", block.options, re.MULTILINE), block.language


def test_each_page_stands_in_a_table_of_contents():
    named = {DOCS / "index.md"}
    for page in PAGES:
        for block in blocks(page):
            if block.language == "{toctree}":
                for entry in block.text.split():
                    named |= set(page.parent.glob(f"{entry}.md"))
    assert set(PAGES) == named


def test_the_gallery_has_each_system_once():
    shown = re.findall(r"^```\{system\} (S\d\d)$", (DOCS / "gallery.md").read_text(), re.MULTILINE)
    assert shown == [f"S{number:02}" for number in range(1, 37)]
    titles = [title.split()[0] for level, title in headings(DOCS / "gallery.md") if level == 3]
    assert titles == shown


def commands(page):
    """The lines of the shell blocks of a page, without comments."""
    found = []
    for block in blocks(page):
        if block.language in ("sh", "bash", "shell", "console"):
            text = block.text.replace("\\\n", " ")
            lines = [shlex.split(line, comments=True) for line in text.splitlines()]
            found += [words for words in lines if words]
    return found


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name_of)
def test_commands_exist(page):
    for words in commands(page):
        while words and re.match(r"[A-Z_]+=", words[0]):  # of the environment
            words = words[1:]
        if not words:
            continue
        name = words[0].rpartition("/")[2]
        assert name in PROGRAMS or (ROOT / words[0]).exists(), f"{words}: an unknown program"
        if name == "make":
            makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
            targets = [word for word in words[1:] if "=" not in word]
            for target in targets:
                assert re.search(rf"^{target}:", makefile, re.MULTILINE), words
        elif words[:3] == ["python", "-m", "bench"] and len(words) > 3:
            assert (ROOT / "bench" / f"{words[3]}.py").exists() or words[3].startswith("-"), words
        elif "pyneural" in (name, *words[:1]):
            check_command(words[1:])


def check_command(words):
    """A call of ``pyneural``: its command, the demo and the demo's options exist."""
    assert words[0] in ("info", "list", "demo", "compare", "--version"), words
    if words[0] != "demo" or words[1:2] == ["--all"] or words[1:2] == ["NAME"]:
        return
    demo = cli.load_demo(words[1]) if words[1] in cli.demo_names() else None
    assert demo is not None, f"there is no demo {words[1]}"
    options = COMMON | getattr(demo, "OPTIONS", {})
    for word in words[2:]:
        if word.startswith("-"):
            assert word.partition("=")[0] in options, f"{words}: {word} is no option"
