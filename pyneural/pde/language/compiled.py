"""The loss of an equation or a condition as one op in the graph of ``torch.compile``.

The residual is Python that records itself, which a tracer can't look into. So the graph holds an op
that runs the loss as it runs without a compiler, with its gradients, at every call: a changed
constant is seen, and the number of points may differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import torch
from torch import Tensor

from pyneural.pde.unknowns import leaves

_Weights = Sequence[float | Tensor] | Tensor | None

_numbers: WeakKeyDictionary[Any, int] = WeakKeyDictionary()  # of what stands in graphs
_objects: WeakValueDictionary[int, Any] = WeakValueDictionary()


def compiled_loss(owner: Any, network: Any, x: Tensor, weights: _Weights) -> Tensor:
    """``owner.eager_loss(network, x, weights)``, as an op of a graph that is traced.

    Args:
        owner: an equation or a condition.
        network: see ``pde.Network``.
        x: the points.
        weights: as for the loss.
    """
    parameters = _parameters(owner, network)
    is_list = weights is not None and not isinstance(weights, Tensor)
    each = list(weights) if is_list else [] if weights is None else [weights]  # type: ignore
    given = [w if isinstance(w, Tensor) else x.new_tensor(w) for w in each]
    tensors = [x, *given, *parameters]
    needs = [torch.is_grad_enabled() and tensor.requires_grad for tensor in tensors]
    return residual_loss(_number(owner), _number(network), len(given), is_list, tensors, needs)[0]


@torch.library.custom_op("pyneural::residual_loss", mutates_args=())
def residual_loss(
    owner: int, network: int, weights: int, is_list: bool, tensors: list[Tensor], needs: list[bool]
) -> list[Tensor]:
    """The loss, and its gradients for the tensors that need one, [0] for others.

    Args:
        owner: number of the equation or condition.
        network: number of the network.
        weights: how many of the tensors are weights.
        is_list: whether these are one for each equation.
        tensors: the points, the weights and the parameters of owner and network.
        needs: which of them need a gradient.
    """
    objects: list[Any] = [_objects.get(number) for number in (owner, network)]
    if None in objects:
        raise RuntimeError(
            "residual_loss: expected the equation and network that were compiled, got none, as "
            "they are no longer there; keep them, or compile again"
        )
    keys = torch._C.DispatchKey
    # An op runs below autograd, which is part of what this one does.
    with (
        torch._C._SetExcludeDispatchKeyGuard(keys.AutogradFunctionality, False),
        torch._C._SetExcludeDispatchKeyGuard(keys.ADInplaceOrView, False),
        torch.set_grad_enabled(any(needs)),
    ):
        first = 1 + weights
        fresh = [t.detach().requires_grad_(n) for t, n in zip(tensors[:first], needs, strict=False)]
        live = [*fresh, *_parameters(*objects)]
        given: _Weights = None
        if weights:
            given = fresh[1:] if is_list else fresh[1]
        loss = objects[0].eager_loss(objects[1], fresh[0], given)
        if not any(needs):
            return [loss, *(t.new_empty(0) for t in tensors)]
        known = {id(tensor) for tensor in live}
        for leaf in leaves(loss):
            if id(leaf) not in known:
                raise ValueError(
                    f"torch.compile: {type(objects[0]).__name__}.loss: expected unknowns that are "
                    f"parameters of it or of the network, got a tensor {list(leaf.shape)} that "
                    "requires a gradient; make it an attribute, or compile without it"
                )
        wanted = [tensor for tensor, need in zip(live, needs, strict=True) if need]
        found = iter(torch.autograd.grad(loss, wanted, materialize_grads=True))
    # What an op returns shares no memory, as gradients of one kernel may.
    grads = [
        next(found).clone() if need else t.new_empty(0) for t, need in zip(live, needs, strict=True)
    ]
    return [loss.detach(), *grads]


@residual_loss.register_fake
def _(
    owner: int, network: int, weights: int, is_list: bool, tensors: list[Tensor], needs: list[bool]
) -> list[Tensor]:
    pairs = zip(tensors, needs, strict=True)
    grads = [torch.empty_like(t) if need else t.new_empty(0) for t, need in pairs]
    return [tensors[0].new_empty(()), *grads]


def _save(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    ctx.needs = inputs[-1]
    ctx.save_for_backward(*output[1:])


def _backward(ctx: Any, grads: list[Tensor]) -> tuple[Any, ...]:
    pairs = zip(ctx.saved_tensors, ctx.needs, strict=True)
    return None, None, None, None, [grads[0] * g if need else None for g, need in pairs], None


residual_loss.register_autograd(_backward, setup_context=_save)


def _parameters(owner: Any, network: Any) -> list[Tensor]:
    """Those of an equation or condition and of a network, each once."""
    modules = [m for m in (owner, network) if isinstance(m, torch.nn.Module)]
    found: list[Tensor] = []
    for module in modules:
        for parameter in module.parameters():
            if not any(parameter is other for other in found):
                found.append(parameter)
    return found


def _number(value: Any) -> int:
    """The number of an object, which a tracer takes for a constant."""
    if value not in _numbers:
        number = max(_numbers.values(), default=0) + 1
        _numbers[value], _objects[number] = number, value
    return _numbers[value]


# As torch.compiler.assume_constant_result does, which imports the compiler.
_number._dynamo_marked_constant = True  # type: ignore[attr-defined]
