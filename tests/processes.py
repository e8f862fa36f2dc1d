"""Scripts in processes of their own, which need not import the package first."""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess, SpawnProcess
from pathlib import Path

import torch
from torch.distributed import TCPStore

ROOT = Path(__file__).parents[1]
# Linux forks them off a process that has these modules already: importing them takes longer than
# most of the scripts.
CONTEXT = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
CONTEXT.set_forkserver_preload(
    ["torch._dynamo", "pyneural.experiments", "pyneural.models", "pyneural.training", "pytest"]
)
SECONDS = 300.0


def start(
    source: str,
    *arguments: str,
    environment: dict[str, str] | None = None,
    printed: Path | None = None,
) -> ForkServerProcess | SpawnProcess:
    """Begins a script, on one thread.

    Args:
        source: its text.
        arguments: ``sys.argv[1:]``.
        environment: variables that it has beside those of this process.
        printed: a file that takes what it prints.
    """
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}
    process = CONTEXT.Process(target=_run, args=(source, arguments, variables, printed))
    process.start()
    return process


def run_on_two_processes(source: str, out: Path) -> None:
    """Runs a script in the environment of torchrun, with the folder as its argument."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    processes = []
    for rank in (0, 1):
        environment = {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port),
            "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0",
        }  # fmt: skip
        printed = out / f"printed{rank}"
        processes.append(start(source, str(out), environment=environment, printed=printed))
    left = [process.sentinel for process in processes]
    try:
        while left and not any(process.exitcode for process in processes):
            ended = wait(left, SECONDS)
            assert ended, f"the processes have not ended after {SECONDS:.0f} s"
            left = [sentinel for sentinel in left if sentinel not in ended]
        text = "\n".join(path.read_text() for path in sorted(out.glob("printed*")))
        assert not any(process.exitcode for process in processes), text
    finally:
        for process in processes:
            process.kill()
            process.join()


def _run(
    source: str, arguments: tuple[str, ...], variables: dict[str, str], printed: Path | None
) -> None:
    if printed is not None:
        with printed.open("w") as file:
            for stream in (1, 2):
                os.dup2(file.fileno(), stream)
    os.environ.update(variables)
    torch.set_num_threads(1)
    sys.argv = ["script.py", *arguments]
    exec(compile(source, "script.py", "exec"), {"__name__": "__main__"})
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
