"""The archive of the sources holds what a build, the tests and the benches need."""

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("csrc", "build_tools", "bench", "tests", "pyneural")
SINGLE = ("setup.py", "pyproject.toml", "Makefile", "README.md", "LICENSE", "CONTRIBUTING.md")


def tracked():
    """The files that git tracks, or those that lie here where this is no checkout."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        command = ["git", "ls-files", *ROOMS, *SINGLE]
        names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        return {name for name in names.splitlines() if (ROOT / name).exists()}
    pytest.skip("not a checkout")


def test_the_archive_holds_every_file_that_git_tracks(tmp_path):
    pytest.importorskip("setuptools")
    script = (
        "import sys; from setuptools import build_meta; print(build_meta.build_sdist(sys.argv[1]))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    (archive,) = tmp_path.glob("pyneural-*.tar.gz")
    with tarfile.open(archive) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    assert not tracked() - names
    assert not [name for name in names if name.endswith((".so", ".pyc", ".o", "_build.json"))]
