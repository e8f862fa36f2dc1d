"""Sparsely connected layer: some of its edges are absent for good."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pyneural import ops
from pyneural.ops.activations import check_activation


class MaskedLinear(torch.nn.Module):
    """Fully connected layer without the edges that a mask leaves out.

        y = f((M * W) x + b)

    Only the edges that are there have a weight: they are the parameter ``values``, [E], row by row
    of M; memory, operations and the optimiser's work are those of E. Weights and biases start
    uniform within sqrt(1 / n) where n edges reach the output, as those of ``Linear`` with n inputs.
    The connections are buffers, and so part of the ``state_dict``.

    Args:
        mask: M, [O, I] of torch.bool: True where there is an edge. ``random_mask`` draws one.
        bias: whether there is b.
        device: of the parameters.
        dtype: of the parameters, float32 or float64.
        activation: f, as in ``Linear``.

    Shape:
        x [..., I] to y [..., O].

    Raises:
        ValueError: a mask that is not a matrix of bool, or an unknown activation; at the call,
            shapes, dtypes or devices that do not match.

    >>> mask = torch.tensor([[True, True, False], [False, True, True]])
    >>> layer = MaskedLinear(mask, activation="relu")
    >>> sum(parameter.numel() for parameter in layer.parameters())  # 4 edges and 2 biases
    6
    >>> layer.weight[0, 2].item()
    0.0
    """

    starts: Tensor
    inputs: Tensor
    bias: torch.nn.Parameter | None

    def __init__(
        self,
        mask: Tensor,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        activation: str = "linear",
    ) -> None:
        super().__init__()
        check_activation("MaskedLinear", activation)
        mask = mask.to(device)
        connections = ops.Connections.from_mask(mask)
        self.out_features, self.in_features = mask.shape
        self.activation = activation
        self.register_buffer("starts", connections.starts)
        self.register_buffer("inputs", connections.inputs)
        values = torch.empty(len(connections.inputs), dtype=dtype, device=mask.device)
        self.values = torch.nn.Parameter(values)
        self.bias = torch.nn.Parameter(values.new_empty(self.out_features)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws weights and biases anew."""
        edges = self.starts.diff()
        bound = edges.clamp(min=1).to(self.values.dtype).rsqrt()  # [O]
        with torch.no_grad():
            self.values.uniform_(-1, 1).mul_(bound.repeat_interleave(edges))
            if self.bias is not None:
                self.bias.uniform_(-1, 1).mul_(bound)

    @property
    def mask(self) -> Tensor:
        """Where there is an edge, [O, I] of torch.bool."""
        outputs = torch.arange(self.out_features, device=self.inputs.device)
        outputs = outputs.repeat_interleave(self.starts.diff())
        mask = self.inputs.new_zeros(self.out_features, self.in_features, dtype=torch.bool)
        return mask.index_put((outputs, self.inputs), mask.new_ones(()))

    @property
    def weight(self) -> Tensor:
        """M * W as a matrix, [O, I], zero where there is no edge; gradients reach ``values``."""
        zeros = self.values.new_zeros(self.out_features, self.in_features)
        return zeros.masked_scatter(self.mask, self.values)

    def forward(self, input: Tensor) -> Tensor:
        """The layer: x [..., I] to y [..., O]."""
        if input.dim() == 0 or input.shape[-1] != self.in_features:
            raise ValueError(
                f"MaskedLinear: input: expected {self.in_features} features, got shape "
                f"{list(input.shape)}; give one column for each column of the mask"
            )
        connections = ops.Connections(self.starts, self.inputs)
        return ops.masked_dense(input, self.values, connections, self.bias, self.activation)

    def get_config(self) -> dict[str, Any]:
        """What a layer must have in common with this one to take over its ``state_dict``."""
        return {
            "out_features": self.out_features,
            "in_features": self.in_features,
            "edges": len(self.values),
            "bias": self.bias is not None,
            "activation": self.activation,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> MaskedLinear:
        """A layer for the ``state_dict`` of another one, whose edges come with it.

        >>> layer = MaskedLinear(random_mask(3, 4, sparsity=0.5))
        >>> again = MaskedLinear.from_config(layer.get_config())
        >>> again.load_state_dict(layer.state_dict())
        <All keys matched successfully>
        >>> torch.equal(again.mask, layer.mask)
        True
        """
        edges = torch.arange(config["out_features"] * config["in_features"]) < config["edges"]
        mask = edges.view(config["out_features"], config["in_features"])
        return cls(mask, config["bias"], activation=config["activation"])

    def extra_repr(self) -> str:
        """Sizes, with the number of edges."""
        text = f"in_features={self.in_features}, out_features={self.out_features}"
        text += f", edges={len(self.values)}, bias={self.bias is not None}"
        return text if self.activation == "linear" else f"{text}, activation={self.activation!r}"


def random_mask(
    out_features: int,
    in_features: int,
    sparsity: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Mask with a fraction of the edges absent, drawn uniformly; their number is exact.

    Args:
        out_features: number of outputs O.
        in_features: number of inputs I.
        sparsity: fraction of absent edges, from 0 to 1; their number is rounded.
        generator: of the random numbers; None for torch's own.

    Returns:
        [O, I] of torch.bool.

    Raises:
        ValueError: a sparsity outside [0, 1].

    >>> int(random_mask(10, 20, sparsity=0.9).sum())
    20
    """
    if not 0 <= sparsity <= 1:
        raise ValueError(
            f"random_mask: sparsity: expected a fraction from 0 to 1, got {sparsity}; 0.9 leaves "
            "one edge in ten"
        )
    edges = out_features * in_features
    mask = torch.ones(edges, dtype=torch.bool)
    mask[torch.randperm(edges, generator=generator)[: round(sparsity * edges)]] = False
    return mask.view(out_features, in_features)
