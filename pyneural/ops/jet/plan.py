"""The channels of Taylor mode through a multilayer perceptron, and their terms.

A channel is one partial derivative of a layer's values with respect to the network's inputs, keyed
by its sorted input indices; the value has the key (). A linear layer maps every channel by the same
matrix, an activation a = f(z) by Faà di Bruno's formula,

    a_c = sum over the set partitions p of the indices c:  f^(|p|)(z) prod_{block b in p} z_b

A linear operator L = sum_k c_k d^(alpha_k) is one channel too: the formula's part with a single
block is linear in the channel, a_L = f'(z) z_L + sum_k c_k (the terms of alpha_k with more blocks).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pyneural.ops.caching import cached
from pyneural.ops.jet.derivatives import Derivative, LinearOperator, decode, encode, partials_of

MAX_ORDER = 4  # of the kernels


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
    """The set partitions of the items, each a list of blocks, in the order of the kernels.

    That is the order of their restricted growth strings, csrc/jet/plan.h.

    >>> list(partitions((0, 1)))
    [[(0, 1)], [(0,), (1,)]]
    """
    if not items:
        yield []
        return
    *others, last = items
    for partition in partitions(tuple(others)):
        for at, block in enumerate(partition):
            yield [*partition[:at], (*block, last), *partition[at + 1 :]]
        yield [*partition, (last,)]


@cached
def make_plan(derivatives: tuple[Derivative, ...]) -> Plan:
    """The channels that the derivatives need, with their terms, and in which channel each ends.

    They stand in the order of the kernels.
    """
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
                        for block in partition:
                            add(block)
                        factors = tuple(sorted(partition))
                        terms[factors] = terms.get(factors, 0) + coefficient
            channels[channel] = tuple(Term(n, factors) for factors, n in terms.items())
        return channel

    outputs = tuple(add(derivative) for derivative in derivatives)
    orders = [len(term.factors) for terms in channels.values() for term in terms]
    return Plan(channels, outputs, max([0, *orders]))


def input_channels(derivatives: Iterable[Derivative]) -> tuple[Derivative, ...]:
    """The derivatives of a network's inputs from which those of its outputs follow.

    Where the inputs e(x) are functions of the coordinates x, ``jet_mlp`` and ``jet_mlp_loss`` take
    in the place of points the jet of the inputs, [1 + K, N, E]: e, then the K derivatives that are
    named here, in this order. They are those asked for and the lower ones in their chain rule,

        d^2 u / dx^2 = sum_j du/de_j d^2 e_j / dx^2 + sum_jk d^2 u / (de_j de_k) de_j/dx de_k/dx

    Args:
        derivatives: as for ``jet_mlp``, with respect to the coordinates.

    Returns:
        the derivatives, each once; indices in a tuple are sorted.

    Raises:
        ValueError: something else than derivatives, or an order above 4.

    >>> input_channels([(1, 1)])
    ((1,), (1, 1))
    >>> input_channels([LinearOperator({(0,): 1, (1, 1): -0.5})])  # u_t - u_xx / 2
    ((1,), LinearOperator({(0,): 1.0, (1, 1): -0.5}))
    """
    decoded = decode(*encode("input_channels", derivatives))
    for derivative in decoded:
        for indices, _ in partials_of(derivative):
            if len(indices) > MAX_ORDER:
                raise ValueError(
                    f"input_channels: derivatives: expected orders 1 to {MAX_ORDER}, got "
                    f"{len(indices)}; take a derivative of the residual with torch.autograd.grad "
                    "instead"
                )
    return tuple(make_plan(decoded).channels)
