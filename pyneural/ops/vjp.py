"""Gradients of functions in plain torch, which can be differentiated again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.ops.transforms import by_torch_func


def gradients(
    function: Callable, tensors: Sequence[Tensor | None], grads: Sequence[Tensor],
    wanted: Sequence[bool], otherwise: Any = None,
) -> list:  # fmt: skip
    """The gradient of each tensor that a function takes, or ``otherwise`` where it is not wanted.

    Args:
        function: of the tensors; it returns a tensor or a tuple of them.
        tensors: its arguments.
        grads: the gradient of each tensor that it returns.
        wanted: for each argument.
        otherwise: what stands for a gradient that is not wanted.

    >>> x, y = torch.tensor(2.0), torch.tensor(3.0)
    >>> gradients(torch.mul, (x, y), [torch.tensor(10.0)], (True, False))
    [tensor(30.), None]
    """
    given = [w and t is not None for t, w in zip(tensors, wanted, strict=True)]
    varied = [t for t, g in zip(tensors, given, strict=True) if g and t is not None]

    def of_varied(*varied: Tensor) -> Any:
        remaining = iter(varied)
        return function(*(next(remaining) if g else t for t, g in zip(tensors, given, strict=True)))

    # Under a transformation no other way than torch.func's records a graph.
    is_transformed = by_torch_func() or any(map(_is_batched, grads))
    found = iter((_by_torch_func if is_transformed else _by_autograd)(of_varied, varied, grads))
    return [next(found) if g else otherwise for g in given]


def _by_torch_func(
    function: Callable, tensors: Sequence[Tensor], grads: Sequence[Tensor]
) -> Sequence[Tensor]:
    pullback = torch.func.vjp(function, *tensors)[1]
    return pullback(tuple(grads) if len(grads) > 1 else grads[0])


def _by_autograd(
    function: Callable, tensors: Sequence[Tensor], grads: Sequence[Tensor]
) -> Sequence[Tensor]:
    """The same in a fraction of the time."""
    with_graph = torch.is_grad_enabled()
    with _recorded(), torch.enable_grad():
        # Leaves of a graph of their own: what they were made of must not be walked through.
        leaves = [t.view_as(t) if t.requires_grad else t.detach().requires_grad_() for t in tensors]
        result = function(*leaves)
    outputs = (result,) if isinstance(result, Tensor) else result
    # An output that is not wanted has neither elements nor a gradient.
    pairs = [(o, g) for o, g in zip(outputs, grads, strict=True) if o.requires_grad]
    if not pairs:
        return [torch.zeros_like(tensor) for tensor in tensors]
    outputs, given = zip(*pairs, strict=True)
    return torch.autograd.grad(
        outputs, leaves, given, create_graph=with_graph, materialize_grads=True
    )


_KEYS = torch._C.DispatchKey
_AUTOGRAD = torch._C.DispatchKeySet(_KEYS.AutogradFunctionality)
for _key in (_KEYS.AutogradOther, _KEYS.AutogradNestedTensor, _KEYS.ADInplaceOrView):
    _AUTOGRAD = _AUTOGRAD | torch._C.DispatchKeySet(_key)


def _recorded() -> Any:
    """Lets autograd record also within a kernel, which the dispatcher calls below autograd."""
    excluded = torch._C._dispatch_tls_local_exclude_set() - _AUTOGRAD
    return torch._C._ForceDispatchKeyGuard(torch._C._dispatch_tls_local_include_set(), excluded)


def _is_batched(tensor: Tensor) -> bool:
    """Whether torch.autograd.grad(is_grads_batched=True) made a tensor."""
    return torch._C._functorch.is_legacy_batchedtensor(tensor)
