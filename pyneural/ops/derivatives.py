"""How derivatives are written by a user, and the flat list of integers that the kernels read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pyneural.ops.caching import cached


@dataclass(frozen=True, init=False, repr=False)
class Laplacian:
    """Sum of the unmixed second derivatives over some inputs.

        Laplacian(i, j, ...) u = d^2 u / dx_i^2 + d^2 u / dx_j^2 + ...

    It travels through the network as one channel beside the first derivatives, whatever the number
    of inputs (Li et al. 2023, "Forward Laplacian"; Dangel et al. 2025, "Collapsing Taylor mode
    automatic differentiation"), so that it costs less than the second derivatives it sums.

    Args:
        indices: columns of x, all different.

    Example:
        >>> Laplacian(1, 2)
        Laplacian(1, 2)
    """

    indices: tuple[int, ...]

    def __init__(self, *indices: int) -> None:
        object.__setattr__(self, "indices", indices)

    def __repr__(self) -> str:
        return f"Laplacian({', '.join(map(str, self.indices))})"


Derivative = tuple[int, ...] | Laplacian


def encode(op: str, derivatives: Iterable[Derivative]) -> tuple[int, ...]:
    """The derivatives as a flat list: each one's order and its input indices.

    A Laplacian is written as minus the number of its indices, and them.

    Args:
        op: name of the op, for the error.
        derivatives: tuples of input indices and Laplacians.

    Raises:
        ValueError: something else among them; what the integers may be is checked by the kernels.

    Example:
        >>> encode("jet_mlp", [(0,), (1, 1), Laplacian(1, 2)])
        (1, 0, 2, 1, 1, -2, 1, 2)
    """
    try:
        return _encode(op, tuple(derivatives))
    except TypeError:  # not iterable, or lists, which have no hash
        raise _not_derivatives(op, derivatives) from None


# Hashing is several times faster than the loop, and at small sizes that counts.
@cached
def _encode(op: str, derivatives: tuple[Derivative, ...]) -> tuple[int, ...]:
    flat: list[int] = []
    for derivative in derivatives:
        indices = derivative.indices if isinstance(derivative, Laplacian) else derivative
        if not isinstance(indices, tuple) or not indices:
            raise _not_derivatives(op, derivative)
        if not all(isinstance(index, int) for index in indices):
            raise _not_derivatives(op, derivative)
        flat += [len(indices) if indices is derivative else -len(indices), *indices]
    return tuple(flat)


def decode(flat: Sequence[int]) -> tuple[Derivative, ...]:
    """The derivatives of a flat list, the inverse of ``encode``.

    >>> decode((1, 0, -2, 1, 2))
    ((0,), Laplacian(1, 2))
    """
    derivatives: list[Derivative] = []
    at = 0
    while at < len(flat):
        indices = tuple(flat[at + 1 : at + 1 + abs(flat[at])])
        derivatives.append(indices if flat[at] > 0 else Laplacian(*indices))
        at += 1 + len(indices)
    return tuple(derivatives)


def count(flat: Sequence[int]) -> int:
    """The number of derivatives in a flat list.

    >>> count((1, 0, 2, 1, 1, -2, 1, 2))
    3
    """
    found = at = 0
    while at < len(flat):
        at += 1 + abs(flat[at])
        found += 1
    return found


def _not_derivatives(op: str, got: object) -> ValueError:
    return ValueError(
        f"{op}: derivatives: expected tuples of input indices, such as (0,) and (1, 1), or "
        f"Laplacian(1, 2), got {got!r}; write [(0,), (1, 1)] for u_t and u_xx of x = (t, x); "
        "u itself always comes first"
    )
