"""CUDA kernels built by a C++ compiler, for tests on machines without a GPU.

``cuda_on_host/cuda_runtime_api.h`` and ``cuda.h`` stand in for CUDA and the files beside them for
those of the same name under csrc/common: tensor cores, copies, barriers of several blocks. So such
a test says nothing of what nvcc makes of the code, of warps, or of what blocks see of each other's
memory.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import torch
from torch.utils.cpp_extension import include_paths, library_paths

ROOT = Path(__file__).parents[2]
STAND_IN = Path(__file__).parent / "cuda_on_host"
BUILT = ROOT / "build" / "cuda_on_host"
ASCENDING, DESCENDING, SHUFFLED = range(3)  # orders in which the threads of a block take turns


def sources() -> dict[Path, str]:
    """csrc as the C++ compiler is given it, by its path.

    Launches and dynamic shared memory are rewritten to what a C++ compiler knows.
    """
    rewritten = {}
    for file in sorted((ROOT / "csrc").glob("*/*.*")):
        text = file.read_text()
        if (STAND_IN / file.name).exists():
            text = (STAND_IN / file.name).read_text()
        elif file.suffix in (".cu", ".cuh"):
            text = re.sub(
                r"extern __shared__ __align__\(\d+\) unsigned char (\w+)\[\];",
                r"auto& \1 = cuda_on_host::dynamic_shared;",
                text,
            )
            text = re.sub(
                r"(\w+(?:<\w+>)?)<<<(\S+), (\S+), (\S+), [^>]*>>>\((.*?)\);",
                r"cuda_on_host::launch(\1, \2, \3, \4, [&] { \1(\5); });",
                text,
                flags=re.DOTALL,
            )
            text = text.replace("reinterpret_cast<const void*>(kernel)", "kernel")
            text = re.sub(
                r"(__shared__ [^;{}]*?(\w+)(?:\[[^;]*\])*;)", r"\1 DECLARE_SHARED(\2);", text
            )
        rewritten[file.relative_to(ROOT)] = text
    return rewritten


def build(name: str, *, traced: bool = False) -> ctypes.CDLL:
    """The functions of cuda_on_host/NAME.cpp, which includes the kernels.

    Compiled once for all processes and runs that share the sources and torch. If ``traced``, with
    the functions of cuda_on_host/bank_conflicts.h.
    """
    rewritten = sources()
    compiler = shlex.split(os.environ.get("CXX", "c++"))
    # Fortified, as some compilers have it unless told otherwise, a jump to another stack aborts.
    options = ["-std=c++20", "-O1", "-w", "-fPIC", "-U_FORTIFY_SOURCE"]
    options += [f"-I{path}" for path in include_paths()]
    if traced:
        options += ["-fsanitize=thread", "-fno-threadsafe-statics", "-DTRACED"]
    parts = [torch.__version__, *compiler, *options, *map(str, rewritten), *rewritten.values()]
    parts += [file.read_text() for file in sorted(STAND_IN.iterdir())]
    name, source = f"{name}-traced" if traced else name, STAND_IN / f"{name}.cpp"
    built = BUILT / f"{name}-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:16]}.so"
    BUILT.mkdir(parents=True, exist_ok=True)
    with (BUILT / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            for old in BUILT.glob(f"{name}-*.so"):
                old.unlink()
            shutil.rmtree(BUILT / name, ignore_errors=True)  # with headers that are gone
            for path, text in rewritten.items():
                copy = BUILT / name / path
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_text(text)
            folders = [f"-I{path}" for path in (BUILT / name, STAND_IN)]
            part = built.with_suffix(".part")
            torchs = [f"-L{path}" for path in library_paths()] + ["-ltorch_cpu", "-lc10"]
            # Linked by itself: the sanitizer's own library must stay out.
            compiled = built.with_suffix(".o")
            command = [*compiler, *folders, *options, "-c", source, "-o", compiled]
            subprocess.run(command, check=True)
            command = [*compiler, "-shared", compiled, "-o", part, *torchs]
            subprocess.run(command, check=True)
            compiled.unlink()
            part.rename(built)
    return ctypes.CDLL(str(built))
