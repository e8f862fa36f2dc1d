"""Leibniz' rule and Faà di Bruno's formula on channels, whatever they are: tensors or symbols.

A channel is one derivative with respect to the coordinates, keyed as in ``ops.jet.plan``: by its
sorted indices, or by its linear operator. The value has the key (). A channel that is missing is
zero everywhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, Protocol

from pyneural.ops.caching import cached
from pyneural.ops.jet.derivatives import Derivative, LinearOperator
from pyneural.ops.jet.plan import Term


class Channels(Protocol):
    """The channels that are not zero, as in a dict."""

    def __contains__(self, channel: Any, /) -> bool:
        """Whether a channel is not zero."""
        ...

    def __getitem__(self, channel: Any, /) -> Any:
        """A channel that is not zero."""
        ...


@cached
def leibniz(index: Derivative, factors: int) -> tuple[tuple[tuple[Derivative, ...], float], ...]:
    """The terms of a derivative of a product: the derivative of each factor, and a coefficient.

    >>> leibniz((1, 1), 2)
    ((((1, 1), ()), 1.0), (((1,), (1,)), 2.0), (((), (1, 1)), 1.0))
    """
    terms: dict[tuple[Derivative, ...], float] = defaultdict(float)
    if isinstance(index, LinearOperator):
        for at in range(factors):
            terms[tuple(index if i == at else () for i in range(factors))] = 1.0
        for indices, coefficient in index.partials:
            for parts, count in leibniz(indices, factors):
                if sum(map(bool, parts)) > 1:
                    terms[parts] += coefficient * count
    else:
        for to in product(range(factors), repeat=len(index)):
            parts = tuple(
                tuple(i for i, at in zip(index, to, strict=True) if at == factor)
                for factor in range(factors)
            )
            terms[parts] += 1.0
    return tuple(terms.items())


def product_channel(
    index: Derivative, factors: Sequence[Channels], multiply: Callable[..., Any]
) -> Any:
    """One channel of a product of factors, whose values are in their channels too; None for zero.

    Args:
        index: the channel; () for the value.
        factors: the channels of each factor.
        multiply: the product, linear in each factor.

    >>> x = {(): 3.0, (0,): 1.0}
    >>> product_channel((0,), [x, x], lambda a, b: a * b)
    6.0
    """
    if index == ():
        return multiply(*(factor[()] for factor in factors))
    total = None
    for parts, coefficient in leibniz(index, len(factors)):
        if all(part in factor for part, factor in zip(parts, factors, strict=True)):
            term = multiply(*(factor[part] for part, factor in zip(parts, factors, strict=True)))
            total = added(total, scaled(term, coefficient))
    return total


def composed_channel(terms: Sequence[Term], f: Sequence[Any], z: Channels) -> Any:
    """One channel of f(z) from the terms of its plan; None for zero.

    Args:
        terms: those of the channel in ``ops.jet.plan``.
        f: f(z), f'(z), ...; None for one that is zero.
        z: the channels of z.
    """
    total = None
    for coefficient, factors in terms:
        result = f[len(factors)]
        if result is None or not all(factor in z for factor in factors):
            continue
        for factor in factors:
            result = result * z[factor]
        total = added(total, scaled(result, coefficient))
    return total


def quotient_channel(index: Derivative, quotient: Channels, a: Channels, b: Channels) -> Any:
    """One channel of q = a / b from the lower ones of q, by b q = a; None for zero."""
    total: Any = None
    if index in a:
        total = a[index]
    for (of_q, of_b), coefficient in leibniz(index, 2):
        if of_b != () and of_q in quotient and of_b in b:
            total = added(total, scaled(quotient[of_q] * b[of_b], -coefficient))
    return None if total is None else total / b[()]


def added(total: Any, term: Any) -> Any:
    """The sum, where None is zero."""
    if total is None or term is None:
        return term if total is None else total
    return total + term


def scaled(term: Any, coefficient: float) -> Any:
    """The term times a number."""
    return term if coefficient == 1 else coefficient * term
