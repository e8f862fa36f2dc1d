"""Counts of parameters, a layer a row."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class LayerCount:
    """Parameters of a layer."""

    name: str  # in the model
    kind: str  # its class
    output: tuple[int, ...] | None  # shape without the batch, if it is known
    tensors: dict[str, tuple[int, ...]]  # shape of each parameter
    trained: int  # number of elements that training changes

    @property
    def total(self) -> int:
        """Number of elements of the parameters."""
        return sum(map(math.prod, self.tensors.values()))

    @property
    def breakdown(self) -> str:
        """The count in words, as "3 x 4 weight + 4 bias"."""
        shapes = self.tensors.items()
        return " + ".join(f"{' x '.join(map(str, shape[::-1]))} {name}" for name, shape in shapes)


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
        rows = [("layer", "output", "parameters", "of which")]
        for layer in self.layers:
            output = "" if layer.output is None else str(layer.output)
            name = f"{layer.name} ({layer.kind})"
            rows.append((name, output, f"{layer.total:,}", layer.breakdown))
        return f"{table(rows)}\ntotal {self.total:,}, trained {self.trained:,}"


def count_parameters(
    model: nn.Module, outputs: Sequence[tuple[int, ...] | None] | None = None
) -> ParameterCount:
    """Parameters of a model, a layer a row; one that layers share counts once.

    ``outputs`` are the shapes of the outputs of its children, if they are known.

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
                label = key if short in tensors or key.count(".") > 1 else short
                tensors[label] = tuple(parameter.shape)
                trained += parameter.numel() * parameter.requires_grad
        rows.append(LayerCount(name, type(layer).__name__, output, tensors, trained))
    mine = dict(model.named_parameters(recurse=False))
    own = {key: tuple(value.shape) for key, value in mine.items() if id(value) not in seen}
    if own:
        trained = sum(mine[key].numel() for key in own if mine[key].requires_grad)
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


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as text, in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (map(str.ljust, row, widths) for row in rows)
    return "\n".join("  ".join(line).rstrip() for line in lines)
