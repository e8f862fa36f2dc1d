"""Builds pyneural against several releases of torch and runs the op and layer tests with each.

    python build_tools/check_torch_versions.py 2.11.0 2.13.0 2.15.0

Every release has an environment of its own under build/torch_versions (--folder names another),
with a copy of the files that git tracks. Environments and objects are kept: a second call installs
nothing and compiles what changed. The outcome goes into build_tools/torch_versions.md, a row a
release; --resume leaves out the releases that have passed on this commit.

Only the CPU kernels of this processor's best instruction set are built: what differs between
releases is their headers and their Python. Every source is compiled by itself, without the headers
that are compiled ahead, which would hide an include that a source lacks. PyPI's wheels for Linux
bring several GB of CUDA along.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "build_tools" / "torch_versions.md"
COLUMNS = ("torch", "CUDA of torch", "built", "passed", "failed", "skipped", "seconds", "commit")
PACKAGES = ["setuptools>=77", "ninja", "pytest", "pytest-xdist", "hypothesis", "expecttest"]
HEAD = """\
# Releases of torch

The op and layer tests on the CPU kernels, `python build_tools/check_torch_versions.py VERSION...`
wrote it. A release that does not build has no tests; what 2.11 cannot compile is skipped, with the
reason.
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


def make_environment(version: str, folder: Path) -> Path:
    """The interpreter of an environment with this torch, made where it is not there yet."""
    python = folder / "bin" / "python"
    made = folder / "made"
    if not made.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        install = [python, "-m", "pip", "install", f"torch=={version}", *PACKAGES]
        if logged(folder / "install.log", *install):
            raise SystemExit(f"torch {version} does not install, see {folder / 'install.log'}")
        made.touch()
    return python


def copy_tree(folder: Path) -> Path:
    """The files that git tracks; one that has not changed keeps its date, and so its object."""
    tree = folder / "tree"
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
    return tree


def counted(summary: str, what: str) -> str:
    """How many tests a summary of pytest counts as passed, failed or skipped."""
    match = re.search(rf"(\d+) {what}", summary)
    return match[1] if match else "0"


def check(version: str, folder: Path, tests: list[str]) -> dict[str, str]:
    """Builds against a release and runs the tests; returns its row of the table."""
    python = make_environment(version, folder)
    tree = copy_tree(folder)
    row = dict.fromkeys(COLUMNS, "-")
    row["torch"] = version
    row["CUDA of torch"] = output(python, "-c", "import torch; print(torch.version.cuda)").strip()
    start = time.monotonic()
    install = [python, "-m", "pip", "install", "--no-build-isolation", "--editable", "."]
    settings = {
        "PYNEURAL_BUILD_ISAS": "native",
        "PYNEURAL_CUDA": "0",
        "PYNEURAL_UNITY": "0",
        "MAX_JOBS": "2",
    }
    status = logged(folder / "build.log", *install, cwd=tree, **settings)
    row["built"] = "no" if status else "yes"
    if not status:
        pytest = [python, "-m", "pytest", "-q", "-n", "2", "--ignore-glob=*on_host*", *tests]
        logged(folder / "tests.log", *pytest, cwd=tree)
        summary = (folder / "tests.log").read_text().rstrip().rpartition("\n")[2]
        row.update({what: counted(summary, what) for what in ("passed", "failed", "skipped")})
        row["failed"] = str(int(row["failed"]) + int(counted(summary, "error")))
    row["seconds"] = f"{time.monotonic() - start:.0f}"
    return row


def read_table() -> dict[str, dict[str, str]]:
    """The rows that were written before, by release."""
    if not TABLE.exists():
        return {}
    lines = [line for line in TABLE.read_text().splitlines() if line.startswith("| ")][1:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: dict(zip(COLUMNS, row, strict=True)) for row in rows}


def write_table(rows: dict[str, dict[str, str]]) -> None:
    """Writes all rows, the oldest release first."""

    def line(cells) -> str:
        return "| " + " | ".join(cells) + " |"

    def age(version: str) -> list[int]:
        return [int(part) for part in re.findall(r"\d+", version)]

    lines = [HEAD, line(COLUMNS), "|" + "---|" * len(COLUMNS)]
    lines += [line(rows[version].values()) for version in sorted(rows, key=age)]
    TABLE.write_text("\n".join(lines) + "\n")


def passed(row: dict[str, str]) -> bool:
    """Whether a release builds and all tests passed."""
    return row["built"] == "yes" and row["failed"] == "0" and row["passed"] not in ("-", "0")


def main() -> int:
    """Checks the releases that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("versions", nargs="+", metavar="VERSION")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "torch_versions")
    parser.add_argument("--tests", nargs="+", default=["tests/ops", "tests/nn", "tests/layers"])
    parser.add_argument("--resume", action="store_true")
    wish = parser.parse_args()
    commit = output("git", "rev-parse", "--short", "HEAD").strip()
    if output("git", "status", "--porcelain", "--", ".", f":!{TABLE.relative_to(ROOT)}"):
        commit += " and changes"
    rows = read_table()
    for version in wish.versions:
        row = rows.get(version)
        if wish.resume and row and row["commit"] == commit and passed(row):
            continue
        row = check(version, wish.folder.resolve() / version, wish.tests)
        rows[version] = {**row, "commit": commit}
        write_table(rows)
        print(*(f"{key} {value}" for key, value in rows[version].items()), sep=", ", flush=True)
    return 0 if all(passed(rows[version]) for version in wish.versions) else 1


if __name__ == "__main__":
    sys.exit(main())
