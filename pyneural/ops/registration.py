"""What is registered for an op from Python: kernels and derivatives made of plain torch.

A reference is the op in plain torch, ``pyneural.ops.reference``: a function of the op's arguments
in the order of its schema, as ``csrc/library.cpp`` has it, that can be differentiated to any order.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch._subclasses import FakeTensor
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.fx.experimental.proxy_tensor import ProxyTorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from pyneural.ops.transforms import by_torch_func
from pyneural.ops.vjp import gradients

_OPS = torch.ops.pyneural
_LIBRARY = torch.library.Library("pyneural", "IMPL")


def register_reference(name: str, reference: Callable, fake: Callable | None = None) -> None:
    """Makes a reference the kernel of the devices that have none of ours, and the op in ONNX.

    Its arguments are checked as those of the kernels are, by the op ``check_<name>``. ``fake``
    returns tensors of the result's shape and dtype, for torch.compile and meta tensors.
    """
    op, check = (getattr(_OPS, each).default for each in (name, f"check_{name}"))

    def kernel(*args: Any) -> Any:
        check(*args)
        with torch.no_grad():  # autograd is the business of the keys above
            return reference(*args)

    _LIBRARY.impl(name, kernel, "CompositeExplicitAutograd")
    if fake is not None:
        register_checked_fake(name, fake)

    # Not a decomposition in torch's table: where the variable CI is set, torch.compile and
    # AOTInductor refuse an op that has one.
    @op.py_impl(ProxyTorchDispatchMode)
    def trace(mode: ProxyTorchDispatchMode, *args: Any, **kwargs: Any) -> Any:
        if torch.onnx.is_in_onnx_export():
            with mode:
                return reference(*args, **kwargs)
        return mode.__torch_dispatch__(op, (), args, kwargs)


def register_checked_fake(name: str, fake: Callable) -> None:
    """Registers a fake kernel after the check of the kernels: no result is memory never written.

    A call with a tensor on meta and one on another device comes to the fake kernel, too.
    """
    check = getattr(_OPS, f"check_{name}").default
    names = [argument.name for argument in getattr(_OPS, name).default._schema.arguments]

    def checked(*args: Any) -> Any:
        given = dict(zip(names, args, strict=True))
        leaves = tree_leaves(args)
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        strided = [tensor for tensor in tensors if tensor.layout == torch.strided]
        sizes = [*(tensor.shape for tensor in tensors), *(tensor.stride() for tensor in strided)]
        if not any(isinstance(tensor, FakeTensor) for tensor in tensors):
            check(*args)
        # Symbols, of sizes or strides, have no value to check: the kernel does it when they have.
        elif not any(isinstance(size, torch.SymInt) for size in (*leaves, *chain(*sizes))):
            with unset_fake_temporarily():
                check(*(_without_values(*argument) for argument in given.items()))
        _check_devices(name, given)
        return fake(*args)

    torch.library.register_fake(f"pyneural::{name}", checked)


_ALSO_ON_CPU = ("lengths", "seed")  # whatever the device of the other arguments


def _check_devices(op: str, given: dict[str, Any]) -> None:
    """Raises ValueError unless the tensors of a call are on the device of the first one."""
    first: tuple[str, torch.device] | None = None
    for name, value in given.items():
        for tensor in value if isinstance(value, list | tuple) else (value,):
            if not isinstance(tensor, Tensor):
                continue
            like, device = first = first or (name, tensor.device)
            if tensor.device != device and not (tensor.is_cpu and name in _ALSO_ON_CPU):
                raise ValueError(
                    f"{op}: {name}: expected {device} like {like}, got {tensor.device}; "
                    "move it with .to(device)"
                )


def _without_values(name: str, value: Any) -> Any:
    """An argument as the check sees it, with a shape and a type; a length, which it reads, is 1."""
    if isinstance(value, list | tuple):
        return [_without_values(name, element) for element in value]
    if not isinstance(value, Tensor):
        return value
    if name in _ALSO_ON_CPU and value.device.type == "cpu":
        return torch.ones(value.shape, dtype=value.dtype, device="cpu")
    if value.layout != torch.strided:
        return torch.empty(value.shape, dtype=value.dtype, layout=value.layout, device="meta")
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")


def empty_gradients(like: Tensor, shapes: Sequence, wanted: Sequence[bool]) -> list[Tensor]:
    """What a backward returns on meta tensors: a gradient of each shape, [0] where not wanted."""
    return [like.new_empty(s if w else 0) for s, w in zip(shapes, wanted, strict=True)]


def register_autograd(name: str, differentiable: Callable) -> None:
    """Has an op call ``differentiable`` where a gradient may be wanted of it, else its kernel."""
    op = getattr(_OPS, name).default

    def autograd(*args: Any) -> Any:
        if torch.is_grad_enabled():
            return differentiable(*args)
        with torch._C._AutoDispatchBelowAutograd():
            return op(*args)

    _LIBRARY.impl(name, autograd, "Autograd")


def register_derivative(
    name: str, reference: Callable, fake: Callable, constant: Collection[str] = ()
) -> Callable[..., Any]:
    """Makes a reference the kernel of other devices, and its derivatives those of the op.

    The value is that of the kernel. The gradient is the reference's vector-Jacobian product, which
    can be differentiated again.

    Args:
        name: of the op, such as "dense_backward".
        reference: the op in plain torch.
        fake: as for ``register_reference``.
        constant: arguments that the reference does not read, as it computes them from the others:
            what a forward saved.

    Returns:
        The op under autograd as a function that torch.func can transform, for which the dispatcher
        is no way in.
    """
    register_reference(name, reference, fake)
    op = getattr(_OPS, name).default
    names = [argument.name for argument in op._schema.arguments]
    returns_list = str(op._schema.returns[0].type) == "List[Tensor]"
    places = [names.index(argument) for argument in constant]

    def differentiable(*args: Any) -> Any:
        detached = list(args)
        for place in places:
            if args[place] is not None:  # else the check says so
                detached[place] = args[place].detach()
        leaves, structure = tree_flatten(detached)
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        others = [_TENSOR if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        result = _Differentiable.apply(_Call(op, reference, others, structure), *tensors)
        return list(result) if returns_list else result

    register_autograd(name, differentiable)
    if any(str(p.type) == "List[Tensor]" for p in (*op._schema.arguments, *op._schema.returns)):
        # torch.autograd.grad(is_grads_batched=True) goes through other ops in a loop.
        _LIBRARY.impl(name, reference, "Batched")
    return differentiable


_TENSOR = object()  # stands for a tensor among the arguments of a call


@dataclass(frozen=True)
class _Call:
    """An op's call but for its tensors."""

    op: Callable
    reference: Callable
    leaves: list
    structure: Any

    def arguments(self, tensors: Sequence[Tensor]) -> list:
        remaining = iter(tensors)
        leaves = (next(remaining) if leaf is _TENSOR else leaf for leaf in self.leaves)
        return tree_unflatten(leaves, self.structure)


class _Differentiable(torch.autograd.Function):
    """A function of (call, *tensors)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(call: _Call, *tensors: Tensor) -> Any:
        result = call.op(*call.arguments(tensors))
        return tuple(result) if isinstance(result, list) else result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Any) -> None:
        ctx.call, *tensors = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        tensors, needed = ctx.saved_tensors, ctx.needs_input_grad[1:]
        if by_torch_func():  # a tensor that is not varied would escape from its level
            needed = tuple(tensor.is_floating_point() for tensor in tensors)

        def function(*tensors: Tensor) -> Any:
            result = ctx.call.reference(*ctx.call.arguments(tensors))
            return result if isinstance(result, Tensor) else tuple(result)

        return None, *gradients(function, tensors, grads, needed)
