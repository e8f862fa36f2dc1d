"""When float32 products on CUDA may round their factors, by all of torch's switches, on the CPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.ops.cuda_on_host_build import ROOT, build

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="built by the system's compiler")
# Each in a process of its own: torch refuses its older questions once the newer switch was used.
ASK = """
import ctypes, os, sys, torch
library = ctypes.CDLL({path!r})
for switch in sys.argv[1:]:
    if os.fork() == 0:
        exec(switch)
        os.write(1, f"{{switch}}: {{library.allows_tf32()}}\\n".encode())
        os._exit(0)
    assert os.wait()[1] == 0, switch
"""
SWITCHES = {
    "": False,
    "torch.backends.cuda.matmul.allow_tf32 = True": True,
    "torch.backends.cuda.matmul.allow_tf32 = False": False,
    "torch.set_float32_matmul_precision('high')": True,
    "torch.set_float32_matmul_precision('highest')": False,
    "torch.backends.cuda.matmul.fp32_precision = 'ieee'": False,
    "torch.backends.cuda.matmul.fp32_precision = 'tf32'": True,
    "torch.backends.fp32_precision = 'tf32'": True,
    "torch.backends.cudnn.fp32_precision = 'tf32'": True,
}


def test_every_switch_is_understood():
    path = str(Path(build("precision")._name).relative_to(ROOT))
    command = [sys.executable, "-c", ASK.format(path=path), *SWITCHES]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    found = dict(line.split(": ") for line in ran.stdout.splitlines())
    assert found == {switch: str(int(allowed)) for switch, allowed in SWITCHES.items()}
