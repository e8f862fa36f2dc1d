"""Peak memory of networks by batch size, measured in a process of its own.

torch's profiler writes messages to stderr, which would spoil a progress bar.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

import torch
from torch.autograd import profiler

from pyneural.experiments.networks.zoo import SIZE, make


def peak_memory(names: Sequence[str], batches: Sequence[int]) -> dict[str, list[float]]:
    """Bytes of parameters, input and all other tensors that exist at a time in a forward pass.

    Counted where torch allocates them, so that the figure is the same on every run; buffers that a
    kernel keeps for itself are not counted.

    Args:
        names: networks, as in NETWORKS.
        batches: numbers of images.

    Returns:
        for each network, one number for each batch size.

    Raises:
        RuntimeError: the process failed.
    """
    command = [sys.executable, "-m", __name__, json.dumps([list(names), list(batches)])]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise RuntimeError(f"peak_memory: expected figures of a process, got: {reason[:300]}")
    return json.loads(done.stdout.splitlines()[-1])


@torch.no_grad()
def forward_bytes(network: torch.nn.Module, x: torch.Tensor) -> int:
    """The figure of one network, in this process.

    >>> forward_bytes(torch.nn.Identity(), torch.zeros(100))
    400
    """
    held = [x, *network.parameters(), *network.buffers()]
    with profiler.profile(profile_memory=True) as profile:
        network(x)
    events = [] if profile.kineto_results is None else profile.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    now = most = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most + sum(tensor.nbytes for tensor in held)


def _main(names: Sequence[str], batches: Sequence[int]) -> dict[str, list[int]]:
    torch.set_num_threads(1)
    found: dict[str, list[int]] = {}
    for name in names:
        network = make(name).eval()
        with torch.no_grad():
            network(torch.rand(1, SIZE, SIZE))  # what is made by the first call alone
        found[name] = [forward_bytes(network, torch.rand(n, SIZE, SIZE)) for n in batches]
    return found


if __name__ == "__main__":
    print(json.dumps(_main(*json.loads(sys.argv[1]))))
