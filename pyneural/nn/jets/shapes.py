"""Rules of operations that move elements: views, slices, joins, sums over features."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.nn.jets.jet import Jet, channels_of, common_place, coordinate_channels, rule
from pyneural.nn.jets.space import NoRule
from pyneural.ops.jet.derivatives import Derivative

_MARK = 7  # the stride of the points; the other dimensions have stride 0


def moved(
    name: str,
    jet: Jet,
    function: Callable[[Tensor], Any],
    at: int | None = None,
    *,
    view: bool = True,
    adds: bool = False,
) -> Any:
    """A jet, or several, of a function that is linear and moves elements but not between points.

    Args:
        name: of the operation.
        jet: its argument.
        function: from a tensor to a tensor or several.
        at: the dimension of the points in the result; None finds it, for a function that gives a
            view of its argument.
        view: whether the result may share memory with the argument.
        adds: whether it also adds elements, or has zeros of its own.
    """
    value, channels = jet.parts()
    space, result = jet.space, function(value)
    parts = _several(result)
    places = _places(name, jet, function) if at is None else [at] * len(parts)
    jet.has_views = jet.has_views or view
    if jet.marks is not None and value.numel() and not adds:
        indices = _several(function(jet.marks if view else jet.marks.narrow(jet.at, 0, 1)))
        jets = []
        for part, place, index in zip(parts, places, indices, strict=True):
            found = coordinate_channels(space, index, part, place)
            jets.append(Jet(space, part, found, place, index.expand(part.shape)))
    else:
        of_channels = {c: _several(function(channel)) for c, channel in channels.items()}
        jets = [
            Jet(space, part, {c: several[i] for c, several in of_channels.items()}, place)
            for i, (part, place) in enumerate(zip(parts, places, strict=True))
        ]
    for moved_jet in jets:
        moved_jet.has_views = view
    return type(result)(jets) if isinstance(result, (tuple, list)) else jets[0]


def _several(result: Any) -> Sequence[Tensor]:
    return result if isinstance(result, (tuple, list)) else (result,)


def _places(name: str, jet: Jet, function: Callable[[Tensor], Any]) -> list[int]:
    """Where a view has the points: the dimension that keeps their stride and size."""
    strides = [_MARK if dim == jet.at else 0 for dim in range(jet.dim())]
    marked = torch.empty_strided(jet.shape, strides, device="meta", dtype=jet.dtype)
    size = jet.shape[jet.at]
    places = []
    for part in _several(function(marked)):
        found = [
            dim
            for dim, (stride, extent) in enumerate(zip(part.stride(), part.shape, strict=True))
            if stride == _MARK and extent == size
        ]
        if not found:
            raise jet.space.mixes(name)
        places.append(found[-1])
    return places


def _dim(jet: Jet, dim: int) -> int:
    return dim + jet.dim() if dim < 0 else dim


def features(name: str, jet: Jet, dims: Any) -> tuple[int, ...]:
    """The dimensions of an operation over features, none of which are the points.

    Raises:
        ArgumentError: the points are among them.
    """
    if dims is None or dims == ():
        dims = range(jet.dim())
    found = tuple(_dim(jet, d) for d in (dims if isinstance(dims, Sequence | range) else [dims]))
    if jet.at in found:
        raise jet.space.mixes(name)
    return found


def _views(name: str) -> None:
    function = getattr(torch.Tensor, name)

    def apply(jet: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(jet, Jet):
            raise NoRule(name)
        return moved(name, jet, lambda part: function(part, *args, **kwargs))

    rule(name)(apply)


for _name in [
    *["transpose", "t", "permute", "movedim", "squeeze", "unsqueeze", "select", "narrow"],
    *["split", "chunk", "tensor_split", "hsplit", "split_with_sizes", "diagonal"],
    "expand",
]:
    _views(_name)


@rule("mT", "get H", "get mH", "adjoint")
def _transposed(jet: Jet) -> Any:
    return moved("mT", jet, lambda part: part.transpose(-2, -1))


@rule("unbind")
def _unbound(jet: Jet, dim: int = 0) -> Any:
    if _dim(jet, dim) == jet.at:
        raise NoRule("a loop over the points")
    return moved("unbind", jet, lambda part: part.unbind(dim))


@rule("expand_as")
def _expanded(jet: Any, other: Tensor) -> Any:
    return jet.expand(other.shape)


@rule("contiguous", "clone", "alias", "positive", "pos", "requires_grad_", "real", "identity")
def _same(jet: Jet, *args: Any, **kwargs: Any) -> Any:
    copy = jet.snapshot()
    copy.has_views = jet.has_views = True
    return copy


@rule("detach")
def _detached(jet: Jet) -> Any:
    return Jet(jet.space, jet.parts()[0].detach(), {}, jet.at)


def _convert(name: str) -> None:
    function = getattr(torch.Tensor, name)

    def apply(jet: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(jet, Jet):
            return function(jet, *(a.parts()[0] if isinstance(a, Jet) else a for a in args))
        args = tuple(a.parts()[0] if isinstance(a, Jet) else a for a in args)
        value = function(jet.parts()[0], *args, **kwargs)
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise NoRule(name)
        channels = {c: function(t, *args, **kwargs) for c, t in jet.parts()[1].items()}
        result = Jet(jet.space, value, channels, jet.at)
        result.has_views = jet.has_views = True
        return result

    rule(name)(apply)


for _name in ("to", "type_as", "type", "float", "double", "half", "bfloat16", "cpu", "cuda"):
    _convert(_name)


@rule("view", "reshape", "view_as", "reshape_as")
def _reshaped(jet: Any, *shape: Any) -> Any:
    if len(shape) == 1 and isinstance(shape[0], Tensor):
        shape = tuple(shape[0].shape)
    elif len(shape) == 1 and isinstance(shape[0], Sequence):
        shape = tuple(shape[0])
    if not all(isinstance(size, int) for size in shape):
        raise NoRule("view")
    sizes = [int(size) for size in shape]
    if -1 in sizes:
        others = -math.prod(sizes)
        sizes[sizes.index(-1)] = jet.numel() // others if others else 0
    if sizes == list(jet.shape):
        return _same(jet)
    at = _place_in(jet, sizes)
    return moved("view", jet, lambda part: part.reshape(sizes), at)


def _place_in(jet: Jet, sizes: Sequence[int]) -> int:
    """The dimension of the points after a reshape: with as much before it, and N in it."""
    before, count = math.prod(jet.shape[: jet.at]), jet.space.count
    found = [
        dim
        for dim, size in enumerate(sizes)
        if math.prod(sizes[:dim]) == before and size % max(count, 1) == 0
        and (size > 0 or count == 0)
    ]  # fmt: skip
    if not found:
        raise NoRule("view")
    return jet.at if count == 1 and jet.at in found else found[0]


@rule("flatten")
def _flattened(jet: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    start, end = _dim(jet, start_dim), _dim(jet, end_dim)
    joined = math.prod(jet.shape[start : end + 1])
    return _reshaped(jet, *jet.shape[:start], joined, *jet.shape[end + 1 :])


@rule("unflatten")
def _unflattened(jet: Any, dim: int, sizes: Sequence[int]) -> Any:
    dim = _dim(jet, dim)
    known = -math.prod(sizes)
    sizes = [jet.shape[dim] // known if size == -1 and known else size for size in sizes]
    return _reshaped(jet, *jet.shape[:dim], *sizes, *jet.shape[dim + 1 :])


@rule("getitem")
def _item(jet: Any, index: Any) -> Any:
    if not isinstance(jet, Jet):
        raise NoRule("getitem")
    several = index if isinstance(index, tuple) else (index,)
    listed = [i for i, part in enumerate(several) if isinstance(part, (list, Tensor, range))]
    if not listed:
        return moved("getitem", jet, lambda part: part[index])
    # One list of columns: the rest first, which are views.
    if len(listed) > 1 or any(isinstance(p, (Jet, bool)) for p in several):
        raise NoRule("getitem")
    columns = torch.as_tensor(several[listed[0]])
    if columns.dim() != 1 or any(isinstance(p, int) for p in several):
        raise NoRule("getitem")
    rest = tuple(slice(None) if i == listed[0] else p for i, p in enumerate(several))
    after = several[listed[0] + 1 :]
    jet = moved("getitem", jet, lambda part: part[rest])
    if any(p is Ellipsis for p in several[: listed[0]]):
        dim = jet.dim() - 1 - sum(p is not None for p in after) - sum(p is None for p in after)
    else:
        dim = listed[0]
    if columns.dtype == torch.bool:
        columns = columns.nonzero()[:, 0]
    from_behind = columns + jet.shape[dim]
    return _selected(jet, dim, torch.where(columns < 0, from_behind, columns))


@rule("index_select")
def _selected(jet: Any, dim: int, index: Tensor) -> Any:
    (dim,) = features("index_select", jet, dim)
    at = jet.at

    def function(part: Tensor) -> Tensor:
        return part.index_select(dim, index.to(part.device))

    return moved("index_select", jet, function, at, view=False)


@rule("gather", "take_along_dim")
def _gathered(jet: Any, *args: Any, **kwargs: Any) -> Any:
    dim, index = (*args, *kwargs.values())[:2]
    if isinstance(dim, Tensor):
        dim, index = index, dim
    if not isinstance(jet, Jet) or isinstance(index, Jet):
        raise NoRule("gather")
    (dim,) = features("gather", jet, dim)
    return moved("gather", jet, lambda part: part.gather(dim, index), jet.at, adds=True)


@rule("flip")
def _flipped(jet: Any, *dims: Any) -> Any:
    found = features("flip", jet, dims[0] if isinstance(dims[0], Sequence) else dims)
    return moved("flip", jet, lambda part: part.flip(found), jet.at, view=False)


@rule("roll")
def _rolled(jet: Any, shifts: Any, dims: Any = None) -> Any:
    found = features("roll", jet, dims)
    return moved("roll", jet, lambda part: part.roll(shifts, found), jet.at, view=False)


@rule("repeat", "tile")
def _repeated(jet: Any, *repeats: Any) -> Any:
    times = repeats[0] if isinstance(repeats[0], Sequence) else repeats
    at = len(times) - jet.dim() + jet.at
    if at < 0 or times[at] != 1:
        raise jet.space.mixes("repeat")
    return moved("repeat", jet, lambda part: part.repeat(*times), at, view=False)


@rule("repeat_interleave")
def _interleaved(jet: Any, repeats: int, dim: int | None = None) -> Any:
    (dim,) = features("repeat_interleave", jet, dim)
    function = torch.repeat_interleave
    return moved("repeat_interleave", jet, lambda p: function(p, repeats, dim), jet.at, view=False)


def _reduction(name: str, function: Callable[..., Tensor]) -> None:
    def apply(jet: Any, dim: Any = None, keepdim: bool = False, *, axis: Any = None) -> Any:
        dims = features(name, jet, dim if axis is None else axis)
        at = jet.at if keepdim else jet.at - sum(d < jet.at for d in dims)
        return moved(name, jet, lambda part: function(part, dims, keepdim), at, adds=True)

    rule(name)(apply)


_reduction("sum", torch.sum)
_reduction("mean", torch.mean)


@rule("cumsum")
def _accumulated(jet: Any, dim: int) -> Any:
    (dim,) = features("cumsum", jet, dim)
    return moved("cumsum", jet, lambda part: part.cumsum(dim), jet.at, adds=True)


@rule("pad")
def _padded(jet: Any, pad: Sequence[int], mode: str = "constant", value: Any = None) -> Any:
    if any(size and jet.at == jet.dim() - 1 - i // 2 for i, size in enumerate(pad)):
        raise jet.space.mixes("pad")
    function = torch.nn.functional.pad
    main, channels = jet.parts()
    parts = {c: function(t, pad, mode) for c, t in channels.items()}
    return Jet(jet.space, function(main, pad, mode, value), parts, jet.at)


def join(name: str, parts: Sequence[Any], function: Callable[..., Tensor], places: list) -> Any:
    """Joins jets and constants."""
    jets = [part for part in parts if isinstance(part, Jet)]
    if len(set(places)) != 1:
        raise jets[0].space.mixes(name)
    all_parts = [channels_of(part) for part in parts]
    channels: dict[Derivative, Tensor] = {}
    for channel in jets[0].space.channels:
        if any(channel in part for part in all_parts):
            tensors = [
                part[channel] if channel in part else torch.zeros_like(part[()])
                for part in all_parts
            ]
            channels[channel] = function(tensors)
    value = function([part[()] for part in all_parts])
    return Jet(jets[0].space, value, channels, places[0])


@rule("cat")
def _joined(tensors: Sequence[Any], dim: int = 0, **options: Any) -> Any:
    dim = options.get("axis", dim)
    parts = [part for part in tensors if isinstance(part, Jet) or part.numel()]
    jets = [part for part in parts if isinstance(part, Jet)]
    dim = _dim(jets[0], dim)
    if any(jet.at == dim for jet in jets):
        raise jets[0].space.mixes("cat")
    return join("cat", parts, lambda p: torch.cat(p, dim), [jet.at for jet in jets])


@rule("stack")
def _stacked(tensors: Sequence[Any], dim: int = 0) -> Any:
    jets = [part for part in tensors if isinstance(part, Jet)]
    dim = dim + jets[0].dim() + 1 if dim < 0 else dim
    places = [jet.at + (jet.at >= dim) for jet in jets]
    return join("stack", tensors, lambda p: torch.stack(p, dim), places)


@rule("hstack", "column_stack")
def _stacked_columns(tensors: Sequence[Any]) -> Any:
    columns = [part[:, None] if part.dim() == 1 else part for part in tensors]
    return _joined(columns, 1)


@rule("where")
def _chosen(condition: Tensor, a: Any, b: Any) -> Any:
    if isinstance(condition, Jet):
        raise NoRule("where")
    jets = [part for part in (a, b) if isinstance(part, Jet)]
    space = jets[0].space
    channels = [channels_of(part) for part in (a, b)]
    value = torch.where(condition, channels[0][()], channels[1][()])
    at = common_place("where", jets, value.shape)
    zero = value.new_zeros(())
    found = {
        c: torch.where(condition, channels[0].get(c, zero), channels[1].get(c, zero))
        for c in space.channels
        if c in channels[0] or c in channels[1]
    }
    return Jet(space, value, {c: t.expand(value.shape) for c, t in found.items()}, at)
