"""How a call comes to the kernel of an op, or to its form in plain torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

    It goes straight to the dispatcher where nothing else has a say (``csrc/common/direct_call.h``),
    else by ``torch.ops``; and to the reference where something is at work that kernels know nothing
    of (``transforms.is_plain_torch``), or no kernel takes the operands.

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
            if not is_dynamo_compiling():
                result = direct(*args)
                if result is not NotImplemented:
                    return result
            if is_plain_torch(*_tensors(args)):
                return reference(*args)
            return op(*args)
        except (ValueError, RuntimeError) as error:
            if has_no_kernel(_tensors(args[place] for place in operands), dtypes):
                return reference(*args)
            raise as_argument_error(error) from None

    return call


def _tensors(args: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(list(args)) if isinstance(leaf, Tensor)]
