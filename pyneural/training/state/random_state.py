"""The states of the random number generators of torch, numpy and Python, to be put back."""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

_PYTHONS_VERSION = 3  # of what random.getstate gives, since Python 3.2


def capture(own: torch.Generator | None = None) -> dict[str, Tensor]:
    """States of the CPU's generator, of each GPU's, of one of the user's, and those of others.

    What changes the samples on their way into a batch often draws from numpy or from Python.

    >>> state = capture()
    >>> first = torch.rand(3)
    >>> restore(state)
    >>> torch.equal(first, torch.rand(3))
    True
    """
    _, words, gauss = random.getstate()
    python = torch.tensor([*words, gauss is not None, _bits(gauss or 0.0)])
    states = {"cpu": torch.get_rng_state(), "numpy": _numpy_state(), "python": python}
    if torch.cuda.is_initialized():
        all_gpus = enumerate(torch.cuda.get_rng_state_all())
        states |= {f"cuda:{number}": state for number, state in all_gpus}
    return states if own is None else {**states, "own": own.get_state()}


def restore(states: Mapping[str, Tensor], own: torch.Generator | None = None) -> None:
    """Puts back what ``capture`` gave; GPUs that are not here any more are left out."""
    for name, state in states.items():
        if name == "cpu":
            torch.set_rng_state(state)
        elif name == "numpy" and len(state):
            *key, position, has_gauss, gauss = state.tolist()
            words = np.array(key, dtype=np.uint32)
            legacy = ("MT19937", words, position, has_gauss, _float(gauss))
            np.random.set_state(legacy)  # noqa: NPY002
        elif name == "python":
            *key, has_gauss, gauss = state.tolist()
            random.setstate((_PYTHONS_VERSION, tuple(key), _float(gauss) if has_gauss else None))
        elif name == "own" and own is not None:
            own.set_state(state)
        elif (
            name.startswith("cuda")
            and torch.cuda.is_available()
            and int(name.split(":")[1]) < torch.cuda.device_count()
        ):
            torch.cuda.set_rng_state(state, name)


def _numpy_state() -> Tensor:
    """Words of the generator, place in them, and the second number of a Gaussian pair."""
    state = np.random.get_state()  # noqa: NPY002
    if isinstance(state, dict):  # of a generator that the user has put in the place of numpy's own
        return torch.empty(0)
    _, key, position, has_gauss, gauss = state
    return torch.tensor([*np.asarray(key).tolist(), position, has_gauss, _bits(gauss)])


def _bits(value: Any) -> int:
    """A float as the whole number of the same bits."""
    return int(np.float64(value).view(np.int64))


def _float(bits: int) -> float:
    return float(np.int64(bits).view(np.float64))
