"""Optimisers by Keras's names, with Keras's default options, on torch's implementations."""

import inspect
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pyneural import ops
from pyneural.ops.transforms import KERNEL_DEVICES
from pyneural.training.checks import check, look_up

OptimizerFactory = Callable[..., torch.optim.Optimizer]  # of parameters
_DTYPES = (torch.float32, torch.float64)
_OTHERWISE = ("maximize", "differentiable", "capturable")  # options that torch's own step has


class Adadelta(torch.optim.Adadelta):
    """``torch.optim.Adadelta`` with the step of ``ops.adadelta_``.

    Options, results (up to rounding) and ``state_dict`` are those of torch. Parameters on several
    devices or on one without kernels, sparse or strided gradients, and the options maximize,
    differentiable and capturable go to torch's step; so does one that a CUDA graph captures.

    >>> layer = torch.nn.Linear(2, 1)
    >>> optimizer = Adadelta(layer.parameters(), lr=1.0, rho=0.95)
    >>> layer(torch.ones(1, 2)).sum().backward()
    >>> optimizer.step()
    """

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Changes the parameters that have a gradient; the loss that ``closure`` gives."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        moving = [
            [(p, p.grad) for p in group["params"] if p.grad is not None]
            for group in self.param_groups
        ]
        if not all(map(self._in_one_kernel, self.param_groups, moving)):
            # Without the hooks, which run around this step.
            with torch.set_grad_enabled(self.defaults["differentiable"]):
                inspect.unwrap(torch.optim.Adadelta.step)(self)
            return loss
        with torch.no_grad():
            for group, pairs in zip(self.param_groups, moving, strict=True):
                if not pairs:
                    continue
                states = [self._state_of(parameter) for parameter, _ in pairs]
                ops.adadelta_(
                    [parameter for parameter, _ in pairs],
                    [gradient for _, gradient in pairs],
                    [state["square_avg"] for state in states],
                    [state["acc_delta"] for state in states],
                    [state["step"] for state in states],
                    learning_rate=float(group["lr"]),
                    rho=group["rho"],
                    epsilon=group["eps"],
                    weight_decay=group["weight_decay"],
                )
        return loss

    def _state_of(self, parameter: Tensor) -> dict[str, Tensor]:
        state = self.state[parameter]
        if not state:
            dtype = torch.promote_types(torch.get_default_dtype(), torch.float32)
            state["step"] = torch.zeros((), dtype=dtype, device="cpu")
            state["square_avg"] = torch.zeros_like(parameter)
            state["acc_delta"] = torch.zeros_like(parameter)
        return state

    def _in_one_kernel(self, group: dict[str, Any], pairs: list[tuple[Tensor, Tensor]]) -> bool:
        devices = {parameter.device for parameter, _ in pairs}
        on_gpu = any(device.type == "cuda" for device in devices)
        return (
            len(devices) < 2
            and not any(group[name] for name in _OTHERWISE)
            and not (on_gpu and torch.cuda.is_current_stream_capturing())
            and all(map(self._is_for_kernel, pairs))
        )

    def _is_for_kernel(self, pair: tuple[Tensor, Tensor]) -> bool:
        parameter, gradient = pair
        state = self.state.get(parameter, {})
        return (
            parameter.device.type in KERNEL_DEVICES
            and parameter.dtype in _DTYPES
            and parameter.is_contiguous()
            and gradient.dtype == parameter.dtype
            and gradient.layout == torch.strided
            and gradient.is_contiguous()
            and all(average.is_contiguous() for average in state.values())
            and (not state or state["step"].is_cpu)
        )


# The options that Keras 3 documents as defaults. Epsilon stands where torch has it: Keras adds it
# below the root in RMSprop and Adagrad, torch outside of it. Nadam's momentum grows by 0.96^t,
# which in torch is a momentum_decay of 1. With Keras's 0.001 Adadelta learns slowly; Zeiler (2012),
# and Keras before 2.3, has 1.0: partial(training.Adadelta, lr=1.0).
OPTIMIZERS: dict[str, OptimizerFactory] = {
    "sgd": partial(torch.optim.SGD, lr=0.01),
    "rmsprop": partial(torch.optim.RMSprop, lr=0.001, alpha=0.9, eps=1e-7),
    "adagrad": partial(torch.optim.Adagrad, lr=0.001, initial_accumulator_value=0.1, eps=1e-7),
    "adadelta": partial(Adadelta, lr=0.001, rho=0.95, eps=1e-7),
    "adam": partial(torch.optim.Adam, lr=0.001, eps=1e-7),
    "adamw": partial(torch.optim.AdamW, lr=0.001, eps=1e-7, weight_decay=0.004),
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
        remedy = "give what makes it, as functools.partial(torch.optim.Adam, lr=1e-3)"
        check(good, where, f"{expected} of the model", "one of others", remedy)
        return optimizer
    expected, got = "a name, a torch optimizer or what makes one", repr(optimizer)
    check(callable(optimizer), where, expected, got, "write 'adam'", TypeError)
    return optimizer(trained)
