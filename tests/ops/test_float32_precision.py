"""When float32 products on CUDA may round their factors, by all of torch's switches, on the CPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.ops.cuda_on_host_build import ROOT, build

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="built by the system's compiler")
# In a process of its own: torch refuses its older questions once the newer switch was used.
ASK = """
import ctypes, torch
library = ctypes.CDLL({path!r})
{switch}
print(library.allows_tf32())
"""


@pytest.fixture(scope="module")
def path():
    return str(Path(build("precision")._name).relative_to(ROOT))


@pytest.mark.parametrize(
    ("switch", "allowed"),
    [
        ("", False),
        ("torch.backends.cuda.matmul.allow_tf32 = True", True),
        ("torch.backends.cuda.matmul.allow_tf32 = False", False),
        ("torch.set_float32_matmul_precision('high')", True),
        ("torch.set_float32_matmul_precision('highest')", False),
        ("torch.backends.cuda.matmul.fp32_precision = 'ieee'", False),
        ("torch.backends.cuda.matmul.fp32_precision = 'tf32'", True),
        ("torch.backends.fp32_precision = 'tf32'", True),
        ("torch.backends.cudnn.fp32_precision = 'tf32'", True),
    ],
)
def test_every_switch_is_understood(path, switch, allowed):
    command = [sys.executable, "-c", ASK.format(path=path, switch=switch)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == [str(int(allowed))]
