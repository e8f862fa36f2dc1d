"""How derivatives are written by a user, and the text that the kernels read."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from pyneural.ops.caching import cached


class LinearOperator:
    """A sum of partial derivatives with constant coefficients.

        L u = sum_k c_k d^(alpha_k) u,  LinearOperator({alpha_1: c_1, alpha_2: c_2, ...})

    It travels through the network as one channel, whatever the number of its derivatives: only the
    lower derivatives in their Faà di Bruno terms need channels of their own. So u_t - nu u_xx costs
    the channels u, u_x and itself where u_t and u_xx cost one more (Li et al. 2023, "Forward
    Laplacian"; Dangel et al. 2025, "Collapsing Taylor mode automatic differentiation").

    Args:
        coefficients: of each partial derivative, given by its input indices.

    Raises:
        ValueError: no derivatives, something else than tuples of indices, or a coefficient that is
            not finite or is to be learnt.

    Example:
        >>> LinearOperator({(0,): 1, (1, 1): -0.5})  # u_t - u_xx / 2 of x = (t, x)
        LinearOperator({(0,): 1.0, (1, 1): -0.5})
    """

    __slots__ = ("partials", "text")

    partials: tuple[tuple[tuple[int, ...], float], ...]  # sorted; each one's indices, coefficient
    text: str  # as ``encode`` writes it; here, since torch.compile formats no numbers

    def __init__(self, coefficients: Mapping[tuple[int, ...], float]) -> None:
        if not isinstance(coefficients, Mapping) or not coefficients:
            raise ValueError(
                "LinearOperator: coefficients: expected a dict of at least one derivative, got "
                f"{coefficients!r}; write u_t - u_xx as {{(0,): 1, (1, 1): -1}}"
            )
        sums: dict[tuple[int, ...], float] = {}
        for indices, coefficient in coefficients.items():
            partial = _partial(indices)
            if partial is None:
                raise ValueError(
                    f"LinearOperator: coefficients: expected tuples of input indices, such as (0,) "
                    f"and (1, 1), got {indices!r}; write u_t - u_xx as {{(0,): 1, (1, 1): -1}}"
                )
            key = tuple(sorted(partial))
            sums[key] = sums.get(key, 0.0) + _constant(coefficient, partial)
            if not math.isfinite(sums[key]):
                raise ValueError(
                    f"LinearOperator: coefficients: expected finite numbers, got "
                    f"{sums[key]} for {partial}; leave a derivative out instead"
                )
        self.partials = tuple(sorted(sums.items()))
        self.text = ", ".join(f"{c!r}*{_text(indices)}" for indices, c in self.partials)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LinearOperator) and self.partials == other.partials

    def __hash__(self) -> int:
        return hash(self.partials)

    def __repr__(self) -> str:
        return f"LinearOperator({dict(self.partials)})"


class Laplacian(LinearOperator):
    """Sum of the unmixed second derivatives over some inputs.

        Laplacian(i, j, ...) u = d^2 u / dx_i^2 + d^2 u / dx_j^2 + ...

    Args:
        indices: columns of x, all different.

    Raises:
        ValueError: no indices, or one that is there twice.

    Example:
        >>> Laplacian(1, 2) == LinearOperator({(1, 1): 1, (2, 2): 1})
        True
    """

    __slots__ = ()

    def __init__(self, *indices: int) -> None:
        if not indices or _partial(indices) is None or len(set(indices)) < len(indices):
            raise ValueError(
                "Laplacian: indices: expected one or several input indices, all different, got "
                f"{indices}; name every input once"
            )
        super().__init__({(index, index): 1.0 for index in indices})

    def __repr__(self) -> str:
        return f"Laplacian({', '.join(str(indices[0]) for indices, _ in self.partials)})"


Derivative = tuple[int, ...] | LinearOperator


def partials_of(derivative: Derivative) -> tuple[tuple[tuple[int, ...], float], ...]:
    """The partial derivatives that a derivative sums, with their coefficients.

    >>> partials_of((1, 0)), partials_of(Laplacian(1))
    ((((0, 1), 1.0),), (((1, 1), 1.0),))
    """
    if isinstance(derivative, LinearOperator):
        return derivative.partials
    return ((tuple(sorted(derivative)), 1.0),)


def encode(op: str, derivatives: Iterable[Derivative]) -> str:
    """The derivatives as the text that the kernels read, csrc/jet/derivatives.h.

    Args:
        op: name of the op, for the error.
        derivatives: tuples of input indices and linear operators.

    Raises:
        ValueError: something else among them; what the integers may be is checked by the kernels.

    Example:
        >>> encode("jet_mlp", [(0,), (1, 1), Laplacian(1, 2)])
        '0; 1 1; 1.0*1 1, 1.0*2 2'
    """
    try:
        return _encode(op, tuple(derivatives))
    except TypeError:  # not iterable, or lists, which have no hash
        raise _not_derivatives(op, derivatives) from None


# Hashing is several times faster than the loop, and at small sizes that counts.
@cached
def _encode(op: str, derivatives: tuple[Derivative, ...]) -> str:
    texts: list[str] = []
    for derivative in derivatives:
        if isinstance(derivative, LinearOperator):
            texts.append(derivative.text)
        else:
            partial = _partial(derivative)
            if partial is None:
                raise _not_derivatives(op, derivative)
            texts.append(_text(partial))
    return "; ".join(texts)


def _text(indices: tuple[int, ...]) -> str:
    return " ".join(map(str, indices))


def _partial(indices: object) -> tuple[int, ...] | None:
    """Input indices as plain integers; None where that is not what they are."""
    if not isinstance(indices, tuple) or not indices:
        return None
    try:
        return tuple(map(operator.index, indices))
    except TypeError:
        return None


def _constant(coefficient: Any, partial: tuple[int, ...]) -> float:
    if isinstance(coefficient, Tensor) and coefficient.requires_grad:
        raise ValueError(
            f"LinearOperator: coefficients: expected constants, got a tensor that requires a "
            f"gradient for {partial}; ask for the derivative by itself and multiply: nu * u_xx"
        )
    try:
        return float(coefficient)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise ValueError(
            f"LinearOperator: coefficients: expected numbers, got {coefficient!r} for {partial}; "
            "give each derivative one real number"
        ) from None


@cached
def decode(text: str) -> tuple[Derivative, ...]:
    """The derivatives of a text, the inverse of ``encode``.

    >>> decode("0; 2.0*0, -0.5*1 1")
    ((0,), LinearOperator({(0,): 2.0, (1, 1): -0.5}))
    """

    def indices(part: str) -> tuple[int, ...]:
        return tuple(map(int, part.split()))

    derivatives: list[Derivative] = []
    for part in text.split(";") if text else []:
        if "*" in part:
            products = (product.split("*") for product in part.split(","))
            derivatives.append(LinearOperator({indices(p): float(c) for c, p in products}))
        else:
            derivatives.append(indices(part))
    return tuple(derivatives)


def count(text: str) -> int:
    """The number of derivatives in a text.

    >>> count("0; 1 1; 1.0*1 1, 1.0*2 2"), count("")
    (3, 0)
    """
    return text.count(";") + 1 if text else 0


def _not_derivatives(op: str, got: object) -> ValueError:
    return ValueError(
        f"{op}: derivatives: expected tuples of input indices, such as (0,) and (1, 1), or "
        f"Laplacian(1, 2), got {got!r}; write [(0,), (1, 1)] for u_t and u_xx of x = (t, x); "
        "u itself always comes first"
    )
