"""Which last layer and activation fit which loss."""

from __future__ import annotations

from dataclasses import dataclass

ONE, MANY = "one node", "N nodes"


@dataclass(frozen=True)
class Row:
    """A row: a loss, what it is good for, and the last layer that it goes with.

    Args:
        loss: its name in full.
        good_for: the task.
        activations: of the last layer, the first being the one of the table.
        size: of the last layer; regression may have several outputs.
        why: what goes wrong with others.
    """

    loss: str
    good_for: str
    activations: tuple[str, ...]
    size: str
    why: str

    def __str__(self) -> str:
        return f"{self.loss} | {self.good_for} | {self.activations[0]} | {self.size}"


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
    Row("mean_squared_error", "regression", ("linear",), ONE, _REGRESSION),
    Row("mean_absolute_error", "regression", ("linear",), ONE, _REGRESSION),
    Row(
        "mean_squared_logarithmic_error",
        "regression of values >= 0",
        ("linear", "relu", "softplus"),
        ONE,
        _REGRESSION,
    ),
    Row("binary_crossentropy", "binary classification", ("sigmoid",), ONE, _PROBABILITY),
    Row("categorical_crossentropy", _MULTICLASS, ("softmax",), MANY, _CLASSES),
    Row(
        "kullback_leibler_divergence",
        f"{_MULTICLASS}, probabilistic interpretation",
        ("softmax",),
        MANY,
        _CLASSES,
    ),
)
# Further losses of Keras, and those of torch that take logits.
FURTHER = (
    Row(
        "sparse_categorical_crossentropy",
        f"{_MULTICLASS}, y as whole numbers",
        ("softmax",),
        MANY,
        _CLASSES,
    ),
    Row("hinge", "binary classification with labels -1 and 1", ("linear", "tanh"), ONE, _LABELS),
    Row("CrossEntropyLoss", f"{_MULTICLASS}, {_LOGITS}", ("linear",), MANY, _OWN_SOFTMAX),
    Row("BCEWithLogitsLoss", f"binary classification, {_LOGITS}", ("linear",), ONE, _OWN_SIGMOID),
)
# Squared errors also train reconstructions of values in (0, 1), as autoencoders do, so that a
# sigmoid below them is no mistake; these are.
_UNFIT = {"mean_squared_error": {"softmax", "relu"}, "mean_absolute_error": {"softmax", "relu"}}

# What torch calls the losses of these rows, as modules and as functions.
_TORCH = {
    "MSELoss": "mean_squared_error",
    "mse_loss": "mean_squared_error",
    "L1Loss": "mean_absolute_error",
    "l1_loss": "mean_absolute_error",
    "BCELoss": "binary_crossentropy",
    "binary_cross_entropy": "binary_crossentropy",
    "cross_entropy": "CrossEntropyLoss",
    "binary_cross_entropy_with_logits": "BCEWithLogitsLoss",
}


def check_loss_and_last_layer(loss: str, activation: str, units: int | None) -> str | None:
    """Why a loss does not fit the last layer, in words that name the row; None where it fits.

    Args:
        loss: its name in full, or torch's.
        activation: of the last layer.
        units: of the last layer; None if unknown.

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
