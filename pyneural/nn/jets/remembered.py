"""Parts whose derivatives at the same points are computed once."""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyneural.nn.jets.jet import Jet
from pyneural.ops.jet.derivatives import Derivative


class _Entry(NamedTuple):
    points: weakref.ref
    constants: tuple[Tensor, ...]
    copies: tuple[Tensor, ...]
    key: tuple
    parts: tuple[Tensor, dict[Derivative, Tensor]]


_entries: weakref.WeakKeyDictionary[torch.nn.Module, _Entry] = weakref.WeakKeyDictionary()


def remembered(
    module: torch.nn.Module, function: Callable, x: Tensor, constants: Sequence[Tensor]
) -> Any:
    """function(x); of a jet of points its derivatives, kept for the next call with the same points.

    These are the same tensor with the same numbers, for the same derivatives, and nothing that the
    result depends on is learned.

    Args:
        module: whose part it is.
        function: of x and the constants alone.
        x: a tensor or a jet.
        constants: tensors that the function uses.
    """
    if not isinstance(x, Jet) or not x.is_points:
        return function(x)
    points = x.parts()[0]
    if any(t.requires_grad for t in (points, *constants)) or points is not x.space.x:
        return function(x)
    if torch.compiler.is_compiling() or torch.is_inference(points):
        return function(x)
    versions = tuple(t._version for t in (points, *constants))
    key = versions, x.space.derivatives, torch.is_inference_mode_enabled()
    entry = _entries.get(module)
    if entry is None or entry.key != key or not _are(entry, points, constants):
        copies = [t.clone() for t in (points, *constants) if _is_shared(t)]
        entry = _Entry(
            weakref.ref(points), tuple(constants), tuple(copies), key, function(x).parts()
        )
        _entries[module] = entry
    return Jet(x.space, *entry.parts, 0)


def _are(entry: _Entry, points: Tensor, constants: Sequence[Tensor]) -> bool:
    """Whether points and constants are those of an entry, with the same numbers."""
    same = entry.points() is points and not any(map(operator.is_not, entry.constants, constants))
    shared = filter(_is_shared, (points, *constants))
    return same and all(map(torch.equal, entry.copies, shared))


def _is_shared(tensor: Tensor) -> bool:
    """Whether numpy may change its numbers, of which torch counts no version."""
    return tensor.device.type == "cpu"
