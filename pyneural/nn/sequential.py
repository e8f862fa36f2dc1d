"""Container of successive layers, drop-in for torch's, that fuses runs of linear layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural import ops
from pyneural.errors import ArgumentError
from pyneural.nn.drop_in import DropIn
from pyneural.nn.linear import LinearEquivalent
from pyneural.nn.plain import activation_of, has_only_its_forward, is_plain_affine
from pyneural.nn.stored import stored


class Sequential(DropIn, torch.nn.Sequential):
    """Successive layers, with runs of linear layers fused.

    ``torch.nn.Sequential``, except that two or more successive ``nn.Linear`` with the same
    activation (that of the last one may differ) are computed by one call of ``ops.mlp``. This
    requires biases, x [N, I] of float32 or float64, and layers that are plain
    (``nn.plain.is_plain_affine``: no hooks, nothing replaced); results equal those of the separate
    layers up to rounding. Under autocast, runs of widths up to 128 stay in float32. What is no
    tensor, such as the pair that an LSTM returns, goes from layer to layer as in torch.
    The difference from ``training.Sequential`` is explained in the docstring of ``pyneural``.

    >>> torch.manual_seed(0) and None
    >>> from pyneural.nn import Linear
    >>> net = Sequential(Linear(2, 20, activation="tanh"), Linear(20, 1), torch.nn.Flatten(0))
    >>> net(torch.rand(7, 2)).shape
    torch.Size([7])
    """

    _twin = torch.nn.Sequential

    def forward(self, input: Any) -> Any:
        """Applies the layers in order."""
        return run_layers(list(self), input)


def run_layers(layers: Sequence[torch.nn.Module], input: Any) -> Any:
    """Applies layers in order, with runs of linear layers fused into one call.

    A ``LinearEquivalent`` counts as the ``Linear`` that it is equivalent to.

    Args:
        layers: the layers.
        input: input of the first layer.
    """
    at = 0
    while at < len(layers):
        two = layers[at : at + 2]
        run = _run(layers, at) if _may_begin(two) and _may_be_fused(input) else []
        if len(run) > 1:
            weights, biases = ([stored(layer, name) for layer in run] for name in _STORED)
            activations = activation_of(run[0]), activation_of(run[-1])
            try:
                input = ops.mlp(input, weights, biases, *activations)
            except ArgumentError:  # the layer at fault says so itself
                for layer in layers[at : at + len(run)]:
                    input = layer(input)
            at += len(run)
        else:
            input = layers[at](input)
            at += 1
    return input


def _run(layers: Sequence[torch.nn.Module], at: int) -> list[torch.nn.Linear]:
    """The layers from a place on that one call of ``ops.mlp`` can compute."""
    run: list[torch.nn.Linear] = []
    for layer in layers[at:]:
        linear: torch.nn.Module | None = layer
        if isinstance(layer, LinearEquivalent):
            linear = layer.equivalent_linear() if has_only_its_forward(layer) else None
        if not is_plain_affine(linear):
            break
        run.append(linear)
        # Only the last layer may have another activation: it ends the run.
        if activation_of(linear) != activation_of(run[0]):
            break
    return run


def _may_begin(two: Sequence[torch.nn.Module]) -> bool:
    """Whether a run may begin with these: most often not, which is soon seen."""
    return len(two) == 2 and isinstance(two[0], _LINEAR) and isinstance(two[1], _LINEAR)


def _may_be_fused(input: Any) -> bool:
    return isinstance(input, Tensor) and input.dim() == 2 and input.dtype in _DTYPES


_LINEAR = torch.nn.Linear, LinearEquivalent
_STORED = "weight", "bias"
_DTYPES = torch.float32, torch.float64
