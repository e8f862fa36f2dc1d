"""What is found wrong with a wheel, and which packages an environment is given."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "build_tools"))

import check_wheel
import link_packages

GOOD = [
    "pyneural/__init__.py",
    "pyneural/_C.cpython-311-x86_64-linux-gnu.so",
    "pyneural/_cpu_avx2.cpython-311-x86_64-linux-gnu.so",
    "pyneural/_build.json",
    "pyneural/py.typed",
    "pyneural/pde/gallery/cavity.npz",
    "pyneural-0.1.0.dist-info/RECORD",
]


def faults(names, tag=None, isas=("avx2",)):
    return check_wheel.content_faults(names, tag or check_wheel.expected_tag(), list(isas))


def test_a_good_wheel_has_no_faults():
    assert faults(GOOD) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"names": [*GOOD, "build/lib/pyneural/__init__.py"]}, "does not belong into it"),
        ({"names": [*GOOD, "pyneural/dense.cpp"]}, "does not belong into it"),
        ({"names": [name for name in GOOD if "_build" not in name]}, "no pyneural/_build.json"),
        ({"names": [name for name in GOOD if "npz" not in name]}, "no pyneural/pde/gallery/*.npz"),
        ({"isas": ["default", "avx2"]}, "no module _cpu_default"),
        ({"isas": ["default"]}, "module _cpu_avx2 was not asked for"),
        ({"tag": "py3-none-any"}, "tag py3-none-any, expected cp"),
    ],
)
def test_faults_of_the_content(change, told):
    assert any(told in fault for fault in faults(**{"names": GOOD, **change}))


@pytest.mark.parametrize(
    ("path", "count"),
    [
        ("(RUNPATH) Library runpath: [/usr/lib/torch/lib]", 1),
        ("(RPATH) Library rpath: [$ORIGIN/../torch/lib:/build]", 1),
        ("(RUNPATH) Library runpath: [$ORIGIN]", 0),
        ("(NEEDED) Shared library: [libc10.so]", 0),
    ],
)
def test_faults_of_the_links(path, count):
    dynamic = (
        f" 0x000000000000001d {path}\n 0x0000000000000001 (NEEDED) Shared library: [libc.so.6]"
    )
    assert len(check_wheel.link_faults("_C.so", dynamic)) == count


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (
            b'\0x FAILED at "/tmp/env/lib/torch/include/c10/Exception.h":7\0',
            "/tmp/env/lib/torch",
        ),
        (b"\0/home/me/site-packages/torch/include/ATen/core/ivalue.h\0", "/home/me"),
        (b"\0ATen/core/ivalue.h\0$ORIGIN/../home/lib\0/proc/meminfo\0a/tmp/b\0/tmp\0", None),
    ],
)
def test_paths_of_the_machine_are_found(text, path):
    faults = check_wheel.path_faults("_C.so", b"\x7fELF" + text, ["/home", "/tmp"])
    assert len(faults) == (path is not None)
    assert all(path in fault for fault in faults)


def test_the_roots_are_those_of_this_machine():
    roots = check_wheel.roots_of_machine()
    assert f"/{Path(sys.prefix).resolve().parts[1]}" in roots
    assert "/proc" not in roots


def test_packages_come_with_what_they_need():
    found = link_packages.needed(["torch"])
    assert {"torch", "sympy", "mpmath"} <= set(found)  # mpmath is sympy's
    assert "pytest" not in found
    with pytest.raises(SystemExit, match="no-such-package is not installed in"):
        link_packages.needed(["no-such-package"])
