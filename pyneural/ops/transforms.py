"""Whether something is at work that our kernels know nothing of: an op is then plain torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor
from torch._C import _are_functorch_transforms_active, _get_tracing_state
from torch.autograd import forward_ad
from torch.compiler import is_dynamo_compiling
from torch.overrides import _get_current_function_mode_stack, has_torch_function_variadic
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

_P = ParamSpec("_P")
_R = TypeVar("_R")


def outside_of_graphs(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """The function as ``torch.compiler.disable`` makes it: torch.compile leaves it as it is.

    That would import the compiler, which takes seconds, in programs that compile nothing.

    >>> outside_of_graphs(lambda x: x + 1)(1)
    2
    """
    excluded = torch._disable_dynamo(function)

    @wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        return (excluded if is_dynamo_compiling() else function)(*args, **kwargs)

    return call


def by_torch_func() -> bool:
    """Whether a transformation of ``torch.func`` is at work.

    >>> by_torch_func(), torch.func.vmap(lambda x: x + by_torch_func())(torch.zeros(2)).tolist()
    (False, [1.0, 1.0])
    """
    return _are_functorch_transforms_active()


def by_forward_mode() -> bool:
    """Whether forward-mode differentiation is at work.

    >>> with forward_ad.dual_level():
    ...     by_forward_mode()
    True
    """
    return forward_ad._current_level >= 0


def is_transformed() -> bool:
    """Whether either is at work, through which a Function in C++ lets no derivative.

    >>> is_transformed()
    False
    """
    return by_torch_func() or by_forward_mode()


# Asked once: torch.compile does not trace the question in torch 2.11.
_HAVE_AUTOCAST = frozenset(
    filter(torch.amp.is_autocast_available, ("cpu", "cuda", "mps", "xpu", "hpu", "mtia"))
)


def by_autocast(device: str) -> bool:
    """Whether autocast is on for a type of device; there is none for meta tensors.

    >>> with torch.autocast("cpu"):
    ...     by_autocast("cpu"), by_autocast("meta")
    (True, False)
    """
    return device in _HAVE_AUTOCAST and torch.is_autocast_enabled(device)


def is_recorded() -> bool:
    """Whether torch records a program that is to run elsewhere: it must hold no op of ours.

    >>> is_recorded()
    False
    """
    return _get_tracing_state() is not None or torch.onnx.is_in_onnx_export()


def is_torchs(*tensors: Tensor | None) -> bool:
    """Whether a call on these tensors belongs to torch's own functions.

    So it does while torch records a program that is to run elsewhere (``torch.jit.trace``,
    ``torch.onnx.export``), and where tensors, or a mode of the user, say what a function of torch
    does (``__torch_function__``: quantised weights, the proxies of ``torch.fx``).

    >>> is_torchs(torch.zeros(2), None), is_torchs(torch.zeros(2).as_subclass(_Example))
    (False, True)
    """
    return (
        has_torch_function_variadic(*tensors) and _are_torchs(tensors)
    ) or _get_tracing_state() is not None


def is_plain_torch(*tensors: Tensor | None) -> bool:
    """Whether an op takes its plain-torch form for these tensors, by any of the above.

    >>> is_plain_torch(torch.zeros(2))
    False
    """
    return (
        _are_functorch_transforms_active()
        or forward_ad._current_level >= 0
        or (has_torch_function_variadic(*tensors) and _are_torchs(tensors))
        or _get_tracing_state() is not None
    )


def _are_torchs(tensors: Iterable[Tensor | None]) -> bool:
    """``is_torchs`` where something has ``__torch_function__``, if only a mode."""
    return (
        is_recorded()
        or any(map(_has_torch_function, tensors))
        # Torch's own modes are for all functions alike: torch.device, torch.export.
        or any(not _is_torchs_class(type(mode)) for mode in _get_current_function_mode_stack())
    )


KERNEL_DTYPES = torch.float32, torch.float64, torch.bfloat16, torch.float16
# The types of devices that have kernels of ours in this installation.
KERNEL_DEVICES = tuple(
    device
    for device in ("cpu", "cuda")
    if torch._C._dispatch_has_kernel_for_dispatch_key("pyneural::dropout", device.upper())
)


def has_no_kernel(
    tensors: Iterable[Tensor | None], dtypes: Sequence[torch.dtype] = KERNEL_DTYPES
) -> bool:
    """Whether our kernels take none of these, whatever their sizes: asked after they refused them.

    These are tensors of another layout (nested, sparse) or distributed over processes, and those of
    a dtype that is none of the kernel's, if it is the same for all.

    >>> x = torch.zeros(2, dtype=torch.complex64)
    >>> has_no_kernel([x, None]), has_no_kernel([x, torch.zeros(2)])
    (True, False)
    """
    given = [t for t in tensors if t is not None]
    found = {t.dtype for t in given}
    return any(
        t.is_nested or t.layout != torch.strided or is_traceable_wrapper_subclass(t) for t in given
    ) or (len(found) == 1 and found.isdisjoint(dtypes))


def _has_torch_function(t: Tensor | None) -> bool:
    cls = type(t)
    function = getattr(cls, "__torch_function__", None)
    return (
        cls is not Tensor
        and function is not None
        and function is not torch._C._disabled_torch_function_impl
    )


def _is_torchs_class(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == "torch"


class _Example(Tensor):
    """A subclass that inherits ``__torch_function__``, for the example above."""
