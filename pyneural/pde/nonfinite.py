"""Which operation of a residual or a condition gave a number that is not finite."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from pyneural.pde.language.expression import Expression
from pyneural.pde.language.operations import ALIASES

_BETWEEN = {"pow": "**", "div": "/", "mul": "*", "add": "+", "sub": "-"}


@torch.no_grad()
def first_nonfinite(function: Callable[[], object], names: Mapping[str, Tensor]) -> str | None:
    """The first operation that made a number that is not finite from finite ones, in words.

    Args:
        function: runs the operations.
        names: known tensors by name, [N] each.

    >>> u = torch.tensor([0.5, -0.25, -1.0])
    >>> first_nonfinite(lambda: 2 + u**1.5, {"u": u})
    'u ** 1.5 is nan at 2 of 3 points, the first with u = -0.25'
    """
    search = _Search(names)
    with search:
        function()
    return search.found


class _Search(TorchFunctionMode):
    def __init__(self, names: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.names, self.found = names, None

    found: str | None

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        if isinstance(result, Expression) and result.context.is_recording:
            return result  # of numbers that stand for any
        if self.found is None and isinstance(result, Tensor) and result.is_floating_point():
            bad = ~result.isfinite()
            operands = list(_tensors((*args, *(kwargs or {}).values())))
            if bool(bad.any()) and all(bool(t.isfinite().all()) for t in operands):
                self.found = self._describe(function, args, result, bad)
        return result

    def _describe(self, function: Callable, args: tuple, result: Tensor, bad: Tensor) -> str:
        name = getattr(function, "__name__", "an operation").strip("_")
        if name[:1] == "r" and name[1:] in (*_BETWEEN, *ALIASES):  # 1 / u calls u's
            name, args = name[1:], args[::-1]
        name = ALIASES.get(name, name)
        shown = [self._name(argument) for argument in args]
        sign = _BETWEEN.get(name)
        between = f" {sign} ".join(shown[:2]) if sign else f"{name}({', '.join(shown)})"
        value = float(result[bad][0])
        text = f"{between} is {value}"
        if result.dim() == 0:
            return text
        text += f" at {int(bad.sum()):,} of {bad.numel():,} points"
        values = [
            f"{label} = {float(argument[bad][0]):.4g}"
            for label, argument in zip(shown, args, strict=True)
            if isinstance(argument, Tensor) and argument.shape == bad.shape
        ]
        return f"{text}, the first with {' and '.join(dict.fromkeys(values))}" if values else text

    def _name(self, argument: Any) -> str:
        if not isinstance(argument, Tensor):
            return f"{argument:g}" if isinstance(argument, (int, float)) else str(argument)
        if argument.numel() == 1:
            return f"{float(argument):.4g}"
        for name, known in self.names.items():
            if known.shape == argument.shape and torch.equal(known, argument):
                return name
        return "a term"


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _tensors(one)
