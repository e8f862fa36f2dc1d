"""Compiles the C++ and CUDA sources of all modules in one run of ninja.

One run, so that no processor waits for the end of a module. A module's C++ sources are compiled as
one file that includes them, which takes half the time: most of it goes into torch's templates,
which are the same in every source. Where there are more processors than modules, it is as many
files as keep them busy. CUDA sources, which include none of torch's headers, go to nvcc each by
itself. Paths are relative to the root: the objects stay valid when the tree is moved or copied
along with them.
"""

from __future__ import annotations

import math
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from environment import BuildError, Jobs


class Module(NamedTuple):
    """The sources of an extension module.

    `folder` takes the objects; `source_flags` are the flags that a single source has beside
    `flags`, which are not for CUDA sources.
    """

    folder: str
    sources: Sequence[str]
    flags: Sequence[str]
    source_flags: Mapping[str, Sequence[str]] = {}


class Unit(NamedTuple):
    """What is compiled at once: a file that includes `sources`, or the only source itself.

    `name` is that of the file in the module's folder.
    """

    module: Module
    sources: Sequence[str]
    name: str

    @property
    def includes(self) -> bool:
        """Whether the compiler is given a file that includes the sources."""
        return self.name not in self.sources

    @property
    def file(self) -> str:
        """The file that the compiler is given."""
        return f"{self.module.folder}/{self.name}" if self.includes else self.name

    @property
    def rule(self) -> str:
        """The rule of the ninja file that compiles it."""
        return "compile_cuda" if _is_cuda(self.file) else "compile"

    @property
    def object(self) -> str:
        """The object file. It keeps the suffix: NAME.cpp and NAME.cu may both exist."""
        return f"{self.module.folder}/{self.name}.o"


def units_of(module: Module, parts: int | None) -> list[Unit]:
    """The units of a module.

    Its sources are dealt out to `parts` units, but for CUDA and sources with flags of their own;
    without `parts` each is a unit.
    """
    joined = [
        s for s in module.sources if parts and s not in module.source_flags and not _is_cuda(s)
    ]
    dealt = [joined[part::parts] for part in range(min(parts or 0, len(joined)))]
    units = [Unit(module, sources, f"unit_{part}.cpp") for part, sources in enumerate(dealt, 1)]
    return units + [Unit(module, [s], s) for s in module.sources if s not in joined]


def ninja_file(
    units: Sequence[Unit],
    command: Sequence[str],
    flags: Sequence[str],
    nvcc: Sequence[str],
    build: str,
) -> str:
    """The text of the ninja file.

    Args:
        units: what to compile; ninja starts in their order.
        command: the compiler.
        flags: those of all units but the CUDA sources.
        nvcc: the compiler of the CUDA sources with the flags of all of them.
        build: the folder for what ninja notes down.
    """
    lines = [
        f"builddir = {_path(build)}",
        f"compiler = {_command(command)}",
        f"flags = {_command(flags)}",
        # -MD rather than -MMD: torch may change under the same version.
        "rule compile",
        "  command = $compiler -MD -MF $out.d $flags $more -c $in -o $out",
        "  description = $set: $sources",
        "  depfile = $out.d",
        "  deps = gcc",
        "rule compile_cuda",
        f"  command = {_command(nvcc)} $more -MD -MF $out.d -c $in -o $out",
        "  description = $set: $sources",
        "  depfile = $out.d",
        "  deps = gcc",
    ]
    for unit in units:
        more = [] if unit.rule == "compile_cuda" else list(unit.module.flags)
        for source in unit.sources:
            more += unit.module.source_flags.get(source, ())
        lines += [
            f"build {_path(unit.object)}: {unit.rule} {_path(unit.file)}",
            f"  more = {_command(more)}",
            f"  set = {Path(unit.module.folder).name}",
            f"  sources = {_command([Path(source).name for source in unit.sources])}",
        ]
    return "\n".join(lines) + "\n"


def compile_modules(
    modules: Sequence[Module],
    root: Path,
    build: str,
    command: Sequence[str],
    flags: Sequence[str],
    jobs: Jobs,
    nvcc: Sequence[str] = (),
) -> list[list[str]]:
    """Compiles what has changed; raises `BuildError` where something does not compile.

    Returns:
        The object files of each module.
    """
    ninja = shutil.which("ninja")
    if ninja is None:
        raise BuildError("there is no ninja; pip install ninja")
    # By the processors and not by the memory that is free, which would compile all anew.
    parts = math.ceil(jobs.processors / len(modules))
    together = os.environ.get("PYNEURAL_UNITY") != "0"
    units = [units_of(module, parts if together else None) for module in modules]
    every = [unit for of_module in units for unit in of_module]
    for unit in every:
        if unit.includes:
            paths = (os.path.relpath(source, unit.module.folder) for source in unit.sources)
            _write(root / unit.file, "".join(f'#include "{path}"\n' for path in paths))
    file = root / build / "build.ninja"
    _write(file, ninja_file(every, command, flags, nvcc, build))
    ran = subprocess.run([ninja, "-f", str(file), "-j", str(jobs.at_a_time)], cwd=root, check=False)
    if ran.returncode:
        raise BuildError("a source does not compile, see above")
    return [[unit.object for unit in of_module] for of_module in units]


def _write(path: Path, text: str) -> None:
    """Leaves a file that has the text as it is, and with it all that depends on its date."""
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _is_cuda(source: str) -> bool:
    return source.endswith(".cu")


def _path(path: str) -> str:
    return re.sub(r"([$ :])", r"$\1", path)


def _command(words: Sequence[str]) -> str:
    return shlex.join(words).replace("$", "$$")
