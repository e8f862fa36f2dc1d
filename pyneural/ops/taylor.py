"""Taylor mode through a multilayer perceptron in plain torch.

A channel is one partial derivative of a layer's values with respect to the network's inputs, keyed
by its sorted input indices; the value has the key (). A linear layer maps every channel by the same
matrix, an activation a = f(z) by Faà di Bruno's formula,

    a_c = sum over the set partitions p of the indices c:  f^(|p|)(z) prod_{block b in p} z_b

A linear operator L = sum_k c_k d^(alpha_k) is one channel too: the formula's part with a single
block is linear in the channel, a_L = f'(z) z_L + sum_k c_k (the terms of alpha_k with more blocks).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

from pyneural.ops import activations
from pyneural.ops.caching import cached
from pyneural.ops.derivatives import Derivative, LinearOperator, partials_of


class Term(NamedTuple):
    """coefficient * f^(len(factors))(z) * the product of the channels z of the factors."""

    coefficient: float
    factors: tuple[Derivative, ...]


class Plan(NamedTuple):
    """What travels through the network for some derivatives."""

    channels: dict[Derivative, tuple[Term, ...]]  # each channel's terms, lower channels first
    outputs: tuple[Derivative, ...]  # the channel of each derivative asked for
    order: int  # highest derivative of the activation


def partitions(items: tuple[int, ...]) -> Iterator[list[tuple[int, ...]]]:
    """The set partitions of the items, each a list of blocks.

    >>> list(partitions((0, 1)))
    [[(0, 1)], [(0,), (1,)]]
    """
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for partition in partitions(rest):
        for at, block in enumerate(partition):
            yield [*partition[:at], (first, *block), *partition[at + 1 :]]
        yield [(first,), *partition]


@cached
def make_plan(derivatives: tuple[Derivative, ...]) -> Plan:
    """The channels that the derivatives need, with their terms, and in which channel each ends."""
    channels: dict[Derivative, tuple[Term, ...]] = {}

    def add(channel: Derivative) -> Derivative:
        """The key of a derivative's channel, which is made, after those its terms need."""
        if not isinstance(channel, LinearOperator):
            channel = tuple(sorted(channel))
        if channel not in channels:
            terms: dict[tuple[Derivative, ...], float] = {(channel,): 1}
            for indices, coefficient in partials_of(channel):
                for partition in partitions(indices):
                    if len(partition) > 1:
                        factors = tuple(add(block) for block in sorted(partition))
                        terms[factors] = terms.get(factors, 0) + coefficient
            channels[channel] = tuple(Term(n, factors) for factors, n in terms.items())
        return channel

    outputs = tuple(add(derivative) for derivative in derivatives)
    orders = [len(term.factors) for terms in channels.values() for term in terms]
    return Plan(channels, outputs, max(orders, default=0))


def jet(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: str,
    derivatives: tuple[Derivative, ...],
) -> tuple[Tensor, ...]:
    """(u, *derivatives), each [N, O]; arguments as ``ops.jet_mlp``."""
    plan = make_plan(derivatives)
    # z: a layer's channels, each [N, O]; one that is missing is zero everywhere.
    value = linear(x, weights[0], biases[0])
    z: dict[Derivative, Tensor] = {}
    for channel in plan.channels:
        first = [(i, c) for i, c in partials_of(channel) if len(i) == 1]
        if first:
            columns = [
                weights[0].select(1, i) * c if c != 1 else weights[0].select(1, i)
                for (i,), c in first
            ]
            z[channel] = sum(columns[1:], start=columns[0]).expand_as(value)
    for weight, bias in zip(weights[1:], biases[1:], strict=True):
        f = activations.derivatives(activation, value, plan.order)
        a = {}
        for channel, terms in plan.channels.items():
            products = [_product(term, f, z) for term in terms if all(k in z for k in term.factors)]
            a[channel] = sum(products[1:], start=products[0])
        value = linear(f[0], weight, bias)
        z = {channel: linear(a[channel], weight) for channel in a}
    return (value, *(z[c] if c in z else torch.zeros_like(value) for c in plan.outputs))


def _product(term: Term, f: Sequence[Tensor], z: dict[Derivative, Tensor]) -> Tensor:
    product = f[len(term.factors)]
    for factor in term.factors:
        product = product * z[factor]
    return product if term.coefficient == 1 else term.coefficient * product
