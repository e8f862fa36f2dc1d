"""The steps of bench/gpu.sh where a machine is lent, with programs that only say what they are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = ("python3", "nvidia-smi", "nvcc", "compute-sanitizer")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs timeout of coreutils")


def run(folder, script, seconds):
    """Its exit status, its summary by step, and the logs, with `script` for each program."""
    programs = folder / "bin"
    programs.mkdir()
    for name in PROGRAMS:
        (programs / name).write_text(f'#!/bin/sh\necho "{name} $*"\n{script}\n')
        (programs / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "SECONDS_OF_ALL": str(seconds),
    }
    environment.pop("PYTHON", None)
    out = folder / "out"
    command = ["sh", ROOT / "bench/gpu.sh", out]
    code = subprocess.run(command, env=environment, capture_output=True).returncode
    lines = (out / "summary.txt").read_text().splitlines()
    logs = {path.stem: path.read_text() for path in out.glob("*.log")}
    return code, dict(line.split(": ") for line in lines), logs


def test_each_step_runs_after_one_that_failed_and_leaves_its_log(tmp_path):
    code, summary, logs = run(tmp_path, 'case "$*" in *"-m bench.gpu_smoke") exit 3 ;; esac', 60)
    assert code == 1
    order = list(summary)
    assert order[:5] == ["gpu", "build", "smoke", "maps", "tests-kernels"]
    assert order[-2:] == ["memcheck", "racecheck"]
    assert all(name.startswith("bench-") for name in order[order.index("tests-ops") + 1 : -2])
    failed = {name for name, said in summary.items() if not said.startswith("exit 0")}
    assert {"smoke"} <= failed <= {"smoke", "maps", "memcheck", "racecheck"}
    assert set(logs) == set(order)
    assert "setup.py build_ext --inplace" in logs["build"]
    assert "not on_host" in logs["tests-kernels"]


def test_what_has_no_time_left_is_not_begun(tmp_path):
    code, summary, logs = run(tmp_path, 'case "$*" in setup.py*) sleep 20 ;; esac', 2)
    assert code == 1
    assert summary["build"].startswith("exit 124")
    assert {said for name, said in summary.items() if name not in ("gpu", "build")} == {
        "not run, the time was over"
    }
    assert set(logs) == {"gpu", "build"}
