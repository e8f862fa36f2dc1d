"""Processes killed while they save: a whole file is there, and a training goes on from it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from pyneural.training import load_checkpoint
from pyneural.training.state.file import previous_path, read_checkpoint
from tests.processes import start
from tests.training.fits import new_model, train, weights

ROOT = Path(__file__).parents[2]
EPOCHS = 40
FIT = f"""
import sys
from tests.training.fits import new_model, train
train(new_model(), epochs={EPOCHS}, checkpoint=sys.argv[1], every=0.0, resume=True)
"""
# One import for many writers: each is a fork, killed by its parent at a time that is drawn.
SAVES = """
import os, random, signal, sys, time, torch
from pyneural.training import save_checkpoint
path, seed, kills = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
draw, step = random.Random(seed), 0
torch.set_num_threads(1)
for _ in range(kills):
    receive, send = os.pipe()
    writer = os.fork()
    if writer == 0:
        while True:
            step += 1
            save_checkpoint(path, {"w": torch.full((2000,), float(step))}, {"step": step})
            os.write(send, step.to_bytes(8, "little"))
    os.close(send)
    step = int.from_bytes(os.read(receive, 8), "little")
    time.sleep(draw.random() * 0.01)
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    while data := os.read(receive, 8):
        step = int.from_bytes(data, "little")
    os.close(receive)
    print(step, flush=True)
    sys.stdin.readline()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
def test_killed_saves_leave_a_whole_file(tmp_path, seed, fuzz_seconds):
    path, kills = tmp_path / "run.safetensors", 10**6
    process = subprocess.Popen(
        [sys.executable, "-c", SAVES, str(path), str(seed), str(kills)],
        cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdin is not None
        end, number = None, 0
        while end is None or time.monotonic() < end:
            done = int(process.stdout.readline())
            end = end or time.monotonic() + fuzz_seconds
            number += 1
            case = f"--seed {seed}, kill {number}"
            for name, least in ((path, done), (previous_path(path), done - 2)):
                if not name.exists() and least <= 0:
                    continue
                tensors, record = read_checkpoint(name)
                assert record["step"] >= least, case
                assert torch.equal(tensors["w"], torch.full((2000,), float(record["step"]))), case
            left = [p for p in tmp_path.iterdir() if p.suffix == ".tmp"]
            assert len(left) <= 2, case  # those of the last writer
            process.stdin.write("\n")
            process.stdin.flush()
        assert number >= 5
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the writer as well
        process.wait()


def test_killed_training_goes_on_with_the_same_bits(tmp_path, seed, fuzz_seconds):
    path, draw = tmp_path / "fit.safetensors", random.Random(seed)
    whole = new_model()
    expected = train(whole, epochs=EPOCHS).history
    end, ended = time.monotonic() + fuzz_seconds, None
    while ended != 0 and (ended is None or time.monotonic() < end):
        before = path.stat().st_mtime_ns if path.exists() else 0
        process = start(FIT, str(path))
        try:
            while process.is_alive():  # until it has gone on
                if path.exists() and path.stat().st_mtime_ns != before:
                    break
                time.sleep(0.002)
            time.sleep(draw.random() * 0.3)
        finally:
            process.kill()
            process.join()
            ended = process.exitcode
        load_checkpoint(path)
    model = new_model()
    history = train(model, epochs=EPOCHS, checkpoint=path, resume=True).history
    assert torch.equal(weights(model), weights(whole)), f"--seed {seed}"
    assert history == expected
