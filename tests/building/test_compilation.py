"""What is compiled when, on a small tree with a header of its own and one of the system."""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "build_tools"))

from compilation import Module, compile_modules, units_of  # noqa: E402
from environment import BuildError, Jobs  # noqa: E402

pytestmark = pytest.mark.skipif(
    not (shutil.which("ninja") and shutil.which("c++")), reason="needs ninja and a compiler"
)
FLAGGED = {"csrc/c/c.cpp": ['-DTEXT="$one two"']}
MODULES = [
    Module("build/first", ["csrc/a/a.cpp", "csrc/b/b.cpp", "csrc/c/c.cpp"], ["-DVALUE=1"], FLAGGED),
    Module("build/the second", ["csrc/b/b.cpp"], ["-DVALUE=2"]),
]
JOBS = Jobs(processors=2, at_a_time=2)
OBJECTS = [
    "build/first/csrc/c/c.cpp.o",
    "build/first/unit_1.cpp.o",
    "build/the second/unit_1.cpp.o",
]


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.delenv("PYNEURAL_UNITY", raising=False)
    files = {
        "csrc/common/own.h": "#pragma once\ninline int own() { return 1; }\n",
        "system/torch.h": "#pragma once\n#include <vector>\n",
        "csrc/a/a.cpp": '#include "own.h"\n#include <torch.h>\nstd::vector<int> a{own()};\n',
        "csrc/b/b.cpp": "#include <vector>\nstd::vector<int> b{VALUE};\n",
        "csrc/c/c.cpp": "const char* c = TEXT;\n",
    }
    root = tmp_path / "a tree"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def compiled(root, modules=MODULES, jobs=JOBS):
    """The objects of each module."""
    flags = ["-I", "csrc/common", "-isystem", "system", "-std=c++20", "-g0", "-fPIC"]
    return compile_modules(modules, root, "build", ["c++"], flags, jobs)


def build(root, modules=MODULES, jobs=JOBS):
    """The objects that a run compiles."""

    def dates():
        return {path: path.stat().st_mtime_ns for path in root.glob("build/**/*.o")}

    before = dates()
    compiled(root, modules, jobs)
    after = dates()
    new = [path for path, date in after.items() if before.get(path) != date]
    return sorted(str(path.relative_to(root)) for path in new)


def linked(root, objects):
    """A library of them, as a module is."""
    file = root / f"{len(list(root.glob('*.so')))}.so"
    subprocess.run(["c++", "-shared", *objects, "-o", file], cwd=root, check=True)
    return ctypes.CDLL(str(file))


def numbers(library, name):
    """The elements of a global vector."""
    return ctypes.POINTER(ctypes.c_int).in_dll(library, name)


def change(path, text):
    path.write_text(text)
    later = path.stat().st_mtime + 5
    os.utime(path, (later, later))


def test_compiles_all_and_then_what_changed(tree):
    assert build(tree) == OBJECTS
    assert build(tree) == []
    change(tree / "csrc/common/own.h", "#pragma once\ninline int own() { return 2; }\n")
    assert build(tree) == ["build/first/unit_1.cpp.o"]


def test_a_header_of_the_system_may_change_too(tree):
    build(tree)
    change(tree / "system/torch.h", "#pragma once\n#include <vector>\n#include <array>\n")
    assert build(tree) == ["build/first/unit_1.cpp.o"]


@pytest.mark.parametrize("unity", ["0", "1"])
def test_the_objects_of_a_module_hold_all_its_sources_once(tree, monkeypatch, unity):
    monkeypatch.setenv("PYNEURAL_UNITY", unity)
    first, second = (linked(tree, objects) for objects in compiled(tree))
    assert numbers(first, "a")[0] == numbers(first, "b")[0] == 1
    assert ctypes.c_char_p.in_dll(first, "c").value == b"$one two"
    assert numbers(second, "b")[0] == 2
    for name in "ac":
        with pytest.raises(ValueError, match="symbol"):
            numbers(second, name)


def test_sources_are_dealt_out_where_there_are_more_processors_than_modules(tree):
    sources = ["csrc/a/a.cpp", "csrc/b/b.cpp", "csrc/c/c.cpp"]
    dealt = [
        [unit.sources for unit in units_of(Module("build/one", sources, []), parts)]
        for parts in (1, 2, 5)
    ]
    assert dealt == [[sources], [sources[::2], sources[1:2]], [[source] for source in sources]]
    first, second = compiled(tree, jobs=Jobs(3, 1))
    assert first == ["build/first/unit_1.cpp.o", "build/first/unit_2.cpp.o", OBJECTS[0]]
    assert second == OBJECTS[2:]
    assert numbers(linked(tree, first), "b")[0] == 1
    # Less memory at the next build compiles nothing again.
    assert build(tree, jobs=Jobs(3, 3)) == []


def test_a_source_more_or_less_changes_the_object(tree):
    build(tree)
    fewer = [MODULES[0]._replace(sources=["csrc/a/a.cpp", "csrc/c/c.cpp"]), MODULES[1]]
    assert build(tree, fewer) == ["build/first/unit_1.cpp.o"]
    with pytest.raises(ValueError, match="symbol"):
        numbers(linked(tree, compiled(tree, fewer)[0]), "b")
    assert build(tree) == ["build/first/unit_1.cpp.o"]
    assert numbers(linked(tree, compiled(tree)[0]), "b")[0] == 1


def test_flags_of_one_source_concern_no_other(tree):
    build(tree)
    flags = {"csrc/c/c.cpp": ['-DTEXT="two words"']}
    modules = [MODULES[0]._replace(source_flags=flags), MODULES[1]]
    assert build(tree, modules) == ["build/first/csrc/c/c.cpp.o"]


def test_a_tree_that_moved_with_its_objects_is_up_to_date(tree):
    build(tree)
    moved = tree.rename(tree.with_name("elsewhere"))
    assert build(moved) == []
    assert {path.name for path in moved.iterdir()} == {"build", "csrc", "system"}


def test_cuda_sources_go_to_nvcc_each_by_itself(tree):
    """Here nvcc is the C++ compiler; the tree has a source of the same stem for it."""
    (tree / "csrc/b/b.cu").write_text('#include "own.h"\nint on_device = own() + OF_NVCC;\n')
    module = Module("build/third", ["csrc/b/b.cu", "csrc/a/a.cpp", "csrc/b/b.cpp"], ["-DVALUE=3"])
    nvcc = ["c++", "-Icsrc/common", "-fPIC", "-DOF_NVCC=6", "-x", "c++"]

    def objects():
        flags = ["-I", "csrc/common", "-isystem", "system", "-std=c++20", "-g0", "-fPIC"]
        return compile_modules([module], tree, "build", ["c++"], flags, Jobs(1, 2), nvcc)[0]

    assert objects() == ["build/third/unit_1.cpp.o", "build/third/csrc/b/b.cu.o"]
    library = linked(tree, objects())
    assert ctypes.c_int.in_dll(library, "on_device").value == 7
    assert numbers(library, "b")[0] == 3
    change(tree / "csrc/common/own.h", "#pragma once\ninline int own() { return 4; }\n")
    assert ctypes.c_int.in_dll(linked(tree, objects()), "on_device").value == 10


def test_an_error_is_one_line(tree, capfd):
    change(tree / "csrc/a/a.cpp", "no C++\n")
    with pytest.raises(BuildError, match="does not compile") as caught:
        build(tree)
    assert "\n" not in str(caught.value)
    assert "csrc/a/a.cpp:1" in capfd.readouterr().out


def test_each_source_by_itself_needs_its_own_includes(tree, monkeypatch, capfd):
    # Together, b is read after a and what a includes.
    change(tree / "csrc/b/b.cpp", "std::vector<int> b{VALUE};\n")
    assert build(tree, MODULES[:1], Jobs(1, 1)) == OBJECTS[:2]
    monkeypatch.setenv("PYNEURAL_UNITY", "0")
    with pytest.raises(BuildError, match="does not compile"):
        build(tree, MODULES[:1], Jobs(1, 1))
    assert "csrc/b/b.cpp:1" in capfd.readouterr().out


def test_each_source_by_itself(tree, monkeypatch):
    build(tree)
    monkeypatch.setenv("PYNEURAL_UNITY", "0")
    assert build(tree) == [
        "build/first/csrc/a/a.cpp.o",
        "build/first/csrc/b/b.cpp.o",
        "build/the second/csrc/b/b.cpp.o",
    ]
    monkeypatch.setenv("PYNEURAL_UNITY", "1")
    change(tree / "csrc/b/b.cpp", "#include <vector>\nstd::vector<int> b{VALUE, VALUE};\n")
    assert build(tree) == OBJECTS[1:]


def test_missing_ninja_is_named(tree, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BuildError, match="pip install ninja"):
        build(tree)
