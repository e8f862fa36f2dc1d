"""A torch optimiser whose step is one call of an op for all parameters of a group."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from itertools import chain
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd import profiler
from torch.optim import Optimizer, optimizer

from pyneural.ops.calls import fits_one_call

# Options that torch's own step has, and what GradScaler leaves for it.
_OTHERWISE = ("maximize", "differentiable", "capturable", "amsgrad")
_OF_SCALER = ("grad_scale", "found_inf")


def _with_hooks(step: Callable[..., Any]) -> Callable[..., Any]:
    """The step with what torch does around it where somebody watches: hooks, and a profile."""
    watched: Any = Optimizer.profile_hook_step(step)

    @wraps(step)
    def call(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        is_watched = type(self).step is call and (  # torch watches the step of a subclass itself
            profiler._is_profiler_enabled
            or self._optimizer_step_pre_hooks
            or self._optimizer_step_post_hooks
            or optimizer._global_optimizer_pre_hooks
            or optimizer._global_optimizer_post_hooks
        )
        return (watched if is_watched else step)(self, *args, **kwargs)

    call.hooked = True  # type: ignore[attr-defined] # or torch would do it again
    return call


class InOneCall(Optimizer):
    """The step of a torch optimiser, by an op where it can take all parameters."""

    _torchs: ClassVar[type[Optimizer]]
    _devices: ClassVar[Sequence[str]] = ("cpu",)  # of the op's kernels
    _averages: ClassVar[tuple[str, ...]]  # in the state of a parameter, beside its "step"

    @_with_hooks
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Changes the parameters that have a gradient; the loss that ``closure`` gives."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        scaled = any(getattr(self, name, None) is not None for name in _OF_SCALER)
        lists = None if scaled else self._lists_of_groups()
        if lists is None:
            # Without the hooks, which run around this step.
            with torch.set_grad_enabled(self.defaults["differentiable"]):
                inspect.unwrap(self._torchs.step)(self)
            return loss
        with torch.no_grad():
            for group, of_group in zip(self.param_groups, lists, strict=True):
                if of_group[0]:
                    self._change(group, *of_group)
        return loss

    @torch._disable_dynamo  # as torch's is
    def zero_grad(self, set_to_none: bool = True) -> None:
        """As torch's, in less time where gradients become None and nobody profiles."""
        if not set_to_none or profiler._is_profiler_enabled:
            super().zero_grad(set_to_none)
            return
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def _change(self, group: dict[str, Any], *lists: Sequence[Tensor]) -> None:
        """Calls the op with parameters, gradients, averages and steps."""
        raise NotImplementedError

    def _lists_of_groups(self) -> list[list[list[Tensor]]] | None:
        """What ``_change`` takes of each group; None where torch's step is to be taken."""
        if not self._has_torchs("_init_group"):
            return None
        all_lists = []
        for group in self.param_groups:
            lists = self._lists_of(group)
            if lists is None:
                return None
            all_lists.append(lists)
        return all_lists

    def _lists_of(self, group: dict[str, Any]) -> list[list[Tensor]] | None:
        parameters: list[Any] = []
        gradients: list[Any] = []
        for parameter in group["params"]:
            gradient = parameter.grad
            if gradient is not None:
                parameters.append(parameter)
                gradients.append(gradient)
        if not parameters:
            return [[]]
        device = parameters[0].device.type
        if (
            device not in self._devices
            or any(group.get(name) for name in _OTHERWISE)
            or (device == "cuda" and torch.cuda.is_current_stream_capturing())
        ):
            return None
        known = self.state
        states: list[dict[str, Any]] = [known[parameter] for parameter in parameters]
        if not all(states):
            if not fits_one_call(parameters, gradients, []):
                return None
            for parameter, state in zip(parameters, states, strict=True):
                if not state:
                    self._begin(parameter, group, state)
        averages: list[list[Any]] = [
            [state.get(name) for state in states] for name in self._averages
        ]
        steps: list[Any] = [state.get("step") for state in states]
        fits = fits_one_call(parameters, [*gradients, *chain(*averages)], steps)
        return [parameters, gradients, *averages, steps] if fits else None

    def _begin(self, parameter: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        """Makes the state of a parameter before its first step, as torch does."""
        dtype = torch.promote_types(torch.get_default_dtype(), torch.float32)
        if group.get("fused"):
            dtype = torch.float32
        state["step"] = torch.zeros((), dtype=dtype, device="cpu")
        for name in self._averages:
            state[name] = torch.zeros_like(parameter)

    def _has_torchs(self, method: str) -> bool:
        """Whether no subclass has replaced a method. torch.compile wraps those of each class."""
        owner = next(one for one in type(self).__mro__ if method in vars(one))
        return owner.__module__.startswith("torch.optim")
