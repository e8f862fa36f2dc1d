"""Adadelta that makes its step in one kernel."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pyneural import ops

_DTYPES = (torch.float32, torch.float64)
_OTHERWISE = ("maximize", "differentiable", "capturable")  # options that torch's own step has


class Adadelta(torch.optim.Adadelta):
    """``torch.optim.Adadelta`` with the step of ``ops.adadelta_``.

    Options, results (up to rounding) and ``state_dict`` are those of torch. Parameters
    on other devices, sparse or strided gradients, and the options maximize, differentiable and
    capturable go to torch's step.

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
        return not any(group[name] for name in _OTHERWISE) and all(
            p.is_cpu
            and p.dtype in _DTYPES
            and p.is_contiguous()
            and gradient.dtype == p.dtype
            and gradient.layout == torch.strided
            and gradient.is_contiguous()
            and all(average.is_contiguous() for average in self.state.get(p, {}).values())
            for p, gradient in pairs
        )
