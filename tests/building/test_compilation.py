"""What is compiled when, on a small tree with a header of its own."""

import os
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "build_tools"))

from compilation import (  # noqa: E402
    Module,
    compile_modules,
)
from environment import BuildError  # noqa: E402

pytestmark = pytest.mark.skipif(
    not (shutil.which("ninja") and shutil.which("c++")), reason="needs ninja and a compiler"
)
FLAGGED = {"csrc/c/c.cpp": ["-DTEXT=1"]}
MODULES = [
    Module("build/first", ["csrc/a/a.cpp", "csrc/b/b.cpp", "csrc/c/c.cpp"], ["-DVALUE=1"], FLAGGED),
    Module("build/second", ["csrc/b/b.cpp"], ["-DVALUE=2"]),
]
OBJECTS = [
    "build/first/csrc/c/c.cpp.o",
    "build/first/unit.cpp.o",
    "build/second/unit.cpp.o",
]


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.delenv("PYNEURAL_UNITY", raising=False)
    files = {
        "csrc/common/own.h": "#pragma once\ninline int own() { return 1; }\n",
        "csrc/a/a.cpp": '#include "own.h"\n#include <vector>\nstd::vector<int> a{own()};\n',
        "csrc/b/b.cpp": "#include <vector>\nstd::vector<int> b{VALUE};\n",
        "csrc/c/c.cpp": 'const char* c = "c";\n',
    }
    root = tmp_path / "a tree"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def build(root, modules=MODULES):
    """The objects that a run compiles."""

    def dates():
        return {path: path.stat().st_mtime_ns for path in root.glob("build/**/*.o")}

    before = dates()
    flags = ["-I", "csrc/common", "-std=c++20", "-g0"]
    objects = compile_modules(modules, root, "build", ["c++"], flags, 2)
    after = dates()
    assert all((root / name).exists() for of_module in objects for name in of_module)
    new = [path for path, date in after.items() if before.get(path) != date]
    return sorted(str(path.relative_to(root)) for path in new)


def change(path, text):
    path.write_text(text)
    later = path.stat().st_mtime + 5
    os.utime(path, (later, later))


def test_compiles_all_and_then_what_changed(tree):
    assert build(tree) == OBJECTS
    assert build(tree) == []
    change(tree / "csrc/common/own.h", "#pragma once\ninline int own() { return 2; }\n")
    assert build(tree) == ["build/first/unit.cpp.o"]


def test_flags_of_one_source_concern_no_other(tree):
    build(tree)
    flags = {"csrc/c/c.cpp": ['-DTEXT="two words"']}
    modules = [MODULES[0]._replace(source_flags=flags), MODULES[1]]
    assert build(tree, modules) == ["build/first/csrc/c/c.cpp.o"]


def test_a_tree_that_moved_with_its_objects_is_up_to_date(tree):
    build(tree)
    moved = tree.rename(tree.with_name("elsewhere"))
    assert build(moved) == []


def test_an_error_is_one_line(tree, capfd):
    change(tree / "csrc/a/a.cpp", "no C++\n")
    with pytest.raises(BuildError, match="does not compile") as caught:
        build(tree)
    assert "\n" not in str(caught.value)
    assert "csrc/a/a.cpp:1" in capfd.readouterr().out


def test_each_source_by_itself_needs_its_own_includes(tree, monkeypatch, capfd):
    # Together, b is read after a and what a includes.
    change(tree / "csrc/b/b.cpp", "std::vector<int> b{VALUE};\n")
    assert build(tree, MODULES[:1]) == OBJECTS[:2]
    monkeypatch.setenv("PYNEURAL_UNITY", "0")
    with pytest.raises(BuildError, match="does not compile"):
        build(tree, MODULES[:1])
    assert "csrc/b/b.cpp:1" in capfd.readouterr().out


def test_each_source_by_itself(tree, monkeypatch):
    build(tree)
    monkeypatch.setenv("PYNEURAL_UNITY", "0")
    assert build(tree) == [
        "build/first/csrc/a/a.cpp.o",
        "build/first/csrc/b/b.cpp.o",
        "build/second/csrc/b/b.cpp.o",
    ]


def test_missing_ninja_is_named(tree, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BuildError, match="pip install ninja"):
        build(tree)
