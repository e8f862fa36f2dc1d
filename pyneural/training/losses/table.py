"""Which last layer and activation fit which loss, and those that a chain of layers has."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn as torch_nn

from pyneural import nn

ONE, MANY = "one node", "N nodes"


@dataclass(frozen=True)
class Row:
    """A row: a loss, what it is good for, and the last layer that it goes with."""

    loss: str  # its name in full
    good_for: str
    activations: tuple[str, ...]  # the first being the one of the table
    size: str  # regression may have several outputs, all the same
    why: str  # what goes wrong with others

    def __str__(self) -> str:
        return f"{self.loss} | {self.good_for} | {self.activations[0]} | {self.size}"


_LINEAR, _SOFTMAX = ("linear",), ("softmax",)
_REGRESSION = "a bounded activation cannot reach targets outside of its range"
_MULTICLASS = "multiclass classification"
_CLASSES = "softmax makes the N outputs one distribution; N sigmoids do not sum to 1"
_PROBABILITY = "it reads the output as a probability, which only a sigmoid keeps within (0, 1)"
_LABELS = "its labels are -1 and 1, which an activation without negative values cannot reach"
_LOGITS = "torch's loss of logits"
_OWN_SOFTMAX = "it takes the softmax itself, and a second one flattens the gradient"
_OWN_SIGMOID = "it takes the sigmoid itself, and a second one flattens the gradient"

# The losses of Keras.
TABLE = (
    Row("mean_squared_error", "regression", _LINEAR, ONE, _REGRESSION),
    Row("mean_absolute_error", "regression", _LINEAR, ONE, _REGRESSION),
    Row("mean_squared_logarithmic_error", "regression of values >= 0",
        ("linear", "relu", "softplus"), ONE, _REGRESSION),
    Row("binary_crossentropy", "binary classification", ("sigmoid",), ONE, _PROBABILITY),
    Row("categorical_crossentropy", _MULTICLASS, _SOFTMAX, MANY, _CLASSES),
    Row("kullback_leibler_divergence", f"{_MULTICLASS}, probabilistic interpretation",
        _SOFTMAX, MANY, _CLASSES),
)  # fmt: skip
# Further losses of Keras, and those of torch that take logits.
FURTHER = (
    Row("sparse_categorical_crossentropy", f"{_MULTICLASS}, y as whole numbers",
        _SOFTMAX, MANY, _CLASSES),
    Row("hinge", "binary classification with labels -1 and 1", ("linear", "tanh"), ONE, _LABELS),
    Row("CrossEntropyLoss", f"{_MULTICLASS}, {_LOGITS}", _LINEAR, MANY, _OWN_SOFTMAX),
    Row("BCEWithLogitsLoss", f"binary classification, {_LOGITS}", _LINEAR, ONE, _OWN_SIGMOID),
)  # fmt: skip
# Squared errors also train reconstructions of values in (0, 1), as autoencoders do, so that a
# sigmoid below them is no mistake; these are.
_UNFIT = {"mean_squared_error": {"softmax", "relu"}, "mean_absolute_error": {"softmax", "relu"}}

# What torch calls the losses of these rows, as modules and as functions.
_TORCH = {
    **dict.fromkeys(("MSELoss", "mse_loss"), "mean_squared_error"),
    **dict.fromkeys(("L1Loss", "l1_loss"), "mean_absolute_error"),
    **dict.fromkeys(("BCELoss", "binary_cross_entropy"), "binary_crossentropy"),
    "cross_entropy": "CrossEntropyLoss",
    "binary_cross_entropy_with_logits": "BCEWithLogitsLoss",
}


def check_loss_and_last_layer(loss: str, activation: str, units: int | None) -> str | None:
    """Why a loss does not fit the last layer, in words that name the row; None where it fits.

    The loss has its name in full, or torch's; ``units`` of the last layer are None if unknown.

    >>> check_loss_and_last_layer("binary_crossentropy", "sigmoid", 1) is None
    True
    >>> print(check_loss_and_last_layer("categorical_crossentropy", "sigmoid", 10))
    loss 'categorical_crossentropy' expects softmax in the last layer, got sigmoid: softmax makes
    the N outputs one distribution; N sigmoids do not sum to 1 (row:
    categorical_crossentropy | multiclass classification | softmax | N nodes)
    """
    name = _TORCH.get(loss, loss)
    row = next((row for row in (*TABLE, *FURTHER) if row.loss == name), None)
    if row is None:
        return None
    wrong = activation in _UNFIT[name] if name in _UNFIT else activation not in row.activations
    if wrong:
        return (
            f"loss {loss!r} expects {' or '.join(row.activations)} in the last layer, got "
            f"{activation}: {row.why} (row: {row})"
        )
    if row.size == MANY and units == 1:
        return (
            f"loss {loss!r} expects a node a class in the last layer, got 1: its only "
            f"probability is always 1; use binary_crossentropy with a sigmoid (row: {row})"
        )
    return None


_ACTIVATIONS = (
    torch_nn.Sigmoid, torch_nn.Softmax, torch_nn.ReLU, torch_nn.LeakyReLU, torch_nn.ELU,
    torch_nn.Tanh, torch_nn.SiLU, torch_nn.GELU, torch_nn.Softplus,
)  # fmt: skip
# Layers that pass values on as they are, in evaluation.
_NEUTRAL = (torch_nn.Dropout, torch_nn.Flatten, torch_nn.Unflatten, torch_nn.Identity)


def last_layer(layers: Sequence[torch_nn.Module]) -> tuple[str, int | None] | None:
    """Activation and number of units of the last of a chain of layers; None if it can't be told.

    >>> last_layer([torch_nn.Linear(4, 1), torch_nn.Sigmoid(), torch_nn.Dropout()])
    ('sigmoid', 1)
    """
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
        if not isinstance(layer, _ACTIVATIONS):
            break
    return None if activation is None else (activation, None)


def units_of(layer: torch_nn.Module) -> int | None:
    """Number of outputs or channels that a layer computes; None of one that has no weights."""
    names = ("out_features", "units", "out_channels", "filters")
    found = (getattr(layer, name, None) for name in names)
    return next((units for units in found if isinstance(units, int)), None)


def activation_of(layer: torch_nn.Module) -> str | None:
    """Name of the activation that a layer is or ends with; None where that cannot be told."""
    for kind in _ACTIVATIONS:
        if isinstance(layer, kind):
            return "leaky_relu" if kind is torch_nn.LeakyReLU else kind.__name__.lower()
    if isinstance(layer, nn.MLP):  # whose .activation is that of its hidden layers
        return "linear"
    own = getattr(layer, "activation", None)
    if isinstance(own, str):
        return own
    return "linear" if isinstance(layer, (torch_nn.Linear, torch_nn.modules.conv._ConvNd)) else None
