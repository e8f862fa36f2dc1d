"""Compiles the C++ sources of all modules in one run of ninja.

One run, so that no processor waits for the end of a module; and the headers of torch, which take
half of a compilation, are compiled once for each set of flags. Paths are relative to the root:
the objects stay valid when the tree is moved or copied along with them.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from environment import BuildError

# Launchers that cannot keep what was compiled with a precompiled header, or send files elsewhere.
LAUNCHERS = {"ccache", "sccache", "distcc", "icecc"}
INCLUDE = re.compile(r'^#include "(.+)"', re.MULTILINE)


class Module(NamedTuple):
    """The sources of an extension module.

    `folder` takes the objects, `header` is compiled ahead, `source_flags` are the flags that a
    single source has beside `flags`.
    """

    folder: str
    sources: Sequence[str]
    flags: Sequence[str]
    header: str
    source_flags: Mapping[str, Sequence[str]] = {}

    def object_of(self, source: str) -> str:
        """The object file of a source. It keeps the suffix: NAME.cpp and NAME.cu may both exist."""
        return f"{self.folder}/{source}.o"

    @property
    def objects(self) -> list[str]:
        """The object files of all sources."""
        return [self.object_of(source) for source in self.sources]


def can_precompile(command: Sequence[str], flags: Sequence[str] = (), which=shutil.which) -> bool:
    """Whether to compile headers ahead: not under ccache and its like, not for two processors."""
    found = {Path(which(word) or word).resolve().name for word in command}
    return not found & LAUNCHERS and flags.count("-arch") <= 1


def size_with_headers(source: Path, folders: Sequence[Path]) -> int:
    """Bytes of a source and of our own headers that it includes: how long it compiles, roughly."""
    seen: set[Path] = set()
    to_read = [source]
    total = 0
    while to_read:
        path = to_read.pop().resolve()
        if path in seen:
            continue
        seen.add(path)
        text = path.read_text()
        total += len(text)
        for name in INCLUDE.findall(text):
            candidates = (folder / name for folder in (path.parent, *folders))
            to_read += [file for file in candidates if file.exists()][:1]
    return total


def ninja_file(
    modules: Sequence[Module],
    command: Sequence[str],
    flags: Sequence[str],
    build: str,
    order: Mapping[str, int],
    precompile: bool,
) -> str:
    """The text of the ninja file.

    Args:
        modules: what to compile.
        command: the compiler.
        flags: those of all modules.
        build: the folder for what ninja notes down.
        order: a weight for each source; ninja starts equally urgent files in the order of the
            file, and what starts last should end soon.
        precompile: compile each module's header ahead.
    """
    lines = [
        f"builddir = {_path(build)}",
        f"compiler = {_command(command)}",
        f"flags = {_command(flags)}",
        # -MD rather than -MMD: torch may change under the same version.
        "rule compile",
        "  command = $compiler -MD -MF $out.d $flags $more -c $in -o $out",
        "  description = $in ($set)",
        "  depfile = $out.d",
        "  deps = gcc",
        "rule precompile",
        "  command = $compiler -MD -MF $out.d $flags $more -x c++-header $in -o $out",
        "  description = $in ($set)",
        "  depfile = $out.d",
        "  deps = gcc",
    ]
    edges = []
    for module in modules:
        name = Path(module.folder).name
        ahead = f"{module.folder}/{Path(module.header).name}"
        if precompile:
            lines += [
                f"build {_path(ahead)}.gch: precompile {_path(ahead)}",
                f"  more = {_command(module.flags)}",
                f"  set = {name}",
            ]
        for source in module.sources:
            more = [*module.flags, *module.source_flags.get(source, ())]
            if precompile:
                more += ["-Winvalid-pch", "-include", ahead]
            needs = f" | {_path(ahead)}.gch" if precompile else ""
            edge = [
                f"build {_path(module.object_of(source))}: compile {_path(source)}{needs}",
                f"  more = {_command(more)}",
                f"  set = {name}",
            ]
            edges.append((-order[source], edge))
    for _, edge in sorted(edges, key=lambda item: item[0]):
        lines += edge
    return "\n".join(lines) + "\n"


def compile_modules(
    modules: Sequence[Module],
    root: Path,
    build: str,
    command: Sequence[str],
    flags: Sequence[str],
    jobs: int,
) -> None:
    """Compiles what has changed, `jobs` files at a time; raises `BuildError` where one fails."""
    ninja = shutil.which("ninja")
    if ninja is None:
        raise BuildError("there is no ninja; pip install ninja")
    folders = [root / "csrc", root / "csrc" / "common"]
    order = {
        source: size_with_headers(root / source, folders)
        for module in modules
        for source in module.sources
    }
    wanted = os.environ.get("PYNEURAL_PRECOMPILE") != "0"
    precompile = wanted and can_precompile(command, flags)
    for module in modules:
        # Compiled ahead in the module's own folder, and read there by a compiler that refuses that.
        header = root / module.folder / Path(module.header).name
        _write(header, f'#include "{os.path.relpath(root / module.header, header.parent)}"\n')
    file = root / build / "build.ninja"
    _write(file, ninja_file(modules, command, flags, build, order, precompile))
    ran = subprocess.run([ninja, "-f", str(file), "-j", str(jobs)], cwd=root, check=False)
    if ran.returncode:
        raise BuildError("a source does not compile, see above")


def _write(path: Path, text: str) -> None:
    """Leaves a file that has the text as it is, and with it all that depends on its date."""
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _path(path: str) -> str:
    return re.sub(r"([$ :])", r"$\1", path)


def _command(words: Sequence[str]) -> str:
    return shlex.join(words).replace("$", "$$")
