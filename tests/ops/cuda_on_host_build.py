"""CUDA kernels built by a C++ compiler, for tests on machines without a GPU.

``cuda_on_host/cuda_runtime_api.h`` and ``cuda.h`` stand in for CUDA and the files beside them for
those of the same name under csrc/common: tensor cores, copies, barriers of several blocks. So such
a test says nothing of what nvcc makes of the code, of warps, or of what blocks see of each other's
memory.
"""

from __future__ import annotations

import ctypes
import os
import re
import shlex
import subprocess
from pathlib import Path

from torch.utils.cpp_extension import include_paths

ROOT = Path(__file__).parents[2]
STAND_IN = Path(__file__).parent / "cuda_on_host"
ASCENDING, DESCENDING, SHUFFLED = range(3)  # orders in which the threads of a block take turns


def build(name: str, folder: Path) -> ctypes.CDLL:
    """The functions of cuda_on_host/NAME.cpp, which includes the kernels; ``folder`` is for files.

    Launches and dynamic shared memory are rewritten to what a C++ compiler knows.
    """
    for file in (ROOT / "csrc").glob("*/*.*"):
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
                r"(\w+(?:<\w+>)?)<<<(\S+), (\S+), [^>]*>>>\((.*?)\);",
                r"cuda_on_host::launch(\2, \3, [&] { \1(\4); });",
                text,
                flags=re.DOTALL,
            )
            text = text.replace("reinterpret_cast<const void*>(kernel)", "kernel")
        copy = folder / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text)
    built = folder / f"{name}.so"
    compiler = shlex.split(os.environ.get("CXX", "c++"))
    options = ["-std=c++20", "-O1", "-w", "-shared", "-fPIC"]
    folders = [f"-I{path}" for path in (folder, STAND_IN, *include_paths())]
    subprocess.run(
        [*compiler, *options, *folders, STAND_IN / f"{name}.cpp", "-o", built], check=True
    )
    return ctypes.CDLL(str(built))
