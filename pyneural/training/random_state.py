"""The states of torch's random number generators, to be put back."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def capture(own: torch.Generator | None = None) -> dict[str, Tensor]:
    """States of the CPU's generator, of each GPU's, and of one of the user's.

    >>> state = capture()
    >>> first = torch.rand(3)
    >>> restore(state)
    >>> torch.equal(first, torch.rand(3))
    True
    """
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_initialized():
        for number, state in enumerate(torch.cuda.get_rng_state_all()):
            states[f"cuda:{number}"] = state
    if own is not None:
        states["own"] = own.get_state()
    return states


def restore(states: Mapping[str, Tensor], own: torch.Generator | None = None) -> None:
    """Puts back what ``capture`` gave; GPUs that are not here any more are left out."""
    for name, state in states.items():
        if name == "cpu":
            torch.set_rng_state(state)
        elif name == "own":
            if own is not None:
                own.set_state(state)
        elif torch.cuda.is_available() and int(name.split(":")[1]) < torch.cuda.device_count():
            torch.cuda.set_rng_state(state, name)
