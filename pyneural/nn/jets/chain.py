"""Successive linear layers with one activation, left for one call of the kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pyneural import ops
from pyneural.nn.jets.elementwise import composed, kernel_activation
from pyneural.nn.jets.expression import Expression, fused
from pyneural.nn.jets.jet import Jet
from pyneural.ops.caching import cached
from pyneural.ops.jet.derivatives import Derivative, LinearOperator, partials_of

_PLAIN = (Tensor, torch.nn.Parameter, torch.nn.Buffer)
_KERNEL_DTYPES = (torch.float32, torch.float64)


def may_begin(input: Any, weight: Any, bias: Any) -> bool:
    """Whether a linear layer is one that the kernel knows: plain, of points [N, E]."""
    return (
        input.dim() == 2
        and input.at == 0
        and len(input) == input.space.count
        and _is_plain(input, weight, bias)
    )


def _is_plain(input: Any, weight: Any, bias: Any) -> bool:
    parameters = [weight] if bias is None else [weight, bias]
    return (
        all(type(p) in _PLAIN and p.dtype == input.dtype for p in parameters)
        and weight.dim() == 2
        and weight.shape[1] == input.shape[1]
        and (bias is None or bias.shape == weight.shape[:1])
        and input.dtype in _KERNEL_DTYPES
    )


class Chain(Jet):
    """u = W_L f(... f(W_1 a + b_1) ...) + b_L of a jet a, or f of that, not computed yet.

    Args:
        input: a, [N, E].
        weights: [out, in] each.
        biases: [out] each.
        activation: f between the layers, "" with one layer.
        pending: f after the last layer, "" for none.
    """

    @staticmethod
    def __new__(cls, input: Jet, weights: Sequence[Tensor], *args: Any) -> Any:  # noqa: D102
        return Tensor._make_wrapper_subclass(
            cls, (len(input), len(weights[-1])), dtype=input.dtype, device=input.device
        )

    def __init__(
        self, input: Jet, weights: Sequence[Tensor], biases: Sequence[Tensor],
        activation: str = "", pending: str = "",
    ) -> None:  # fmt: skip
        self.space, self.at, self.marks, self.has_views = input.space, 0, None, False
        self._size, self._kind = torch.Size((len(input), len(weights[-1]))), input.dtype
        self.input, self.weights, self.biases = input, list(weights), list(biases)
        self.activation, self.pending = activation, pending
        self._settled: tuple[Tensor, dict[Derivative, Tensor]] | None = None
        self._expression: Expression | None = None

    @classmethod
    def begin(cls, input: Jet, weight: Tensor, bias: Tensor | None) -> Chain:
        """The first layer."""
        return cls(input.snapshot(), [weight], [_bias(weight, bias)])

    def parts(self) -> tuple[Tensor, dict[Derivative, Tensor]]:
        """The value and the derivatives that are not zero: here they are computed."""
        if self._settled is None:
            if len(self.weights) == 1:
                found = self._one_layer()
            else:
                found = self._by_kernel()
            if self.pending:
                jet = Jet(self.space, found[0], found[1], 0)
                found = composed(jet, kernel_activation(self.pending)).parts()
            self._settled = found
        return self._settled

    def settle(self, result: Jet) -> None:
        """Takes over what another jet is, as an operation in place does."""
        self._settled = result.parts()

    def _one_layer(self) -> tuple[Tensor, dict[Derivative, Tensor]]:
        value, channels = self.input.parts()
        (weight,), (bias,) = self.weights, self.biases
        return F.linear(value, weight, bias), {c: F.linear(t, weight) for c, t in channels.items()}

    def _by_kernel(self) -> tuple[Tensor, dict[Derivative, Tensor]]:
        named = {c: self.derivative(c) for c in self.space.channels}
        derivatives = list(dict.fromkeys(d for d in named.values() if d is not None))
        x, activation = self.argument(derivatives), self.activation
        value, *rest = ops.jet_mlp(x, self.weights, self.biases, activation, derivatives)
        found = dict(zip(derivatives, rest, strict=True))
        return value, {c: found[d] for c, d in named.items() if d is not None}

    def derivative(self, channel: Derivative) -> Derivative | None:
        """What a derivative with respect to the points is for the kernel; None where it is zero.

        Of coordinates, some columns of x, it is one with respect to these.
        """
        columns = self._columns
        return channel if columns is None else _renamed(channel, columns)

    def argument(self, derivatives: Sequence[Derivative]) -> Tensor:
        """The argument x of the kernel: coordinates [N, D], or the jet of inputs [1 + K, N, E]."""
        value, channels = self.input.parts()
        if self._columns is not None:
            return value
        zero = torch.zeros_like(value)
        kept = [channels.get(c, zero) for c in ops.input_channels(derivatives)]
        return torch.stack([value, *kept])

    @property
    def _columns(self) -> tuple[int, ...] | None:
        columns = self.input.coordinates
        return None if columns is None or len({*columns}) < len(columns) else tuple(columns)

    def absorb(self, name: str, args: tuple, kwargs: dict) -> Any:
        """Another layer, an activation, or what a residual program can say."""
        if self._settled is not None:
            return None
        if name == "linear":
            return self._layer(*args, **kwargs) if self is args[0] else None
        activation = _activation(name, args, kwargs)
        if activation is not None and not self.pending:
            if len(self.weights) > 1 and activation != self.activation:
                return None
            return Chain(self.input, self.weights, self.biases, self.activation, activation)
        own = self.expression()
        return None if own is None else fused(own, name, args, kwargs)

    def expression(self) -> Expression | None:
        """Its outputs, where they are to be left to a residual program."""
        single = len(self.weights) == 1
        if self.space.recorder is None or self._settled is not None or single:
            return None
        if self._expression is None:
            network = self
            if self.pending:
                network = Chain(self.input, self.weights, self.biases, self.activation)
            outputs = Expression.of_network(network, self.shape[1])
            self._expression = outputs
            if self.pending:
                self._expression = fused(outputs, self.pending, (outputs,), {})
        return self._expression

    def _layer(self, input: Any, weight: Any, bias: Any = None) -> Any:
        if not self.pending or not _is_plain(self, weight, bias):
            return None
        weights, biases = [*self.weights, weight], [*self.biases, _bias(weight, bias)]
        return Chain(self.input, weights, biases, self.pending)


@cached
def _renamed(channel: Derivative, columns: tuple[int, ...]) -> Derivative | None:
    """A derivative with respect to columns of x as one with respect to these alone.

    >>> _renamed((1, 3), (3, 1)), _renamed((0, 1), (3, 1))
    ((0, 1), None)
    """
    kept = {
        tuple(sorted(columns.index(i) for i in indices)): coefficient
        for indices, coefficient in partials_of(channel)
        if all(i in columns for i in indices)
    }
    if not kept:
        return None
    return LinearOperator(kept) if isinstance(channel, LinearOperator) else next(iter(kept))


def _bias(weight: Tensor, bias: Tensor | None) -> Tensor:
    return weight.new_zeros(len(weight)) if bias is None else bias


_ONE_ARGUMENT = frozenset({"tanh", "sin", "sigmoid", "silu", "relu"})


def _activation(name: str, args: tuple, kwargs: dict) -> str | None:
    """The kernel's name of an activation that is called with these arguments."""
    options = {k: v for k, v in kwargs.items() if k != "input"}
    if name in _ONE_ARGUMENT and len(args) <= 1 and not options:
        return name
    if name == "gelu" and len(args) == 1 and set(options) <= {"approximate"}:
        return "gelu_tanh" if options.get("approximate") == "tanh" else "gelu"
    usual = {"softplus": (1, 20), "leaky_relu": (0.01,), "elu": (1.0,)}.get(name)
    if usual is not None:
        given = (*args[1:], *options.values())
        return name if given == usual[: len(given)] else None
    return None
