"""Counts of the choices that training does not make."""

from dataclasses import dataclass

from torch import nn

from pyneural.nn import MLP
from pyneural.training.losses.table import activation_of, units_of
from pyneural.training.model import Model
from pyneural.training.summary import table

_ACTIVATION_MODULES = (".activation", ".activations")  # torch's and pyneural's


@dataclass(frozen=True)
class HyperparameterCount:
    """Choices that training does not make: (name, how many values, what they are)."""

    choices: tuple[tuple[str, int, str], ...]

    @property
    def total(self) -> int:
        """Of all kinds."""
        return sum(number for _, number, _ in self.choices)

    def __str__(self) -> str:
        rows = [(name, str(number), what) for name, number, what in self.choices]
        return f"{table([('hyperparameter', 'number', 'here'), *rows])}\ntotal {self.total}"


def count_hyperparameters(model: Model, batch_size: int, epochs: int) -> HyperparameterCount:
    """The choices in a compiled model, whose weights are made, and its ``fit``.

    The architecture counts as the number of layers and a width and an activation for each layer;
    the optimiser as its method and each number that it takes.
    """
    model.compile_config("count_hyperparameters")
    architecture = _architecture(model)
    widths = [str(units) for units, _ in architecture]
    activations = [activation for _, activation in architecture]
    defaults = model.optimizer.defaults.items()
    options = {name: value for name, value in defaults if isinstance(value, (float, tuple))}
    numbers = sum(len(value) if isinstance(value, tuple) else 1 for value in options.values())
    choices = (
        ("layers", 1, str(len(widths))),
        ("neurons of each layer", len(widths), ", ".join(widths)),
        ("activation functions", len(activations), ", ".join(activations)),
        ("loss function", 1, model.title("loss")),
        ("optimization method", 1, type(model.optimizer).__name__),
        ("its options", numbers, ", ".join(f"{k} {v}" for k, v in options.items())),
        ("batch size", 1, str(batch_size)),
        ("epochs", 1, str(epochs)),
    )
    return HyperparameterCount(choices)


def _architecture(layer: nn.Module) -> list[tuple[int, str]]:
    """Units and activation of each layer with weights, as deep as they are in one another."""
    if isinstance(layer, MLP):  # its layers do not know the activation
        hidden = [(width, layer.activation) for width in layer.hidden]
        return [*hidden, (layer.out_features, "linear")]
    units = units_of(layer)
    if units is not None:
        return [(units, activation_of(layer) or "linear")]
    found: list[tuple[int, str]] = []
    for child in layer.children():
        found += _architecture(child)
        alone = units_of(child) is None and not any(child.children())
        name = activation_of(child) if alone else None
        if alone and name is None and type(child).__module__.endswith(_ACTIVATION_MODULES):
            name = type(child).__name__.lower()
        if name is not None and found:
            found[-1] = (found[-1][0], name)
    return found
