"""The networks that give a transform's parameters from the other features and the context."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyneural import ops
from pyneural.errors import check_argument, is_whole
from pyneural.nn.linear import Linear
from pyneural.nn.plain import LINEAR, has_global_hooks, is_changed

Activation = Callable[[], nn.Module]

# The activations of torch.nn that ``ops.mlp`` has, where their options are torch's own.
_NAMES = {
    nn.ReLU: "relu", nn.Tanh: "tanh", nn.Sigmoid: "sigmoid", nn.SiLU: "silu", nn.GELU: "gelu",
    nn.ELU: "elu", nn.Softplus: "softplus", nn.LeakyReLU: "leaky_relu",
}  # fmt: skip
# Options of each, as they are where none is given.
_USUAL_OPTIONS = {
    kind: [(option, getattr(kind(), option)) for option in getattr(kind, "__constants__", [])
           if option != "inplace"]
    for kind in _NAMES
}  # fmt: skip


class Plan(NamedTuple):
    """What a plain network computes with: its linear layers and the activation's name."""

    linears: list[Any]
    weights: list[Tensor]
    biases: list[Tensor]
    activation: str


class LayerNorm(nn.Module):
    """(x - mean) / sqrt(variance + epsilon) over the features, without parameters."""

    def forward(self, x: Tensor) -> Tensor:
        """[..., F] to [..., F]."""
        variance, mean = torch.var_mean(x, dim=-1, keepdim=True)
        return (x - mean) / (variance + 1e-5).sqrt()


class _Network(nn.Sequential):
    """Linear layers with one activation between them, which ``ops.mlp`` computes in one call."""

    def forward(self, x: Tensor) -> Tensor:
        """[..., I] to [..., O]."""
        plan = self.plan()
        if plan is None or x.dtype not in (torch.float32, torch.float64):
            return super().forward(x)
        weights = [
            layer.mask * weight if isinstance(layer, MaskedLinear) else weight
            for layer, weight in zip(plan.linears, plan.weights, strict=True)
        ]
        flat = x.reshape(-1, x.shape[-1])
        y = ops.mlp(flat, weights, plan.biases, plan.activation)
        return y.reshape(*x.shape[:-1], y.shape[-1])

    def plan(self) -> Plan | None:
        """The plan, but for hooks of the network; None of one that is more than its layers."""
        layers = list(self._modules.values())
        linears, between = layers[::2], layers[1::2]
        if len(linears) != len(between) + 1 or not _AFFINE.issuperset(map(type, linears)):
            return None
        if has_global_hooks() or any(map(is_changed, layers)):
            return None
        activation = _name(between[0]) if between else None
        if activation is None or any(_name(layer) != activation for layer in between[1:]):
            return None
        if any(type(one) is Linear and one.activation != "linear" for one in linears):
            return None
        weights: list[Any] = [_parameter(one, "weight") for one in linears]
        biases: list[Any] = [_parameter(one, "bias") for one in linears]
        if any(bias is None for bias in biases):
            return None
        return Plan(linears, weights, biases, activation)


def plan_of(network: nn.Module, masked: bool = False) -> Plan | None:
    """The plan of a network whose layers all have masks, or none.

    None where calling it is more than its layers, as with a hook.
    """
    if not isinstance(network, _Network) or type(network).forward is not _Network.forward:
        return None
    plan = None if is_changed(network) else network.plan()
    alike = plan and all((type(one) is MaskedLinear) == masked for one in plan.linears)
    return plan if alike else None


def _name(layer: nn.Module) -> str | None:
    """The name in ``ops`` of an activation with torch's own options."""
    kind = type(layer)
    for option, value in _USUAL_OPTIONS.get(kind, ()):
        if getattr(layer, option) != value:
            return None
    return _NAMES.get(kind)


def _parameter(layer: nn.Module, name: str) -> Any:
    """An attribute of a layer, in less time than ``getattr``, which looks in its class before."""
    own = layer.__dict__
    known = None if name in own else own["_parameters"].get(name)
    return getattr(layer, name) if known is None else known


def _widths(kind: str, hidden_features: Any) -> list[int]:
    """The widths of the hidden layers; ArgumentError for what are none."""
    widths = list(hidden_features) if hasattr(hidden_features, "__iter__") else None
    good = widths is not None and all(is_whole(width) and width >= 1 for width in widths)
    expected, got = "whole numbers >= 1, one for each hidden layer", repr(hidden_features)
    check_argument(good, f"{kind}: hidden_features", expected, got, "write [64, 64]")
    return widths or []


def _maker(kind: str, activation: Any) -> Activation:
    """What makes the activation's module; ArgumentError for the module itself, or a name."""
    make = nn.ReLU if activation is None else activation
    good, expected = callable(make) and not isinstance(make, nn.Module), "what makes a module"
    check_argument(good, f"{kind}: activation", expected, repr(make), "write torch.nn.ReLU")
    return make


class MLP(_Network):
    """Multilayer perceptron, with the arguments and the keys of zuko's.

    Args:
        in_features: number of inputs.
        out_features: number of outputs.
        hidden_features: widths of the hidden layers.
        activation: what makes the activation's module; None for ``torch.nn.ReLU``.
        normalize: whether the features are normalised after each activation.
        bias: whether the linear layers have biases.

    Raises:
        ArgumentError: widths below 1, or a module as activation instead of what makes one.

    >>> MLP(3, 2, [16], activation=nn.ELU)
    MLP(
      (0): Linear(in_features=3, out_features=16, bias=True)
      (1): ELU(alpha=1.0)
      (2): Linear(in_features=16, out_features=2, bias=True)
    )
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        hidden_features: Sequence[int] = (64, 64),
        activation: Activation | None = None,
        normalize: bool = False,
        bias: bool = True,
    ) -> None:
        hidden_features = _widths("MLP", hidden_features)
        make = _maker("MLP", activation)
        layers: list[nn.Module] = []
        for before, after in pairwise([in_features, *hidden_features]):
            layers += [nn.Linear(before, after, bias), make()]
            layers += [LayerNorm()] if normalize else []
        last = hidden_features[-1] if hidden_features else in_features
        super().__init__(*layers, nn.Linear(last, out_features, bias))
        self.in_features, self.out_features = in_features, out_features


class MaskedLinear(nn.Linear):
    """y = (M o W) x + b.

    Args:
        mask: M, [O, I] of bool.
        bias: whether there is b.
    """

    mask: Tensor

    def __init__(self, mask: Tensor, bias: bool = True) -> None:
        super().__init__(mask.shape[1], mask.shape[0], bias)
        self.register_buffer("mask", mask)

    def forward(self, input: Tensor) -> Tensor:
        """[..., I] to [..., O]."""
        return F.linear(input, self.mask * self.weight, self.bias)


_AFFINE = frozenset((*LINEAR, MaskedLinear))


class Residual(nn.Sequential):
    """x + f(x)."""

    def forward(self, input: Tensor) -> Tensor:
        """[..., F] to [..., F]."""
        return input + super().forward(input)


class MaskedMLP(_Network):
    """Multilayer perceptron whose output i depends on input j only where A_ij is True.

    Each hidden unit is given the dependencies of a class of outputs, in turn, and may look at the
    units before it whose dependencies are among its own (Germain et al. 2015, arXiv:1502.03509, for
    any graph instead of an order).

    Args:
        adjacency: A, [outputs, inputs] of bool.
        hidden_features: widths of the hidden layers.
        activation: what makes the activation's module; None for ``torch.nn.ReLU``.
        residual: whether there is a residual block after each linear layer instead of an
            activation.

    Raises:
        ValueError: a graph without an edge, widths below 1, or a module as activation.

    >>> _ = torch.manual_seed(0)
    >>> network = MaskedMLP(torch.tensor([[False, False], [True, False]]), [16])
    >>> jacobian = torch.autograd.functional.jacobian(network, torch.randn(2))
    >>> jacobian != 0
    tensor([[False, False],
            [ True, False]])
    """

    def __init__(
        self,
        adjacency: Tensor,
        hidden_features: Sequence[int] = (64, 64),
        activation: Activation | None = None,
        residual: bool = False,
    ) -> None:
        out_features, in_features = adjacency.shape
        hidden_features = _widths("MaskedMLP", hidden_features)
        make = _maker("MaskedMLP", activation)
        if not bool(adjacency.any()):
            raise ValueError(
                "MaskedMLP: adjacency: expected an edge from an input to an output, got none; with "
                "a single feature and no context take an ElementWiseTransform"
            )
        # One class for each set of inputs that some outputs depend on.
        sets, class_of_output = torch.unique(adjacency, dim=0, return_inverse=True)
        size = sets.sum(1)
        # [classes, classes]: whether all dependencies of class k are dependencies of class i.
        contains = sets.double() @ sets.double().T == size
        layers: list[nn.Module] = []
        mask = sets
        for i, width in enumerate(hidden_features):
            usable = mask.any(1).nonzero().squeeze(1)
            classes = usable[torch.arange(width) % len(usable)]
            layers.append(MaskedLinear(mask[classes]))
            inner = contains[classes][:, classes]
            if residual:
                if i > 0 and layers[-1].weight.shape[0] == layers[-1].weight.shape[1]:  # type: ignore
                    layers.pop()
                second = MaskedLinear(inner.clone())  # each module has buffers of its own
                layers.append(Residual(MaskedLinear(inner), make(), second))
            else:
                layers.append(make())
            mask = contains[:, classes]
        layers.append(MaskedLinear(mask[class_of_output]))
        super().__init__(*layers)
        self.in_features, self.out_features = in_features, out_features
