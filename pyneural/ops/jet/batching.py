"""The jet ops under torch.func.vmap.

Where the batch shares one network, it joins the points, and one call does it all. Otherwise, as for
an ensemble or for gradients one batch element each, the elements go one by one: each of them fills
the kernel by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_OPS = torch.ops.pyneural


def _one_by_one(op: Callable, info: Any, in_dims: tuple, args: tuple) -> tuple[Any, Any]:
    results = [op(*_element(args, in_dims, index)) for index in range(info.batch_size)]
    if isinstance(results[0], Tensor):
        return torch.stack(results), 0
    stacked = tuple(torch.stack(part) for part in zip(*results, strict=True))
    return stacked, (0,) * len(stacked)


def _element(arg: Any, dim: Any, index: int) -> Any:
    if isinstance(dim, (list, tuple)):  # of a list of tensors or, all None, of numbers
        return [_element(a, d, index) for a, d in zip(arg, dim, strict=True)]
    return arg if dim is None else arg.select(dim, index)


def _is_shared(*in_dims: list[int | None]) -> bool:
    return all(dim is None for dims in in_dims for dim in dims)


def _join(tensor: Tensor, dim: int | None, batch: int, points: int) -> Tensor:
    """The batch joined to the dimension `points` of the unbatched tensor, in front of it."""
    if dim is None:
        tensor = tensor.unsqueeze(points)
        tensor = tensor.expand(*tensor.shape[:points], batch, *tensor.shape[points + 1 :])
    else:
        tensor = tensor.movedim(dim, points)
    return tensor.flatten(points, points + 1)


def _join_points(x: Tensor, dim: int | None, batch: int) -> tuple[Tensor, int]:
    """The points of a batch joined, and how many each has; x [N, D] or a jet [C, N, D]."""
    joined = _join(x, dim, batch, x.dim() - (dim is not None) - 2)
    return joined, joined.shape[-2] // batch


def _register_points(name: str, points: int) -> None:
    """An op of (x, weights, biases, ...) whose result has the points in this dimension."""
    op = getattr(_OPS, name)

    @torch.library.register_vmap(f"pyneural::{name}")
    def _(info: Any, in_dims: tuple, *args: Any) -> tuple[Any, Any]:
        x, weights, *rest = args
        if not _is_shared(in_dims[1], in_dims[2]):
            return _one_by_one(op, info, in_dims, args)
        joined, n = _join_points(x, in_dims[0], info.batch_size)
        result = op(joined, weights, *rest)
        return result.unflatten(points, (info.batch_size, n)), points


_register_points("jet_mlp", points=1)  # [1 + K, batch * N, O]
_register_points("jet_mlp_jacobian", points=0)  # [batch * N, (1 + K) O, P]


@torch.library.register_vmap("pyneural::jet_mlp_backward")
def _(info: Any, in_dims: tuple, *args: Any) -> tuple[Any, Any]:
    grad_output, x, weights, *rest, mask = args
    # The sum over the points that makes the parameters' gradient would also sum over the batch.
    if mask[1] or not _is_shared(in_dims[2], in_dims[3]):
        return _one_by_one(_OPS.jet_mlp_backward, info, in_dims, args)
    joined, n = _join_points(x, in_dims[1], info.batch_size)
    grads = _join(grad_output, in_dims[0], info.batch_size, 1)
    grad_x, none = _OPS.jet_mlp_backward(grads, joined, weights, *rest, mask)
    points = joined.dim() - 2
    if mask[0]:
        grad_x = grad_x.unflatten(points, (info.batch_size, n))
    return (grad_x, none), (points if mask[0] else None, None)


def _register_one_by_one(name: str) -> None:
    op = getattr(_OPS, name)

    @torch.library.register_vmap(f"pyneural::{name}")
    def _(info: Any, in_dims: tuple, *args: Any) -> tuple[Any, Any]:
        return _one_by_one(op, info, in_dims, args)


for _name in ("loss", "residual", "residual_backward", "residual_jacobian", "gram", "path"):
    _register_one_by_one(f"jet_mlp_{_name}")
