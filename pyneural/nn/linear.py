"""Fully connected layer, drop-in for torch's, with a fused activation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from pyneural import ops
from pyneural.errors import ArgumentError
from pyneural.nn.checks import check_input
from pyneural.nn.drop_in import DropIn, call_without_tensors, make_twin
from pyneural.nn.quantization import Quantizable
from pyneural.nn.stored import stored
from pyneural.ops.activations import VALUES, check_activation


class Linear(Quantizable, torch.nn.Linear):
    """Fully connected layer.

        y = f(x W^T + b)

    ``torch.nn.Linear`` with a faster forward and backward: same constructor, same ``state_dict``,
    same initial weights for the same seed. ``activation`` fuses the nonlinearity into the layer,
    which saves the time and memory of a separate one.

    Args:
        in_features: number of inputs I.
        out_features: number of outputs O.
        bias: whether to add the bias b.
        device: device of the parameters.
        dtype: dtype of the parameters.
        activation: f, any activation of ``ops.dense``: "linear", "relu", "leaky_relu", "elu",
            "sigmoid", "tanh", "sin", "silu", "gelu", "gelu_tanh" or "softplus".

    Shape:
        x [..., I] to y [..., O].

    Raises:
        ArgumentError: an unknown activation; at the call, shapes, dtypes or devices that do not
            match.

    >>> layer = Linear(3, 2, activation="tanh")
    >>> plain = torch.nn.Linear(3, 2)
    >>> plain.load_state_dict(layer.state_dict())
    <All keys matched successfully>
    >>> x = torch.rand(5, 3)
    >>> torch.allclose(layer(x), torch.tanh(plain(x)))
    True
    """

    _twin = torch.nn.Linear
    activation = "linear"  # of a lazy layer that has become one of ours

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        activation: str = "linear",
    ) -> None:
        check_activation("Linear", activation)
        super().__init__(in_features, out_features, bias, device, dtype)
        self.activation = activation

    def forward(self, input: Tensor) -> Tensor:
        """Output y [..., O] for x [..., I]."""
        if not isinstance(input, Tensor):
            return call_without_tensors(self, input)
        try:
            weight, bias = stored(self, "weight"), stored(self, "bias")
            return ops.dense(input, weight, bias, self.activation)
        except ArgumentError:
            check_input(self, "input", input, self.in_features, self.weight)
            raise

    def as_torch(self) -> torch.nn.Linear:
        """Torch's layer with the same parameters, followed by the activation."""
        if self.activation == "linear":
            return super().as_torch()
        twin = make_twin(self, _Activated)
        twin.function = VALUES[self.activation]
        return twin

    def extra_repr(self) -> str:
        """Constructor arguments, for ``repr``."""
        text = super().extra_repr()
        return text if self.activation == "linear" else f"{text}, activation={self.activation!r}"


class LazyLinear(DropIn, torch.nn.LazyLinear):
    """``torch.nn.LazyLinear``, which becomes one of our ``Linear`` at its first call.

    >>> layer = LazyLinear(4)
    >>> layer(torch.rand(2, 3)).shape, type(layer) is Linear
    (torch.Size([2, 4]), True)
    """

    _twin = torch.nn.LazyLinear
    cls_to_become = Linear


class _Activated(torch.nn.Linear):
    """``Linear`` with its activation, in torch's functions alone."""

    function: Callable[[Tensor], Tensor]

    def forward(self, input: Tensor) -> Tensor:
        return self.function(F.linear(input, self.weight, self.bias))


class LinearEquivalent:
    """Interface of modules that may compute the same as one ``Linear``.

    ``nn.Sequential`` fuses such a module with the linear layers around it, as it does a ``Linear``.
    """

    def equivalent_linear(self) -> Linear | None:
        """The ``Linear`` that at present computes the same as this module, or None."""
        raise NotImplementedError(f"{type(self).__name__}.equivalent_linear: implement it")
