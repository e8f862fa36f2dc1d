"""The activation and size of a model's last layer, where its layers are a chain."""

from __future__ import annotations

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


def last_layer(model: torch_nn.Module) -> tuple[str, int | None] | None:
    """Activation and number of units of the last layer; None where that cannot be told.

    It can be told of a ``Sequential``, torch's or pyneural's, and of a ``Model`` around one.

    >>> from torch.nn import Linear, Sequential, Sigmoid
    >>> last_layer(Sequential(Linear(3, 4), Linear(4, 1), Sigmoid()))
    ('sigmoid', 1)
    """
    layers = _chain(model)
    activation = None
    for layer in reversed(layers):
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


def _chain(model: torch_nn.Module) -> list[torch_nn.Module]:
    """The layers one after the other; the model alone where it is no chain."""
    inner = getattr(model, "module", None)
    if isinstance(inner, torch_nn.Module):
        return _chain(inner)
    if not getattr(model, "is_chain", isinstance(model, torch_nn.Sequential)):
        return [model]
    return [layer for child in model._modules.values() if child for layer in _chain(child)]


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
