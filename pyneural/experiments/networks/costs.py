"""What a network costs: operations, parameters, and time by batch size."""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from pyneural.experiments.networks.zoo import SIZE, make
from pyneural.experiments.threads import one_thread

BATCHES = (1, 4, 16, 64, 256)
_SECONDS, _FEWEST = 0.05, 5  # of the repetitions of a call


@torch.no_grad()
def cost(name: str) -> dict[str, Any]:
    """Of a network of the comparison, on images [N, 8, 8]; forward, with one thread.

    Returns:
        ``parameters``: their number, those of a state-space model being its matrices;
        ``operations`` for an image: multiplications and additions of matrix products, a
        convolution among them; ``image_seconds``: processor time for an image, the median of
        repeated calls, for each of BATCHES.

    >>> found = cost("linear")
    >>> found["parameters"], found["operations"], len(found["image_seconds"])
    (650, 1280, 5)
    """
    torch.manual_seed(0)
    network = make(name).eval()
    with FlopCounterMode(display=False) as counter:
        network(torch.rand(1, SIZE, SIZE))
    with one_thread():
        times = [_seconds(network, torch.rand(size, SIZE, SIZE)) / size for size in BATCHES]
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "operations": counter.get_total_flops(),
        "image_seconds": times,
    }


def _seconds(network: torch.nn.Module, x: torch.Tensor) -> float:
    """Median processor time of a call, after one that does not count."""
    network(x)
    times: list[float] = []
    while len(times) < _FEWEST or sum(times) < _SECONDS:
        began = time.process_time()
        network(x)
        times.append(time.process_time() - began)
    return statistics.median(times)
