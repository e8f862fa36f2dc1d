"""Optimisers by Keras's names, with Keras's default options, on torch's and our own."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch

from pyneural.optim import Adadelta, Adam, AdamW
from pyneural.training.checks import check, look_up

OptimizerFactory = Callable[..., torch.optim.Optimizer]  # of parameters

# The options that Keras 3 documents as defaults. Epsilon stands where torch has it: Keras adds it
# below the root in RMSprop and Adagrad, torch outside of it. Nadam's momentum grows by 0.96^t,
# which in torch is a momentum_decay of 1. With Keras's 0.001 Adadelta learns slowly; Zeiler (2012),
# and Keras before 2.3, has 1.0: partial(optim.Adadelta, lr=1.0).
OPTIMIZERS: dict[str, OptimizerFactory] = {
    "sgd": partial(torch.optim.SGD, lr=0.01),
    "rmsprop": partial(torch.optim.RMSprop, lr=0.001, alpha=0.9, eps=1e-7),
    "adagrad": partial(torch.optim.Adagrad, lr=0.001, initial_accumulator_value=0.1, eps=1e-7),
    "adadelta": partial(Adadelta, lr=0.001, rho=0.95, eps=1e-7),
    "adam": partial(Adam, lr=0.001, eps=1e-7),
    "adamw": partial(AdamW, lr=0.001, eps=1e-7, weight_decay=0.004),
    "adamax": partial(torch.optim.Adamax, lr=0.001, eps=1e-7),
    "nadam": partial(torch.optim.NAdam, lr=0.001, eps=1e-7, momentum_decay=1.0),
}
_FUSED = ("sgd", "adagrad", "adam", "adamw")  # those of which torch has one kernel a step


def make_optimizer(
    optimizer: str | torch.optim.Optimizer | OptimizerFactory, parameters: Iterable[Any]
) -> torch.optim.Optimizer:
    """An optimiser of parameters, from a name, from one that holds them, or from what makes it."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    expected = "at least one parameter that requires a gradient"
    remedy = "add a layer with weights or set requires_grad_(True)"
    check(bool(trained), "compile: model", expected, "none", remedy)
    where = "compile: optimizer"
    if isinstance(optimizer, str):
        factory = look_up(where, optimizer, OPTIMIZERS)
        one_kernel = optimizer.lower() in _FUSED and all(
            p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in trained
        )
        return factory(trained, fused=True) if one_kernel else factory(trained)
    if isinstance(optimizer, torch.optim.Optimizer):
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        good, expected = bool(held & {id(p) for p in trained}), "one that holds the parameters"
        remedy = "give what makes it, as functools.partial(optim.Adam, lr=1e-3)"
        check(good, where, f"{expected} of the model", "one of others", remedy)
        return optimizer
    expected, got = "a name, a torch optimizer or what makes one", repr(optimizer)
    check(callable(optimizer), where, expected, got, "write 'adam'", TypeError)
    return optimizer(trained)
