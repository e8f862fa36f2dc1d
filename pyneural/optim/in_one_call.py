"""A torch optimiser whose step is one call of an op for all parameters of a group."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

_DTYPES = (torch.float32, torch.float64)
# Options that torch's own step has, and what GradScaler leaves for it.
_OTHERWISE = ("maximize", "differentiable", "capturable", "amsgrad")
_OF_SCALER = ("grad_scale", "found_inf")


class InOneCall(torch.optim.Optimizer):
    """The step of a torch optimiser, by an op where it can take all parameters."""

    _torchs: ClassVar[type[torch.optim.Optimizer]]
    _devices: ClassVar[Sequence[str]] = ("cpu",)  # of the op's kernels
    _averages: ClassVar[tuple[str, ...]]  # in the state of a parameter, beside its "step"

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
        scaled = any(getattr(self, name, None) is not None for name in _OF_SCALER)
        if scaled or not all(map(self._takes, self.param_groups, moving)):
            # Without the hooks, which run around this step.
            with torch.set_grad_enabled(self.defaults["differentiable"]):
                inspect.unwrap(self._torchs.step)(self)
            return loss
        with torch.no_grad():
            for group, pairs in zip(self.param_groups, moving, strict=True):
                if pairs:
                    states = [self._state_of(parameter, group) for parameter, _ in pairs]
                    parameters, gradients = zip(*pairs, strict=True)
                    names = (*self._averages, "step")
                    lists = [[state[name] for state in states] for name in names]
                    self._change(group, parameters, gradients, *lists)
        return loss

    def _change(self, group: dict[str, Any], *lists: Sequence[Tensor]) -> None:
        """Calls the op with parameters, gradients, averages and steps."""
        raise NotImplementedError

    def _state_of(self, parameter: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        state = self.state[parameter]
        if not state:
            dtype = torch.promote_types(torch.get_default_dtype(), torch.float32)
            if group.get("fused"):
                dtype = torch.float32
            state["step"] = torch.zeros((), dtype=dtype, device="cpu")
            for name in self._averages:
                state[name] = torch.zeros_like(parameter)
        return state

    def _takes(self, group: dict[str, Any], pairs: list[tuple[Tensor, Tensor]]) -> bool:
        devices = {parameter.device for parameter, _ in pairs}
        on_gpu = any(device.type == "cuda" for device in devices)
        return (
            len(devices) < 2
            and self._has_torchs("_init_group")
            and all(device.type in self._devices for device in devices)
            and not any(group.get(name) for name in _OTHERWISE)
            and not (on_gpu and torch.cuda.is_current_stream_capturing())
            and all(map(self._is_for_kernel, pairs))
        )

    def _has_torchs(self, method: str) -> bool:
        """Whether no subclass has replaced a method. torch.compile wraps those of each class."""
        owner = next(one for one in type(self).__mro__ if method in vars(one))
        return owner.__module__.startswith("torch.optim")

    def _is_for_kernel(self, pair: tuple[Tensor, Tensor]) -> bool:
        parameter, gradient = pair
        state = self.state.get(parameter)
        return (
            type(parameter) in (Tensor, torch.nn.Parameter)  # no subclass: distributed, fake
            and type(gradient) is Tensor
            and parameter.dtype in _DTYPES
            and parameter.is_contiguous()
            and gradient.dtype == parameter.dtype
            and gradient.layout == torch.strided
            and gradient.is_contiguous()
            and (not state or self._is_state_for_kernel(state))
        )

    def _is_state_for_kernel(self, state: dict[str, Any]) -> bool:
        step, averages = state.get("step"), [state.get(name) for name in self._averages]
        return (
            isinstance(step, Tensor)
            and step.is_cpu
            and step.dtype in _DTYPES
            and step.numel() == 1
            and all(isinstance(one, Tensor) and one.is_contiguous() for one in averages)
        )
