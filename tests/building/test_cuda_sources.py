"""What every CUDA entry and launch has to do, which no machine without a GPU would show."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.ops.cuda_on_host_build import ROOT, STAND_IN, sources

ENTRIES = sorted((ROOT / "csrc").glob("*/*_cuda.cpp"))
MOST_ARGUMENT_BYTES = 32764  # of a kernel, from CUDA 12.1 on


def test_there_are_entries():
    assert len(ENTRIES) > 10


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda path: path.stem)
def test_an_entry_refuses_a_gpu_without_kernels(entry: Path):
    refusing = r"check_kernels\(|dispatch_floating_cuda\(|dispatch_with_reduced_cuda\("
    assert re.search(refusing, entry.read_text())


def compiled(folder: Path, size: int) -> subprocess.CompletedProcess[str]:
    """The compiler's answer to a launch with so many bytes of arguments."""
    (folder / "launch.cuh").write_text(sources()[Path("csrc/common/launch.cuh")])
    source = folder / "launch.cpp"
    source.write_text(
        '#include "launch.cuh"\n'
        f"struct Params {{ char bytes[{size}]; }};\n"
        "void kernel(Params) {}\n"
        "auto error = pyneural::launch(kernel, 1, 1, 0, nullptr, Params{});\n"
    )
    compiler = shlex.split(os.environ.get("CXX", "c++"))
    flags = ["-std=c++20", "-w", f"-I{folder}", f"-I{STAND_IN}", "-c", "-o", os.devnull]
    return subprocess.run([*compiler, *flags, str(source)], capture_output=True, text=True)


def test_arguments_of_a_kernel_stay_within_cudas_limit(tmp_path: Path):
    most = compiled(tmp_path, MOST_ARGUMENT_BYTES)
    assert most.returncode == 0, most.stderr
    more = compiled(tmp_path, MOST_ARGUMENT_BYTES + 1)
    assert more.returncode != 0
    assert "kFitAsArguments" in more.stderr
