"""Names of derivatives in a residual: u.t, u.xx, u.laplacian."""

from __future__ import annotations

from collections.abc import Sequence

from pyneural.ops import Derivative, Laplacian, LinearOperator
from pyneural.ops.caching import cached
from pyneural.ops.jet.derivatives import partials_of
from pyneural.pde.coordinates import TIME

HIGHEST = 4  # order of derivatives that jets have


@cached
def derivative_of(
    attribute: str, inputs: Sequence[str], parameters: Sequence[str] = ()
) -> Derivative | None:
    """Input indices that an attribute names, or None if it names no derivative.

    Coordinates of one letter stand side by side, longer ones are joined by underscores; the order
    does not matter. ``laplacian`` is the sum of the unmixed second derivatives over all inputs but
    the time t and parameters of the problem.

    >>> derivative_of("xt", ("t", "x")), derivative_of("radius_radius", ("radius",))
    ((0, 1), (0, 0))
    >>> derivative_of("laplacian", ("t", "x", "y"))
    Laplacian(1, 2)

    Raises:
        ValueError: an attribute that can be read in several ways, as ``xy`` where an input of that
            name stands beside x and y.
    """
    found = readings(attribute, inputs)
    if len(found) + (attribute == "laplacian") > 1:
        raise ambiguous(attribute, inputs)
    if attribute == "laplacian":
        others = (TIME, *parameters)
        spatial = [index for index, name in enumerate(inputs) if name not in others]
        if len(spatial) < 2:
            return (spatial[0], spatial[0]) if spatial else None
        return Laplacian(*spatial)
    return next(iter(found), None)


@cached
def readings(attribute: str, inputs: Sequence[str]) -> frozenset[tuple[int, ...]]:
    """All derivatives in inputs that an attribute may name.

    >>> sorted(readings("xy", ("x", "y", "xy"))), sorted(readings("x_low_t", ("t", "x_low")))
    ([(0, 1), (2,)], [(0, 1)])
    """
    parts = attribute.split("_")
    found = set[tuple[int, ...]]()
    for count in range(1, len(parts) + 1):
        first = "_".join(parts[:count])
        begins: list[tuple[int, ...]] = [(inputs.index(first),)] if first in inputs else []
        if count == 1 and first and all(letter in inputs for letter in first):
            begins.append(tuple(inputs.index(letter) for letter in first))
        rest = "_".join(parts[count:])
        ends = readings(rest, inputs) if count < len(parts) else [()]
        found |= {tuple(sorted((*begin, *end))) for begin in begins for end in ends}
    return frozenset(found)


def ambiguous(attribute: str, inputs: Sequence[str]) -> ValueError:
    """The error for an attribute that can be read in several ways."""
    return ValueError(
        f"residual: .{attribute}: expected a derivative that can be read in one way, got one that "
        f"may be several for the inputs {', '.join(inputs)}; rename an input"
    )


def name_of(derivative: Derivative, inputs: Sequence[str]) -> str:
    """The attribute that names a derivative.

    >>> name_of((0, 1), ("t", "x")), name_of((0, 0), ("radius",))
    ('tx', 'radius_radius')
    """
    if isinstance(derivative, LinearOperator):
        return "laplacian"
    names = [inputs[index] for index in derivative]
    return ("_" if any(len(name) > 1 for name in names) else "").join(names)


def normal_names(inputs: Sequence[str]) -> list[str]:
    """Names of the components of the unit normal.

    >>> normal_names(("x", "y")), normal_names(("radius",))
    (['nx', 'ny'], ['n_radius'])
    """
    return [f"n{name}" if len(name) == 1 else f"n_{name}" for name in inputs]


def unknown_attribute(field: str, attribute: str, inputs: Sequence[str]) -> ValueError:
    """The error for an attribute that names neither a derivative nor a tensor method."""
    return ValueError(
        f"residual: {field}.{attribute}: expected a derivative in {', '.join(inputs)} "
        f"({field}.{inputs[-1]}, {field}.{inputs[-1] * 2 if len(inputs[-1]) == 1 else inputs[-1]}, "
        f"{field}.laplacian) or a method of torch.Tensor, got {attribute!r}; "
        "use the names in the equation's inputs"
    )


@cached
def composed(outer: Derivative, inner: Derivative | None, output: str) -> Derivative:
    """The derivative ``outer`` of the derivative ``inner`` (None: the value) of an output.

    >>> composed((0,), (1, 1), "u"), composed(Laplacian(1, 2), (1,), "u")
    ((0, 1, 1), LinearOperator({(1, 1, 1): 1.0, (1, 2, 2): 1.0}))
    """
    if inner is None:
        joined = outer
    elif isinstance(outer, LinearOperator) or isinstance(inner, LinearOperator):
        sums: dict[tuple[int, ...], float] = {}
        for first, a in partials_of(outer):
            for second, b in partials_of(inner):
                indices = tuple(sorted((*first, *second)))
                sums[indices] = sums.get(indices, 0.0) + a * b
        joined = LinearOperator(sums)
    else:
        joined = tuple(sorted((*outer, *inner)))
    order = max(len(indices) for indices, _ in partials_of(joined))
    if order > HIGHEST:
        raise ValueError(
            f"residual: {output}: expected derivatives up to order {HIGHEST} in all, got order "
            f"{order}; make a lower derivative an output of the network: v - u.xx = 0"
        )
    return joined
