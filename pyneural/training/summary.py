"""Counts of parameters, a layer a row."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn


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
        return f"{table([head, *rows])}\n{total}"


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


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as text, in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (map(str.ljust, row, widths) for row in rows)
    return "\n".join("  ".join(line).rstrip() for line in lines)
