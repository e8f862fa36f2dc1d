"""The directives of the gallery: the demos of a system of the course, as ``pyneural list`` says.

    ```{system} S22
    ```

gives for each demo with S22 in its ``SYSTEMS`` its summary, its command, its picture and what it
printed. ``{picture} NAME`` is the picture of a demo with the arguments of its option and a caption.
Pictures of short trainings come from ``build/demos``, where ``pyneural demo --all --quick --out
build/demos`` leaves them; what is not there is made.
"""

from __future__ import annotations

import html
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from pyneural import cli

ROOT = Path(__file__).parents[2]
DEMOS, OTHERS = ROOT / "build" / "demos", ROOT / "build" / "docs" / "demos"
SMALL = ROOT / "build" / "docs" / "pictures"
WIDTH = 1400  # pixels of a picture on a page, at most
log = logging.getLogger(__name__)


class Shown(NamedTuple):
    """What a demo has left: its picture and what it printed."""

    picture: Path
    printed: str


def demos_of(system: str) -> list[str]:
    """Names of the demos that show a system.

    >>> demos_of("S24")
    ['vae', 'vae-flow']
    """
    return [name for name in cli.demo_names() if system in cli.load_demo(name).SYSTEMS]


def shown(name: str, arguments: Sequence[str], folder: Path) -> Shown:
    """What a demo left in the folder; runs it with these arguments if it has left nothing."""
    text = folder / f"{name}.txt"
    if not text.exists() or _picture(text) is None:
        _run(["demo", name, *arguments, "--out", str(folder)], text)
    picture = _picture(text)
    if picture is None:
        raise ExtensionError(f"pyneural demo {name} wrote no picture: see {text}")
    return Shown(picture, text.read_text(encoding="utf-8"))


def _run(command: list[str], text: Path) -> None:
    text.parent.mkdir(parents=True, exist_ok=True)
    log.info("running pyneural %s", shlex.join(command))
    with text.open("w", encoding="utf-8") as screen:
        call = [sys.executable, "-m", "pyneural.cli", *command]
        result = subprocess.run(
            call, cwd=ROOT, stdout=screen, stderr=subprocess.PIPE, text=True, check=False
        )
    if result.returncode:
        text.unlink()
        raise ExtensionError(f"pyneural {shlex.join(command)} failed: {result.stderr[-2000:]}")


def quick(name: str) -> Sequence[str]:
    """Arguments that give a demo a short training."""
    return getattr(cli.load_demo(name), "QUICK", ())


def _positional(arguments: Sequence[str]) -> list[str]:
    """Those before the first option, without which a demo does not run.

    >>> _positional(["heat", "--quick"])
    ['heat']
    """
    return list(takewhile(lambda argument: not argument.startswith("-"), arguments))


def _picture(text: Path) -> Path | None:
    """The picture that the last lines of the output name."""
    found = re.findall(r"^ *picture +(.+\.png)$", text.read_text(encoding="utf-8"), re.MULTILINE)
    picture = text.parent / Path(found[-1]).name if found else None
    return picture if picture is not None and picture.exists() else None


def small(picture: Path) -> Path:
    """A copy of the picture that is no wider than a page needs, with all of its colours."""
    from PIL import Image  # comes with matplotlib

    copy = SMALL / picture.parent.relative_to(ROOT / "build") / f"{picture.stem}.webp"
    if not copy.exists() or copy.stat().st_mtime < picture.stat().st_mtime:
        copy.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(picture) as image:
            image.thumbnail((WIDTH, 4 * WIDTH))
            image.convert("RGB").save(copy, lossless=True)
    return copy


class Picture(SphinxDirective):
    """The picture of a demo, with the text of the directive below it."""

    required_arguments = 1
    option_spec: ClassVar = {"arguments": shlex.split}
    has_content = True

    def run(self) -> list[nodes.Node]:
        """The figure."""
        name = self.arguments[0]
        caption = " ".join(self.content)
        text, _ = self.parse_inline(caption)
        picture = shown(name, self.options.get("arguments", ()), OTHERS).picture
        figure = picture_of(self, name, picture)
        figure += nodes.caption(caption, "", *text)
        return [figure]


def picture_of(directive: SphinxDirective, name: str, picture: Path) -> nodes.figure:
    """A small copy of a picture; its text is the name of the demo with its summary."""
    page = Path(directive.env.doc2path(directive.env.docname))
    uri = Path(os.path.relpath(small(picture), page.parent)).as_posix()
    summary = cli.load_demo(name).SUMMARY
    image = nodes.image(uri=uri, alt=f"Picture of pyneural demo {name}. {summary}")
    image["loading"] = "lazy"
    # With a width Sphinx makes it a link to the picture; half of its pixels are its size at 2 x.
    image["width"] = f"{_width(picture) // 2}px"
    return nodes.figure("", image)


def _width(picture: Path) -> int:
    from PIL import Image

    with Image.open(picture) as image:
        return int(image.width)


class System(SphinxDirective):
    """The demos of one system."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Nodes of all demos of the system."""
        names = demos_of(self.arguments[0])
        if not names:
            raise self.error(f"no demo shows {self.arguments[0]}: see `pyneural list`")
        return [node for name in names for node in self._demo(name)]

    def _demo(self, name: str) -> list[nodes.Node]:
        demo = cli.load_demo(name)
        self.env.note_dependency(str(Path(str(demo.__file__))))
        result = shown(name, quick(name), DEMOS)
        return [
            nodes.paragraph(demo.SUMMARY, demo.SUMMARY),
            _block(" ".join(["pyneural demo", name, *_positional(quick(name))]), "sh"),
            picture_of(self, name, result.picture),
            *_printed(name, result.printed),
        ]


def _block(text: str, language: str) -> nodes.literal_block:
    block = nodes.literal_block(text, text)
    block["language"] = language
    return block


def _printed(name: str, text: str) -> list[nodes.Node]:
    """What the short run printed, folded."""
    lines = [line.rstrip() for line in text.splitlines() if not re.match(r" *picture ", line)]
    command = shlex.join(["pyneural", "demo", name, *quick(name)])
    title = f"<details><summary>What <code>{html.escape(command)}</code> printed</summary>"
    return [
        nodes.raw("", title, format="html"),
        _block("\n".join(lines).strip("\n"), "text"),
        nodes.raw("", "</details>", format="html"),
    ]


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the directives."""
    app.add_directive("picture", Picture)
    app.add_directive("system", System)
    return {"parallel_read_safe": True}
