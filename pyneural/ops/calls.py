"""How a call comes to the kernel of an op, or to its form in plain torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling
from torch.utils._pytree import tree_leaves

from pyneural import _C
from pyneural.errors import as_argument_error
from pyneural.ops.transforms import KERNEL_DTYPES, has_no_kernel, is_plain_torch


def by_kernel(
    name: str,
    reference: Callable[..., Any],
    operands: Sequence[int],
    dtypes: Sequence[torch.dtype] = KERNEL_DTYPES,
) -> Callable[..., Any]:
    """An op as a function of the arguments of its schema.

    The call goes straight to torch's dispatcher (``csrc/common/direct_call.h``), and through
    ``torch.ops`` where that declines. It is the reference where a transformation is active that a
    kernel has no rule for (``transforms.is_plain_torch``), and where no kernel takes the operands.

    Args:
        name: of the op, and of its function in ``_C``.
        reference: the op in plain torch.
        operands: places of the arguments that must be of a kernel's dtype and layout.
        dtypes: those of the kernel.

    Raises:
        ArgumentError: of the function, where the check of the kernel refuses an argument.
    """
    direct, op = getattr(_C, name), getattr(torch.ops.pyneural, name).default

    def call(*args: Any) -> Any:
        try:
            result = NotImplemented if is_dynamo_compiling() else direct(*args)
            if result is not NotImplemented:
                return result
            if not is_plain_torch(*tree_leaves(args)):
                return op(*args)
        except (ValueError, RuntimeError) as error:
            if not has_no_kernel(_tensors(args[place] for place in operands), dtypes):
                raise as_argument_error(error) from None
        return reference(*args)

    return call


def in_place(name: str) -> Callable[..., None]:
    """An op that changes its arguments, as a function of the arguments of its schema.

    As with ``by_kernel`` the call goes straight to the dispatcher where it can.
    """
    direct, op = getattr(_C, name), getattr(torch.ops.pyneural, name).default

    def call(*args: Any) -> None:
        if is_dynamo_compiling() or direct(*args) is NotImplemented:
            op(*args)

    return call


def fits_one_call(parameters: list[Tensor], others: list[Tensor], steps: list[Tensor]) -> bool:
    """Whether the op of an optimiser can change these parameters, all in one call.

    Args:
        parameters: of a group.
        others: gradients or averages, of all parameters, and then others of all.
        steps: counts of the parameters.
    """
    return _C.fits_one_call(parameters, others, steps) is True


def hold(dictionaries: tuple[dict[str, Any], ...], values: tuple[tuple[Any, ...], ...]) -> bool:
    """Whether each dictionary still holds the values beside it, the same objects in their order.

    >>> one = {"a": "x"}
    >>> hold((one,), (("x",),)), hold((one,), (("y",),))
    (True, False)
    """
    return _C.hold(dictionaries, values) is True


def _tensors(arguments: Iterable[Any]) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(list(arguments)) if isinstance(leaf, Tensor)]
