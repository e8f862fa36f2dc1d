"""What a wheel of pyneural holds and links: whether it runs beside the same torch elsewhere.

    python build_tools/check_wheel.py build/wheel/pyneural-0.1.0-cp311-cp311-linux_x86_64.whl

Its name has the tag of this Python and processor; it holds the package with its data, the record of
its build and the kernels of all instruction sets that it was built for, and nothing of the build;
its libraries look for others in no folder of this machine, name none of its files in their
messages, and link torch's and the system's alone.
On Linux auditwheel then says how old a system may be: torch's libraries are left to torch, and
nothing else may have to be packed into the wheel. The file that it has renamed accordingly is the
one to publish.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

from environment import choose_isas

# Of torch, and of CUDA, which torch's distribution brings along; to auditwheel by their names.
OF_TORCH = ("libtorch*", "libc10*", "libcudart*", "libcuda.so*", "libgomp*")
DATA = ("pyneural/_build.json", "pyneural/py.typed", "pyneural/pde/gallery/*.npz")
ISAS = ("default", "avx2", "avx512")


def expected_tag() -> str:
    """The tag of a wheel with extension modules that this Python builds."""
    python = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    platform = re.sub(r"[-.]", "_", sysconfig.get_platform())
    return f"{python}-{python}-{platform}"


def content_faults(names: list[str], tag: str, isas: list[str]) -> list[str]:
    """What is wrong with the files of a wheel with this tag, built for these instruction sets."""
    faults = [] if tag == expected_tag() else [f"tag {tag}, expected {expected_tag()}"]
    strange = [name for name in names if not re.match(r"pyneural(-[\d.]+\.dist-info)?/", name)]
    strange += [name for name in names if re.search(r"\.(cpp|cu|h|o|pyc)$", name)]
    faults += [f"{name} does not belong into it" for name in strange]
    modules = {match[1] for name in names if (match := re.match(r"pyneural/(_\w+)\..*so$", name))}
    wanted = {"_C", *(f"_cpu_{isa}" for isa in isas)}
    faults += [f"no module {name}" for name in sorted(wanted - modules)]
    faults += [f"module {name} was not asked for" for name in sorted(modules - wanted - {"_cuda"})]
    faults += [f"no {name}" for name in DATA if not fnmatch.filter(names, name)]
    return faults


def link_faults(library: str, dynamic: str) -> list[str]:
    """What is wrong with the dynamic section of a library, as readelf prints it."""
    paths = re.findall(r"R(?:UN)?PATH.*\[(.*)\]", dynamic)
    folders = [folder for path in paths for folder in path.split(":")]
    return [
        f"{library} looks for libraries in {folder!r}"
        for folder in folders
        if not folder.startswith("$ORIGIN")
    ]


def path_faults(library: str, content: bytes, roots: list[str]) -> list[str]:
    """What is wrong with the texts of a library: paths from one of the `roots` on, as /home."""
    start = "|".join(re.escape(root) for root in roots).encode()
    # Nothing that goes on before it: $ORIGIN/../usr is no path of this machine.
    found = re.findall(rb"(?<![\w.-])(?:" + start + rb")/[\w.+@/-]+", content)
    paths = sorted({path.decode() for path in found})
    return [f"{library} names {len(paths)} files of this machine, as {paths[0]}"] if paths else []


def roots_of_machine() -> list[str]:
    """The folders in which a build has its files, but for those that the kernel makes."""
    return [str(path) for path in Path("/").iterdir() if path.name not in ("dev", "proc", "sys")]


def read_dynamic(path: Path) -> str:
    """The dynamic section of a library."""
    command = ["readelf", "--dynamic", "--wide", path]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def audit(wheel: Path, folder: Path) -> list[str]:
    """Has auditwheel rename the wheel into a folder; what is wrong by its rules."""
    excluded = [word for name in OF_TORCH for word in ("--exclude", name)]
    command = [sys.executable, "-m", "auditwheel", "repair", *excluded, "-w", folder, wheel]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode:
        return [f"auditwheel: {(ran.stderr or ran.stdout).strip().splitlines()[-1]}"]
    (renamed,) = folder.glob("*.whl")
    packed = [name for name in zipfile.ZipFile(renamed).namelist() if ".libs/" in name]
    faults = [f"{name.rpartition('/')[2]} is neither of torch nor of the system" for name in packed]
    if "manylinux" not in renamed.name:
        faults.append(f"auditwheel names it {renamed.name}, expected manylinux in it")
    print(f"  auditwheel    {renamed.name}")
    return faults


def main(path: str) -> int:
    """Checks a wheel; prints what it holds, or what is wrong with it."""
    wheel = Path(path)
    isas = list(ISAS) if "x86_64" in sysconfig.get_platform() else ["default"]
    from torch.backends.cpu import get_cpu_capability

    isas = choose_isas(os.environ.get("PYNEURAL_BUILD_ISAS"), isas, get_cpu_capability())
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as folder:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        libraries = [name for name in names if name.endswith(".so")]
        print(f"  wheel         {wheel.name}, {wheel.stat().st_size / 2**20:.1f} MiB")
        print(f"  libraries     {', '.join(Path(name).name for name in libraries)}")
        faults = content_faults(names, "-".join(wheel.stem.split("-")[-3:]), isas)
        if "pyneural/_build.json" in names:
            record = json.loads(archive.read("pyneural/_build.json"))
            print(f"  built for     torch {record['torch']}, CUDA {record['cuda']}")
        for name in libraries:
            faults += path_faults(name, archive.read(name), roots_of_machine())
        if sys.platform == "linux":
            for name in libraries:
                faults += link_faults(name, read_dynamic(Path(archive.extract(name, folder))))
            faults += audit(wheel, wheel.parent / "manylinux")
    for fault in faults:
        print(f"{wheel.name}: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
