"""Builds pyneural against several releases of torch, with several Pythons, and tests each pair.

    python build_tools/check_torch_versions.py 2.11.0 2.13.0 --python 3.10 3.13

Every pair has a folder of its own under build/torch_versions (--folder names another), with a copy
of the files that git tracks and an environment in its .venv. Environments and objects are kept: a
second call installs nothing and compiles what changed. The outcome goes into
build_tools/torch_versions.md, a row a pair; --resume leaves out the pairs whose tests have passed
on this commit. A Python is one on the PATH, one of pyenv, or the path of an interpreter.

Only the CPU kernels of this processor's best instruction set are built: what differs between
releases is their headers and their Python. --cuda 9.0a adds the CUDA kernels for these GPUs, which
are built and loaded, and need no GPU for that. Every source is compiled by itself, without the
headers that are compiled ahead, which would hide an include that a source lacks; --unity compiles
them together, as an installation does, which is enough for further Pythons of a release and takes a
third of the time. PyPI's wheels for Linux bring several GB of CUDA along.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "build_tools" / "torch_versions.md"
COUNTS = ("passed", "failed", "skipped")
COLUMNS = (
    *("torch", "Python", "CUDA of torch", "CUDA kernels", "built"),
    *(*COUNTS, "tests", "seconds", "commit"),
)
TESTS = ["tests/ops", "tests/nn", "tests/layers"]
PACKAGES = ["setuptools>=77", "ninja", "pytest", "pytest-xdist", "hypothesis", "expecttest"]
HEAD = """\
# Releases of torch and Pythons

`python build_tools/check_torch_versions.py VERSION... --python X.Y...` wrote it. The tests run on
the CPU kernels; a pair that does not build has none, and what torch 2.11 cannot compile is skipped,
with the reason. Under "CUDA kernels" stand the GPUs that they were built for, where they were; they
were loaded, too, on a machine without a GPU.
"""


def output(*command: str | Path) -> str:
    """What a command prints."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def logged(log: Path, *command: str | Path, cwd: Path = ROOT, **environment: str) -> int:
    """Runs a command with its output in a file; returns its exit status."""
    with log.open("w") as file:
        return subprocess.run(
            command, cwd=cwd, env={**os.environ, **environment}, stdout=file, stderr=file
        ).returncode


def find_python(wish: str) -> Path:
    """The interpreter of a version like 3.12, or the one at a path."""
    kept = sorted(Path.home().glob(f".pyenv/versions/{wish}.*/bin/python"))
    for command in filter(None, (shutil.which(wish), shutil.which(f"python{wish}"), *kept)):
        with contextlib.suppress(OSError, subprocess.CalledProcessError):  # a shim of pyenv's
            output(command, "--version")
            return Path(command)
    raise SystemExit(
        f"--python: expected an installed Python, got {wish}; install it, or give its path"
    )


def python_version(python: Path) -> str:
    """The version of an interpreter, like 3.12."""
    return output(python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()


def make_environment(version: str, base: Path, folder: Path) -> Path:
    """The interpreter of an environment with this torch, made where it is not there yet."""
    python = folder / "bin" / "python"
    made = folder / "made"
    if not made.exists():
        subprocess.run([base, "-m", "venv", folder], check=True)
        install = [python, "-m", "pip", "install", f"torch=={version}", *PACKAGES]
        if logged(folder / "install.log", *install):
            raise SystemExit(f"torch {version} does not install, see {folder / 'install.log'}")
        made.touch()
    return python


def copy_tree(tree: Path) -> None:
    """The files that git tracks; one that has not changed keeps its date, and so its object."""
    names = {name for name in output("git", "ls-files").splitlines() if (ROOT / name).exists()}
    for name in names:
        source, target = ROOT / name, tree / name
        if not target.exists() or target.read_bytes() != source.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    for room in ("csrc", "pyneural", "tests"):
        for path in (tree / room).rglob("*.*"):
            name = str(path.relative_to(tree))
            if path.suffix in {".py", ".cpp", ".h", ".cu", ".cuh"} and name not in names:
                path.unlink()


def counted(summary: str, what: str) -> str:
    """How many tests a summary of pytest counts as passed, failed or skipped."""
    match = re.search(rf"(\d+) {what}", summary)
    return match[1] if match else "0"


def check(
    version: str, python: Path, folder: Path, tests: list[str], architectures: str, unity: bool
) -> dict[str, str]:
    """Builds against a release and runs the tests; what the row of the table says of it."""
    folder.mkdir(parents=True, exist_ok=True)
    python = make_environment(version, python, folder / ".venv")
    copy_tree(folder)
    row = dict.fromkeys(COLUMNS, "-")
    row["CUDA of torch"] = output(python, "-c", "import torch; print(torch.version.cuda)").strip()
    start = time.monotonic()
    install = [python, "-m", "pip", "install", "--no-build-isolation", "--editable", "."]
    settings = {
        "PYNEURAL_BUILD_ISAS": "native",
        "PYNEURAL_CUDA": "1" if architectures else "0",
        "TORCH_CUDA_ARCH_LIST": architectures,
        "PYNEURAL_UNITY": "1" if unity else "0",
        "PYTHONPATH": "",
    }
    status = logged(folder / "build.log", *install, cwd=folder, **settings)
    if architectures and not status:
        load = [python, "-c", "from pyneural import ops"]
        status = logged(folder / "load.log", *load, cwd=folder, PYTHONPATH="")
        row["CUDA kernels"] = architectures
    row["built"] = "no" if status else "yes"
    if not status:
        pytest = [python, "-m", "pytest", "-q", "-n", "2", "--ignore-glob=*on_host*", *tests]
        logged(folder / "tests.log", *pytest, cwd=folder, PYTHONPATH="")
        summary = (folder / "tests.log").read_text().rstrip().rpartition("\n")[2]
        row.update({what: counted(summary, what) for what in COUNTS})
        row["failed"] = str(int(row["failed"]) + int(counted(summary, "error")))
    row["seconds"] = f"{time.monotonic() - start:.0f}"
    return row


def read_table() -> dict[tuple[str, str], dict[str, str]]:
    """The rows that were written before, by release and Python."""
    if not TABLE.exists():
        return {}
    lines = [line for line in TABLE.read_text().splitlines() if line.startswith("| ")][1:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {(row[0], row[1]): dict(zip(COLUMNS, row, strict=True)) for row in rows}


def write_table(rows: dict[tuple[str, str], dict[str, str]]) -> None:
    """Writes all rows, the oldest release first."""

    def line(cells) -> str:
        return "| " + " | ".join(cells) + " |"

    def age(pair: tuple[str, str]) -> list[list[int]]:
        return [[int(part) for part in re.findall(r"\d+", version)] for version in pair]

    lines = [HEAD, line(COLUMNS), "|" + "---|" * len(COLUMNS)]
    lines += [line(rows[pair].values()) for pair in sorted(rows, key=age)]
    TABLE.write_text("\n".join(lines) + "\n")


def passed(row: dict[str, str]) -> bool:
    """Whether a pair builds and all tests passed."""
    return row["built"] == "yes" and row["failed"] == "0" and row["passed"] not in ("-", "0")


def main() -> int:
    """Checks the pairs that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("versions", nargs="+", metavar="VERSION", help="of torch")
    parser.add_argument("--python", nargs="+", default=[sys.executable], metavar="X.Y")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "torch_versions")
    parser.add_argument("--tests", nargs="+", default=TESTS, metavar="PATH")
    parser.add_argument("--cuda", default="", metavar="ARCHITECTURES", help="for example 9.0a")
    parser.add_argument("--unity", action="store_true", help="compile sources together")
    parser.add_argument("--resume", action="store_true", help="leave out what has passed")
    wish = parser.parse_args()
    commit = output("git", "rev-parse", "--short", "HEAD").strip()
    if output("git", "status", "--porcelain", "--", ".", f":!{TABLE.relative_to(ROOT)}"):
        commit += " and changes"
    tests = "all" if wish.tests == TESTS else " ".join(Path(test).stem for test in wish.tests)
    pythons = {python_version(python): python for python in map(find_python, wish.python)}
    rows, good = read_table(), True
    for pair in itertools.product(wish.versions, pythons):
        row = rows.get(pair)
        if wish.resume and row and row["commit"] == commit and passed(row):
            continue
        folder = wish.folder.resolve() / "-".join(pair)
        row = check(pair[0], pythons[pair[1]], folder, wish.tests, wish.cuda, wish.unity)
        named = {"torch": pair[0], "Python": pair[1], "tests": tests, "commit": commit}
        rows = {**read_table(), pair: row | named}
        write_table(rows)
        print(*(f"{key} {value}" for key, value in rows[pair].items()), sep=", ", flush=True)
        good = good and passed(row)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
