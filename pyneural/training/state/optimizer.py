"""Which parameters an optimiser's state belongs to: it knows them by their place alone."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from pyneural.training.checks import check
from pyneural.training.state.file import CheckpointError

_REMEDY = "make the model and its optimiser as in the first run, or start without resuming"
_NUMBERS = ("step", "mu_product", "mu", "eta")  # that an optimiser keeps of a parameter
_FACTORED = ("Adafactor",)  # whose state has other shapes than the parameters


def trained_parameters(
    model: nn.Module, optimizers: Sequence[torch.optim.Optimizer] = ()
) -> list[list[list[Any]]]:
    """Name and shape of what each optimiser trains, in its order; of all that is trained if none.

    >>> trained_parameters(nn.Linear(3, 4, bias=False))
    [[['weight', [4, 3]]]]
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    trained: list[list[Tensor]] = [
        [parameter for group in optimizer.param_groups for parameter in group["params"]]
        for optimizer in optimizers
    ]
    trained = trained or [[p for p in model.parameters() if p.requires_grad]]
    return [[[names.get(id(p), "no name"), list(p.shape)] for p in group] for group in trained]


def check_trained(saved: Any, own: list[list[list[Any]]]) -> None:
    """Raises CheckpointError unless the parameters are those of the checkpoint, in its order."""
    good = isinstance(saved, list) and len(saved) == len(own)
    got, expected = f"{len(own)} optimisers", "those of the checkpoint"
    check(good, "resume: optimizer", expected, got, _REMEDY, CheckpointError)
    for number, (theirs, mine) in enumerate(zip(saved, own, strict=True)):
        for place, (one, other) in enumerate(zip_longest(theirs, mine)):
            where = f"resume: optimizer{f' {number}' if len(own) > 1 else ''}: parameter {place}"
            expected, got = f"{_shown(one)}, as in the checkpoint", _shown(other)
            check(one == other, where, expected, got, _REMEDY, CheckpointError)


def _shown(entry: Any) -> str:
    return "none" if entry is None else " ".join(map(str, entry))


def load_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Takes over a state; CheckpointError where it is none of these parameters.

    Kernels for a whole step go over the memory of parameter, gradient and state at once: they trust
    that the shapes, and the orders in memory, are the same.
    """
    where, own = "resume: optimizer", optimizer.state_dict()["param_groups"]
    numbers = [group["params"] for group in own]
    saved = [group["params"] for group in state["param_groups"]]
    check(saved == numbers, where, f"groups {numbers}", saved, _REMEDY, CheckpointError)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    fitted = {}
    for number, entries in state["state"].items():
        good = isinstance(number, int) and 0 <= number < len(parameters)
        expected = f"parameters 0 to {len(parameters) - 1}"
        check(good, where, expected, number, _REMEDY, CheckpointError)
        fitted[number] = dict(_fitted(optimizer, number, parameters, entries))
    optimizer.load_state_dict({**state, "state": fitted})


def _fitted(
    optimizer: torch.optim.Optimizer,
    number: int,
    parameters: Sequence[Tensor],
    entries: Mapping[str, Any],
) -> Iterator[tuple[str, Any]]:
    """What is kept of a parameter, with its order in memory."""
    kind, parameter = type(optimizer), parameters[number]
    theirs = not kind.__module__.startswith(("torch.optim", "pyneural"))
    shape = list(parameter.shape)
    if isinstance(optimizer, torch.optim.LBFGS):  # of all parameters, in one row
        shape = [sum(p.numel() for p in parameters)]
    for key, value in entries.items():
        where = f"resume: optimizer: parameter {number}: {key}"
        for leaf in tree_leaves(value):
            if not isinstance(leaf, Tensor) or theirs or kind.__name__ in _FACTORED:
                continue
            is_number = key in _NUMBERS or isinstance(optimizer, torch.optim.LBFGS)
            good = list(leaf.shape) == shape or (is_number and leaf.dim() == 0)
            good = good and not (key in _NUMBERS and leaf.dim())
            expected = "a number" if key in _NUMBERS else f"shape {shape}"
            check(good, where, expected, list(leaf.shape), _REMEDY, CheckpointError)
        if isinstance(value, Tensor) and value.shape == parameter.shape:
            yield key, torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        else:
            yield key, value
