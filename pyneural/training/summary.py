"""Counts of parameters, a layer a row, and of the choices that training does not make."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from pyneural.nn import MLP
from pyneural.training.last_layer import activation_of, units_of

if TYPE_CHECKING:
    from pyneural.training.model import Model

_ACTIVATION_MODULES = (".activation", ".activations")  # torch's and pyneural's


@dataclass(frozen=True)
class LayerCount:
    """Parameters of a layer.

    Args:
        name: in the model.
        kind: its class.
        output: shape without the batch, or None where it is not known.
        tensors: shape of each parameter by name.
        trained: number of elements that training changes.
    """

    name: str
    kind: str
    output: tuple[int, ...] | None
    tensors: dict[str, tuple[int, ...]]
    trained: int

    @property
    def total(self) -> int:
        """Number of elements of the parameters."""
        return sum(map(math.prod, self.tensors.values()))

    @property
    def breakdown(self) -> str:
        """The count in words, as "3 x 4 weight + 4 bias"."""
        parts = (
            f"{' x '.join(map(str, shape[::-1]))} {name}" for name, shape in self.tensors.items()
        )
        return " + ".join(parts)


@dataclass(frozen=True)
class ParameterCount:
    """Parameters of a model: a row a layer, and totals; as text, a table."""

    layers: tuple[LayerCount, ...]

    @property
    def total(self) -> int:
        """Of all layers."""
        return sum(layer.total for layer in self.layers)

    @property
    def trained(self) -> int:
        """Those that require a gradient."""
        return sum(layer.trained for layer in self.layers)

    def __str__(self) -> str:
        head = ("layer", "output", "parameters", "of which")
        rows = [
            (
                f"{layer.name} ({layer.kind})",
                "" if layer.output is None else str(layer.output),
                f"{layer.total:,}",
                layer.breakdown,
            )
            for layer in self.layers
        ]
        total = f"total {self.total:,}, trained {self.trained:,}"
        return f"{_table([head, *rows])}\n{total}"


def count_parameters(
    model: nn.Module, outputs: Sequence[tuple[int, ...]] | None = None
) -> ParameterCount:
    """Parameters of a model, a layer a row; one that layers share counts once.

    Args:
        model: its weights are made.
        outputs: shapes of the outputs of its children, if they are known.

    >>> net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 3), nn.Linear(3, 1))
    >>> print(count_parameters(net))
    layer       output  parameters  of which
    0 (Linear)          16          3 x 4 weight + 4 bias
    1 (Linear)          15          4 x 3 weight + 3 bias
    2 (Linear)          4           3 x 1 weight + 1 bias
    total 35, trained 35
    """
    seen: set[int] = set()
    children = list(_layers(model, split=outputs is None)) or [(type(model).__name__, model)]
    shapes = [None] * len(children) if outputs is None else outputs
    rows = []
    for (name, layer), output in zip(children, shapes, strict=True):
        tensors, trained = {}, 0
        for key, parameter in layer.named_parameters():
            if id(parameter) not in seen:
                seen.add(id(parameter))
                short = key.rpartition(".")[2]
                tensors[key if short in tensors or key.count(".") > 1 else short] = tuple(
                    parameter.shape
                )
                trained += parameter.numel() * parameter.requires_grad
        rows.append(LayerCount(name, type(layer).__name__, output, tensors, trained))
    own = {
        key: tuple(parameter.shape)
        for key, parameter in model.named_parameters(recurse=False)
        if id(parameter) not in seen
    }
    if own:
        trained = sum(p.numel() for p in model.parameters(recurse=False) if p.requires_grad)
        rows.append(LayerCount("(itself)", type(model).__name__, None, own, trained))
    return ParameterCount(tuple(rows))


def _layers(model: nn.Module, *, split: bool) -> Iterator[tuple[str, nn.Module]]:
    """The children by name; those of a chain or list among them instead of it, if ``split``."""
    for name, child in model._modules.items():
        if child is None:
            continue
        if split and isinstance(child, (nn.Sequential, nn.ModuleList)) and len(child):
            yield from ((f"{name}.{inner}", layer) for inner, layer in _layers(child, split=True))
        else:
            yield name, child


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
        return f"{_table([('hyperparameter', 'number', 'here'), *rows])}\ntotal {self.total}"


def count_hyperparameters(model: Model, batch_size: int, epochs: int) -> HyperparameterCount:
    """The choices in a compiled model and its ``fit``.

    The architecture counts as the number of layers and a width and an activation for each layer;
    the optimiser as its method and each number that it takes.

    Args:
        model: compiled; its weights are made.
        batch_size: given to ``fit``.
        epochs: given to ``fit``.

    Raises:
        RuntimeError: it is not compiled.
    """
    compile_config = model.compile_config("count_hyperparameters")
    architecture = _architecture(model)
    widths = [str(units) for units, _ in architecture]
    activations = [activation for _, activation in architecture]
    options = {
        name: value
        for name, value in model.optimizer.defaults.items()
        if isinstance(value, (float, tuple)) and not isinstance(value, bool)
    }
    numbers = sum(len(value) if isinstance(value, tuple) else 1 for value in options.values())
    return HyperparameterCount(
        (
            ("layers", 1, str(len(widths))),
            ("neurons of each layer", len(widths), ", ".join(widths)),
            ("activation functions", len(activations), ", ".join(activations)),
            ("loss function", 1, compile_config.loss.name),
            ("optimization method", 1, type(model.optimizer).__name__),
            ("its options", numbers, ", ".join(f"{k} {v}" for k, v in options.items())),
            ("batch size", 1, str(batch_size)),
            ("epochs", 1, str(epochs)),
        )
    )


def _architecture(layer: nn.Module) -> list[tuple[int, str]]:
    """Units and activation of each layer with weights, as deep as they are in one another."""
    if isinstance(layer, MLP):  # its layers do not know the activation
        return [*((width, layer.activation) for width in layer.hidden),
                (layer.out_features, "linear")]  # fmt: skip
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


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (map(str.ljust, row, widths) for row in rows)
    return "\n".join("  ".join(line).rstrip() for line in lines)
