"""Activations that ``torch.nn`` lacks, as modules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.errors import ArgumentError, whole
from pyneural.nn.drop_in import call_without_tensors
from pyneural.nn.jets.elementwise import composed
from pyneural.nn.jets.jet import Jet


class Sin(torch.nn.Module):
    """Elementwise sine, as in Sitzmann et al. 2020, arXiv:2006.09661.

        y = sin(z)

    >>> Sin()(torch.tensor([0.0, torch.pi / 2]))
    tensor([0., 1.])
    """

    def forward(self, input: Tensor) -> Tensor:
        """sin(z), in the shape of the input."""
        return torch.sin(input)


class Activation(torch.nn.Module):
    """An elementwise function that is given with its derivatives, for ``nn.jet``.

        y = f(z)

    Functions of torch that ``nn.jet`` has rules for need it not; others, such as those of
    ``torch.special``, an own ``torch.autograd.Function`` or a table, do.

    Args:
        functions: f, f', f'', ... each of a tensor, elementwise; as many as the highest order of
            the derivatives that are asked for, so five for any.

    Raises:
        ArgumentError: no functions; at ``nn.jet``, derivatives of an order above those given.

    >>> from pyneural.nn import jet
    >>> cubic = Activation(lambda z: z**3, lambda z: 3 * z**2, lambda z: 6 * z)
    >>> y, y_xx = jet(cubic, torch.tensor([[2.0]]), [(0, 0)])
    >>> y.item(), y_xx.item()
    (8.0, 12.0)
    """

    def __init__(self, *functions: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        if not functions or not all(map(callable, functions)):
            raise ArgumentError(
                f"Activation: functions: expected f, f', f'', ..., got {functions!r}; give the "
                "function and its derivatives one by one"
            )
        self.functions = functions
        for index, function in enumerate(functions):
            if isinstance(function, torch.nn.Module):
                self.add_module(f"derivative_{index}", function)

    def forward(self, input: Tensor) -> Tensor:
        """f(z), in the shape of the input."""
        return (
            composed(input, self._derivatives)
            if isinstance(input, Jet)
            else self.functions[0](input)
        )

    def _derivatives(self, z: Any, order: int) -> Sequence[Any]:
        if order >= len(self.functions):
            raise ArgumentError(
                f"Activation: functions: expected derivatives up to order {order}, got those up to "
                f"{len(self.functions) - 1}; give {order - len(self.functions) + 1} more"
            )
        return [function(z) for function in self.functions[: order + 1]]


class Maxout(torch.nn.Module):
    """Maximum over groups of neighbouring features (Goodfellow et al. 2013, arXiv:1302.4389).

        y_i = max_j z_(i k + j),  j = 0 .. k - 1

    The paper's layer is ``Sequential(Linear(I, k * O), Maxout(k))``.

    Args:
        pieces: group size k >= 1.

    Shape:
        z [..., k O] to y [..., O].

    Raises:
        ArgumentError: pieces below 1; at the call, a number of features that is not a multiple of
            it.

    >>> Maxout(2)(torch.tensor([[1.0, 5.0, -3.0, -4.0]]))
    tensor([[ 5., -3.]])
    """

    def __init__(self, pieces: int) -> None:
        super().__init__()
        pieces = whole("Maxout: pieces", pieces)
        if pieces < 1:
            raise ArgumentError(f"Maxout: pieces: expected at least 1, got {pieces}; 2 is usual")
        self.pieces = pieces

    def forward(self, input: Tensor) -> Tensor:
        """The maximum of each group."""
        if not isinstance(input, Tensor):
            return call_without_tensors(self, input)
        if input.dim() == 0 or input.shape[-1] % self.pieces:
            raise ArgumentError(
                f"Maxout: input: expected a multiple of {self.pieces} features, got shape "
                f"{list(input.shape)}; give the previous layer {self.pieces} outputs per feature"
            )
        return input.unflatten(-1, (-1, self.pieces)).amax(-1)

    def extra_repr(self) -> str:
        """Constructor arguments, for ``repr``."""
        return str(self.pieces)
