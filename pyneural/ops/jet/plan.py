"""The channels of Taylor mode through a multilayer perceptron, and their terms.

A channel is one partial derivative of a layer's values with respect to the network's inputs, keyed
by its sorted input indices; the value has the key (). A linear layer maps every channel by the same
matrix, an activation a = f(z) by Faà di Bruno's formula,

    a_c = sum over the set partitions p of the indices c:  f^(|p|)(z) prod_{block b in p} z_b

A linear operator L = sum_k c_k d^(alpha_k) is one channel too: the formula's part with a single
block is linear in the channel, a_L = f'(z) z_L + sum_k c_k (the terms of alpha_k with more blocks).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pyneural.ops.caching import cached
from pyneural.ops.jet.derivatives import Derivative, LinearOperator, partials_of


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
    return Plan(channels, outputs, max([0, *orders]))
