"""Random calls of all ops, in processes of their own: a crash or an endless loop is a failure."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path

ROOT = Path(__file__).parents[2]
STUCK = 60.0  # seconds that no call takes
A_SECOND = 200  # calls at the most, so that a fast machine makes no others than a slow one


def run(seed, seconds, first=0):
    """Runs the fuzzer; its last lines, and how it ended: its status, or "stuck"."""
    module = [sys.executable, "-W", "ignore", "-m", "tests.fuzz.op_fuzzer"]
    options = ["--seed", str(seed), "--first", str(first), "--seconds", str(seconds)]
    options += ["--calls", str(round(A_SECOND * seconds))]
    # glibc fills what is freed and what is new, so that memory never written is not 0 by chance.
    environment = {**os.environ, "MALLOC_PERTURB_": "165", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*module, *options], cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    lines: deque[str] = deque(maxlen=40)
    heard = threading.Event()

    def listen():
        for line in process.stdout:
            lines.append(line)
            heard.set()
        heard.set()

    listener = threading.Thread(target=listen)
    listener.start()
    ended = None
    while listener.is_alive() and ended is None:
        heard.clear()
        listener.join(0.1)
        if listener.is_alive() and not heard.wait(STUCK):
            process.kill()
            ended = "stuck"
    listener.join()
    status = process.wait()
    return "".join(lines), status if ended is None else ended


def test_calls_raise_or_agree_with_plain_torch(seed, fuzz_seconds):
    text, ended = run(seed, fuzz_seconds)
    print(f"seed {seed}: {text}")
    assert ended == 0, (
        f"the process ended with {ended}; once more: "
        f"python -m tests.fuzz.op_fuzzer --seed {seed} --first N --calls 1, "
        f"with the last N in\n{text}"
    )


def in_another_process(code):
    command = [sys.executable, "-W", "ignore", "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_results_that_are_wrong_by_a_hundredth_are_found():
    code = """
from tests.fuzz import op_fuzzer
right = op_fuzzer._reference
op_fuzzer._reference = lambda op, args: [t * 1.01 for t in right(op, args)]
for number in range(200):
    op_fuzzer.call(f"0/{number}")
"""
    assert "is not that of plain torch" in in_another_process(code).stderr


def test_reads_beyond_the_end_of_a_tensor_are_found():
    code = """
import ctypes, torch
from tests.fuzz.op_fuzzer import guarded
x = guarded(torch.ones(5, 3))
ctypes.string_at(x.data_ptr(), 60)
print("inside", flush=True)
ctypes.string_at(x.data_ptr(), 61)
"""
    process = in_another_process(code)
    assert (process.stdout, process.returncode) == ("inside\n", -signal.SIGSEGV)
