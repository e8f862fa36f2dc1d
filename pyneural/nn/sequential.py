"""Container of successive layers, drop-in for torch's, that fuses runs of linear layers."""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import Tensor

from pyneural import ops
from pyneural.nn.linear import Linear, LinearEquivalent


class Sequential(torch.nn.Sequential):
    """Successive layers, with runs of linear layers fused.

    ``torch.nn.Sequential``, except that two or more successive ``nn.Linear`` with the same
    activation (that of the last one may differ) are computed by one call of ``ops.mlp``. This
    requires biases, float32 or float64, no hooks and no patched ``forward``; results equal those of
    the separate layers up to rounding. Under autocast, runs of widths up to 128 stay in float32.
    The difference from ``training.Sequential`` is explained in the docstring of ``pyneural``.

    >>> torch.manual_seed(0) and None
    >>> net = Sequential(Linear(2, 20, activation="tanh"), Linear(20, 1), torch.nn.Flatten(0))
    >>> net(torch.rand(7, 2)).shape
    torch.Size([7])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Applies the layers in order."""
        return run_layers(list(self), input)


def run_layers(layers: list[torch.nn.Module], input: Tensor) -> Tensor:
    """Applies layers in order, with runs of linear layers fused into one call.

    A ``LinearEquivalent`` counts as the ``Linear`` that it is equivalent to.

    Args:
        layers: the layers.
        input: input of the first layer.
    """
    at = 0
    while at < len(layers):
        run = _run(layers[at:]) if _fits(input) else []
        if len(run) > 1:
            weights, biases = [layer.weight for layer in run], [layer.bias for layer in run]
            input = ops.mlp(input, weights, biases, run[0].activation, run[-1].activation)
            at += len(run)
        else:
            input = layers[at](input)
            at += 1
    return input


def _run(layers: list[torch.nn.Module]) -> list[Linear]:
    """The leading layers that one call of ``ops.mlp`` can compute."""
    run: list[Linear] = []
    for layer in layers:
        linear = layer.equivalent_linear() if isinstance(layer, LinearEquivalent) else layer
        if not _is_plain(linear) or _has_hooks(layer):
            break
        run.append(linear)
        # Only the last layer may have another activation: it ends the run.
        if linear.activation != run[0].activation:
            break
    return run


def _is_plain(layer: torch.nn.Module | None) -> TypeGuard[Linear]:
    return (
        type(layer) is Linear
        and layer.bias is not None
        and not _has_hooks(layer)
        and "forward" not in layer.__dict__
    )


def _has_hooks(layer: torch.nn.Module) -> bool:
    return bool(
        layer._forward_hooks
        or layer._forward_pre_hooks
        or layer._backward_hooks
        or layer._backward_pre_hooks
    )


def _fits(input: Tensor) -> bool:
    return (
        input.dim() == 2
        and input.dtype in (torch.float32, torch.float64)
        and not torch.nn.modules.module._has_any_global_hook()
    )
