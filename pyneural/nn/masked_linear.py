"""Sparsely connected layer with a fixed mask."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import Self

from pyneural import ops
from pyneural.errors import ArgumentError, wholes
from pyneural.nn.checks import check_input
from pyneural.nn.drop_in import Scriptable, call_without_tensors, make_twin
from pyneural.ops.activations import VALUES, check_activation


class MaskedLinear(Scriptable):
    """Linear layer with a fixed sparsity pattern.

        y = f((M * W) x + b)

    Only the E present edges have a weight: the parameter ``values``, [E], in row-major order of M.
    Memory, operations and the optimiser's work scale with E. Weights and biases are initialised
    uniformly in [-1/sqrt(n), 1/sqrt(n)] for an output with n edges, as in ``Linear`` with n inputs.
    The sparsity pattern is stored in buffers and therefore part of the ``state_dict``. Libraries
    that quantise linear layers leave this one as it is.

    Args:
        mask: M, boolean, [O, I]: True for a present edge. ``random_mask`` draws one.
        bias: whether to add the bias b.
        device: device of the parameters.
        dtype: dtype of the parameters, float32 or float64.
        activation: f, as in ``Linear``.

    Shape:
        x [..., I] to y [..., O].

    Raises:
        ArgumentError: a mask that is not a boolean matrix, or an unknown activation; at the call,
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
    bias: Tensor | None

    def __init__(
        self,
        mask: Tensor,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        activation: str = "linear",
    ) -> None:
        pattern = ops.SparsityPattern.from_mask(mask.to(device))
        self._set_up(pattern, mask.shape[1], bias, dtype, activation)

    def _set_up(
        self,
        pattern: ops.SparsityPattern,
        in_features: int,
        bias: bool,
        dtype: torch.dtype | None,
        activation: str,
    ) -> None:
        super().__init__()
        check_activation("MaskedLinear", activation)
        self.out_features, self.in_features = len(pattern.starts) - 1, in_features
        self.activation = activation
        self.register_buffer("starts", pattern.starts)
        self.register_buffer("inputs", pattern.inputs)
        values = torch.empty(len(pattern.inputs), dtype=dtype, device=pattern.inputs.device)
        self.values = torch.nn.Parameter(values)
        self.bias = torch.nn.Parameter(values.new_empty(self.out_features)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new random weights and biases."""
        edges = self.starts.diff()
        bound = edges.clamp(min=1).to(self.values.dtype).rsqrt()  # [O]
        bounds = bound.repeat_interleave(edges, output_size=len(self.values))  # [E]
        with torch.no_grad():
            self.values.uniform_(-1, 1).mul_(bounds)
            if self.bias is not None:
                self.bias.uniform_(-1, 1).mul_(bound)

    @property
    def mask(self) -> Tensor:
        """The mask M, boolean, [O, I]."""
        outputs = torch.arange(self.out_features, device=self.inputs.device)
        outputs = outputs.repeat_interleave(self.starts.diff())
        mask = self.inputs.new_zeros(self.out_features, self.in_features, dtype=torch.bool)
        return mask.index_put((outputs, self.inputs), mask.new_ones(()))

    @property
    def weight(self) -> Tensor:
        """The dense matrix M * W, [O, I]; gradients flow to ``values``."""
        zeros = self.values.new_zeros(self.out_features, self.in_features)
        return zeros.masked_scatter(self.mask, self.values)

    def forward(self, input: Tensor) -> Tensor:
        """Output y [..., O] for x [..., I]."""
        if not isinstance(input, Tensor):
            return call_without_tensors(self, input)
        if input.dim() == 0 or input.shape[-1] != self.in_features:
            raise ArgumentError(
                f"MaskedLinear: input: expected {self.in_features} features, got shape "
                f"{list(input.shape)}; the input needs a feature for each column of the mask"
            )
        pattern = ops.SparsityPattern(self.starts, self.inputs)
        try:
            return ops.masked_dense(input, self.values, pattern, self.bias, self.activation)
        except ArgumentError:
            check_input(self, "input", input, self.in_features, self.values)
            raise

    def as_torch(self) -> "MaskedLinear":
        """The same layer with a ``forward`` of torch's functions, by the dense matrix."""
        twin = make_twin(self, _ScriptedMaskedLinear)
        twin.function = VALUES[self.activation]
        return twin

    def get_config(self) -> dict[str, Any]:
        """Arguments of ``from_config`` for a layer that can load this one's ``state_dict``."""
        return {
            "out_features": self.out_features,
            "in_features": self.in_features,
            "edges": len(self.values),
            "bias": self.bias is not None,
            "activation": self.activation,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A layer that can load the ``state_dict`` of another one, sparsity pattern included.

        Its memory is that of the edges; under ``torch.device("meta")`` it takes none.

        >>> layer = MaskedLinear(random_mask(3, 4, sparsity=0.5))
        >>> again = MaskedLinear.from_config(layer.get_config())
        >>> again.load_state_dict(layer.state_dict())
        <All keys matched successfully>
        >>> torch.equal(again.mask, layer.mask)
        True
        """
        outputs, inputs, edges = (config[n] for n in ("out_features", "in_features", "edges"))
        if not 0 <= edges <= outputs * inputs:
            raise ArgumentError(
                f"MaskedLinear.from_config: edges: expected 0 to {outputs} x {inputs}, got "
                f"{edges}; take the config from get_config"
            )
        if cls.__init__ is not MaskedLinear.__init__:  # a subclass may make more than the layer
            mask = (torch.arange(outputs * inputs) < edges).view(outputs, inputs)
            return cls(mask, bias=config["bias"], activation=config["activation"])
        # The first edges row by row, until the state says which.
        starts = (torch.arange(outputs + 1) * inputs).clamp(max=edges)
        pattern = ops.SparsityPattern(starts, torch.arange(edges) % max(inputs, 1))
        layer = cls.__new__(cls)
        layer._set_up(pattern, inputs, config["bias"], None, config["activation"])
        return layer

    def extra_repr(self) -> str:
        """Constructor arguments and the number of edges, for ``repr``."""
        text = f"in_features={self.in_features}, out_features={self.out_features}"
        text += f", edges={len(self.values)}, bias={self.bias is not None}"
        return text if self.activation == "linear" else f"{text}, activation={self.activation!r}"


class _ScriptedMaskedLinear(MaskedLinear):
    """``MaskedLinear`` as ``torch.jit.script`` can read it."""

    function: Callable[[Tensor], Tensor]

    def forward(self, input: Tensor) -> Tensor:
        return self.function(F.linear(input, self.weight, self.bias))


def random_mask(
    out_features: int, in_features: int, sparsity: float, generator: torch.Generator | None = None
) -> Tensor:
    """Random mask with an exact number of absent edges, drawn uniformly.

    Args:
        out_features: number of outputs O.
        in_features: number of inputs I.
        sparsity: fraction of absent edges, from 0 to 1; rounded to a whole number of edges.
        generator: random generator; None for torch's global one.

    Returns:
        the mask, boolean, [O, I].

    Raises:
        ArgumentError: a sparsity outside [0, 1].

    >>> int(random_mask(10, 20, sparsity=0.9).sum())
    20
    """
    sizes = wholes("random_mask", out_features=out_features, in_features=in_features)
    out_features, in_features = sizes
    if not 0 <= sparsity <= 1:
        raise ArgumentError(
            f"random_mask: sparsity: expected a fraction from 0 to 1, got {sparsity}; 0.9 leaves "
            "one edge in ten"
        )
    edges = out_features * in_features
    mask = torch.ones(edges, dtype=torch.bool)
    mask[torch.randperm(edges, generator=generator)[: round(sparsity * edges)]] = False
    return mask.view(out_features, in_features)
