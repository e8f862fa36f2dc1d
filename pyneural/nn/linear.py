"""Fully connected layer, drop-in for torch's, with its activation fused into the product."""

from __future__ import annotations

import torch
from torch import Tensor

from pyneural import ops
from pyneural.ops.activations import check_activation


class Linear(torch.nn.Linear):
    """Fully connected layer.

        y = f(x W^T + b)

    ``torch.nn.Linear`` with a faster forward and backward: same constructor, same initialisation
    under the same seed, same ``state_dict``. With ``activation`` it is also the layer after it, at
    the cost of neither its time nor its memory.

    Args:
        in_features: number of inputs I.
        out_features: number of outputs O.
        bias: whether there is b.
        device: of the parameters.
        dtype: of the parameters.
        activation: f, one that ``ops.dense`` knows: "linear", "relu", "leaky_relu", "elu",
            "sigmoid", "tanh", "sin", "silu", "gelu", "gelu_tanh" or "softplus".

    Shape:
        x [..., I] to y [..., O].

    Raises:
        ValueError: an unknown activation; at the call, shapes, dtypes or devices that do not match.

    >>> layer = Linear(3, 2, activation="tanh")
    >>> plain = torch.nn.Linear(3, 2)
    >>> plain.load_state_dict(layer.state_dict())
    <All keys matched successfully>
    >>> x = torch.rand(5, 3)
    >>> torch.allclose(layer(x), torch.tanh(plain(x)))
    True
    """

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
        """The layer: x [..., I] to y [..., O]."""
        return ops.dense(input, self.weight, self.bias, self.activation)

    def extra_repr(self) -> str:
        """Arguments of the constructor."""
        text = super().extra_repr()
        return text if self.activation == "linear" else f"{text}, activation={self.activation!r}"
