"""What is compiled when, on a small tree with a header of its own and one compiled ahead."""

import os
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "build_tools"))

from compilation import (  # noqa: E402
    Module,
    can_precompile,
    compile_modules,
    ninja_file,
    size_with_headers,
)
from environment import BuildError  # noqa: E402

pytestmark = pytest.mark.skipif(
    not (shutil.which("ninja") and shutil.which("c++")), reason="needs ninja and a compiler"
)
MODULES = [
    Module("build/first", ["csrc/a/a.cpp", "csrc/b/b.cpp"], ["-DVALUE=1"], "csrc/common/ahead.h"),
    Module("build/second", ["csrc/b/b.cpp"], ["-DVALUE=2"], "csrc/common/ahead.h"),
]
OBJECTS = [name for module in MODULES for name in module.objects]


precompiles = pytest.mark.skipif(
    not can_precompile(["c++"]), reason="c++ is a launcher that cannot keep precompiled headers"
)


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.delenv("PYNEURAL_PRECOMPILE", raising=False)
    files = {
        "csrc/common/ahead.h": "#pragma once\n#include <vector>\n",
        "csrc/common/own.h": "inline int own() { return 1; }\n",
        "csrc/a/a.cpp": '#include "own.h"\n#include <vector>\nstd::vector<int> a{own()};\n',
        "csrc/b/b.cpp": "#include <vector>\nstd::vector<int> b{VALUE};\n",
    }
    root = tmp_path / "a tree"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def build(root, modules=MODULES):
    """The objects that a run compiles."""

    def dates():
        return {
            name: (root / name).stat().st_mtime_ns for name in OBJECTS if (root / name).exists()
        }

    before = dates()
    flags = ["-I", "csrc/common", "-std=c++20", "-g0"]
    compile_modules(modules, root, "build", ["c++"], flags, 2)
    after = dates()
    return {name for name, date in after.items() if before.get(name) != date}


def change(path, text):
    path.write_text(text)
    later = path.stat().st_mtime + 5
    os.utime(path, (later, later))


def test_compiles_all_and_then_what_changed(tree):
    assert build(tree) == set(OBJECTS)
    assert build(tree) == set()
    change(tree / "csrc/common/own.h", "inline int own() { return 2; }\n")
    assert build(tree) == {"build/first/csrc/a/a.cpp.o"}


@precompiles
def test_a_change_of_the_header_compiled_ahead_reaches_every_object(tree):
    build(tree)
    ahead = tree / "csrc/common/ahead.h"
    change(ahead, ahead.read_text() + "#include <string>\n")
    assert build(tree) == set(OBJECTS)


def test_flags_of_one_source_concern_no_other(tree):
    build(tree)
    flags = {"csrc/b/b.cpp": ['-DTEXT="two words"']}
    modules = [MODULES[0]._replace(source_flags=flags), MODULES[1]]
    assert build(tree, modules) == {"build/first/csrc/b/b.cpp.o"}


def test_a_tree_that_moved_with_its_objects_is_up_to_date(tree):
    build(tree)
    moved = tree.rename(tree.with_name("elsewhere"))
    assert build(moved) == set()


def test_an_error_is_one_line(tree, capfd):
    change(tree / "csrc/a/a.cpp", "no C++\n")
    with pytest.raises(BuildError, match="does not compile") as caught:
        build(tree)
    assert "\n" not in str(caught.value)
    assert "csrc/a/a.cpp:1" in capfd.readouterr().out


@precompiles
def test_alone_a_source_needs_its_own_includes(tree, monkeypatch, capfd):
    change(tree / "csrc/b/b.cpp", "std::vector<int> b{VALUE};\n")
    assert build(tree) == set(OBJECTS)
    assert (tree / "build/first/ahead.h.gch").exists()
    monkeypatch.setenv("PYNEURAL_PRECOMPILE", "0")
    with pytest.raises(BuildError, match="does not compile"):
        build(tree)
    assert "csrc/b/b.cpp:1" in capfd.readouterr().out


def test_missing_ninja_is_named(tree, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BuildError, match="pip install ninja"):
        build(tree)


def test_the_longest_source_starts_first(tree):
    order = {"csrc/a/a.cpp": 2, "csrc/b/b.cpp": 3}
    text = ninja_file(MODULES, ["c++"], [], "build", order, precompile=False)
    started = [line.split()[1][:-1] for line in text.splitlines() if ": compile" in line]
    assert started == [
        "build/first/csrc/b/b.cpp.o",
        "build/second/csrc/b/b.cpp.o",
        "build/first/csrc/a/a.cpp.o",
    ]
    assert ".gch" not in text


def test_own_headers_count_once(tree):
    common = tree / "csrc/common"
    change(common / "own.h", '#include "more.h"\n')
    change(common / "more.h", '#include "own.h"\n' + "x" * 100)
    source = tree / "csrc/a/a.cpp"
    expected = sum(len(p.read_text()) for p in (source, common / "own.h", common / "more.h"))
    assert size_with_headers(source, [common]) == expected


@pytest.mark.parametrize(
    ("command", "flags", "expected"),
    [
        (["g++"], [], True),
        (["ccache", "g++"], [], False),
        (["/usr/lib/ccache/g++"], [], False),
        (["clang++"], ["-arch", "arm64"], True),
        (["clang++"], ["-arch", "arm64", "-arch", "x86_64"], False),
    ],
)
def test_headers_are_compiled_ahead_where_the_compiler_can(tmp_path, command, flags, expected):
    # Debian's /usr/lib/ccache/g++ is a link to ccache.
    (tmp_path / "ccache").touch()
    (tmp_path / "link").symlink_to(tmp_path / "ccache")

    def which(word):
        return str(tmp_path / "link") if word == "/usr/lib/ccache/g++" else f"/usr/bin/{word}"

    assert can_precompile(command, flags, which) == expected
