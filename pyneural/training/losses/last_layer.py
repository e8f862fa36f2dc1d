"""The activation and size of a model's last layer, where its layers are a chain."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn as torch_nn

from pyneural import nn

_ACTIVATIONS: dict[type[torch_nn.Module], str] = {
    torch_nn.Sigmoid: "sigmoid",
    torch_nn.Softmax: "softmax",
    torch_nn.ReLU: "relu",
    torch_nn.LeakyReLU: "leaky_relu",
    torch_nn.ELU: "elu",
    torch_nn.Tanh: "tanh",
    torch_nn.SiLU: "silu",
    torch_nn.GELU: "gelu",
    torch_nn.Softplus: "softplus",
}
# Layers that pass values on as they are, in evaluation.
_NEUTRAL = (torch_nn.Dropout, torch_nn.Flatten, torch_nn.Unflatten, torch_nn.Identity)


def last_layer(layers: Iterable[torch_nn.Module]) -> tuple[str, int | None] | None:
    """Activation and number of units of the last of a chain of layers; None if it can't be told.

    >>> from torch.nn import Linear, Sequential, Sigmoid
    >>> last_layer([Linear(3, 4), Sequential(Linear(4, 1), Sigmoid())])
    ('sigmoid', 1)
    """
    activation = None
    for layer in reversed(_flat(layers)):
        if isinstance(layer, _NEUTRAL):
            continue
        if activation is None:
            activation = activation_of(layer)
            if activation is None:
                return None
        units = units_of(layer)
        if units is not None:
            return activation, units
        if not isinstance(layer, tuple(_ACTIVATIONS)):
            break
    return None if activation is None else (activation, None)


def _flat(layers: Iterable[torch_nn.Module]) -> list[torch_nn.Module]:
    """The layers, with those of a torch ``Sequential`` in its place."""
    return [
        inner
        for layer in layers
        for inner in (_flat(layer) if isinstance(layer, torch_nn.Sequential) else [layer])
    ]


def units_of(layer: torch_nn.Module) -> int | None:
    """Number of outputs or channels that a layer computes; None of one that has no weights.

    >>> units_of(torch_nn.Linear(3, 4)), units_of(torch_nn.ReLU())
    (4, None)
    """
    for name in ("out_features", "units", "out_channels", "filters"):
        units = getattr(layer, name, None)
        if isinstance(units, int):
            return units
    return None


def activation_of(layer: torch_nn.Module) -> str | None:
    """Name of the activation that a layer is or ends with; None where that cannot be told.

    >>> activation_of(torch_nn.ReLU()), activation_of(nn.Linear(3, 4, activation="tanh"))
    ('relu', 'tanh')
    """
    for kind, name in _ACTIVATIONS.items():
        if isinstance(layer, kind):
            return name
    if isinstance(layer, nn.MLP):  # whose .activation is that of its hidden layers
        return "linear"
    own = getattr(layer, "activation", None)
    if isinstance(own, str):
        return own
    return "linear" if isinstance(layer, (torch_nn.Linear, torch_nn.modules.conv._ConvNd)) else None
