"""An output of the network inside a residual: a tensor whose attributes are its derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from pyneural.ops import Derivative, Laplacian, LinearOperator
from pyneural.pde.coordinates import TIME


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
    """
    if attribute == "laplacian":
        others = (TIME, *parameters)
        spatial = [index for index, name in enumerate(inputs) if name not in others]
        if len(spatial) < 2:
            return (spatial[0], spatial[0]) if spatial else None
        return Laplacian(*spatial)
    indices: list[int] = []
    for part in attribute.split("_"):
        names = [part] if part in inputs else list(part)
        if not names or any(name not in inputs for name in names):
            return None
        indices += [inputs.index(name) for name in names]
    return tuple(sorted(indices))


def name_of(derivative: Derivative, inputs: Sequence[str]) -> str:
    """The attribute that names a derivative.

    >>> name_of((0, 1), ("t", "x")), name_of((0, 0), ("radius",))
    ('tx', 'radius_radius')
    """
    if isinstance(derivative, LinearOperator):
        return "laplacian"
    names = [inputs[index] for index in derivative]
    return ("_" if any(len(name) > 1 for name in names) else "").join(names)


def unknown_attribute(field: str, attribute: str, inputs: Sequence[str]) -> ValueError:
    """The error for an attribute that names neither a derivative nor a tensor method."""
    return ValueError(
        f"residual: {field}.{attribute}: expected a derivative in {', '.join(inputs)} "
        f"({field}.{inputs[-1]}, {field}.{inputs[-1] * 2 if len(inputs[-1]) == 1 else inputs[-1]}, "
        f"{field}.laplacian) or a method of torch.Tensor, got {attribute!r}; "
        "use the names in the equation's inputs"
    )


class Field:
    """A tensor [N] that gives its derivatives, [N] each, by attribute: u.t, u.x, u.xx, u.laplacian.

    Arithmetic, torch functions and tensor methods see the tensor itself and return plain tensors.
    An attribute made of names of inputs is a derivative even where torch.Tensor has a method of
    that name (``u.t``).

    Args:
        name: name of the output.
        value: the output at the points, [N].
        inputs: names of the inputs.
        derivative: gives the tensor [N] of a derivative.
        parameters: those of the inputs that are no part of the Laplacian, nor is t.

    >>> import torch
    >>> u = Field("u", torch.ones(2), ("t", "x"), lambda indices: torch.full((2,), 3.0))
    >>> (torch.exp(0 * u) + u.x * u.sum()).tolist()
    [7.0, 7.0]
    """

    __array_ufunc__ = None  # numpy scalars leave the arithmetic to this class

    def __init__(
        self,
        name: str,
        value: Tensor,
        inputs: Sequence[str],
        derivative: Callable[[Derivative], Tensor],
        parameters: Sequence[str] = (),
    ) -> None:
        self._name, self._value = name, value
        self._inputs, self._derivative, self._parameters = inputs, derivative, parameters

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):
            raise AttributeError(attribute)
        asked = derivative_of(attribute, self._inputs, self._parameters)
        if asked is not None:
            return self._derivative(asked)
        if hasattr(self._value, attribute):
            return getattr(self._value, attribute)
        raise unknown_attribute(self._name, attribute, self._inputs)

    @classmethod
    def __torch_function__(
        cls, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = {key: plain(value) for key, value in (kwargs or {}).items()}
        return function(*plain(args), **kwargs)


def plain(value: Any) -> Any:
    """The value with every Field in it, lists and tuples included, replaced by its tensor."""
    if isinstance(value, Field):
        return value._value
    if isinstance(value, (list, tuple)):
        return type(value)(plain(item) for item in value)
    return value


def _on_tensor(name: str) -> Callable:
    method = getattr(Tensor, name)

    def apply(self: Field, *operands: Any) -> Any:
        return method(self._value, *plain(operands))

    return apply


for _name in [
    *["add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "floordiv", "rfloordiv"],
    *["mod", "pow", "rpow", "matmul", "neg", "pos", "abs", "lt", "le", "gt", "ge", "eq", "ne"],
    *["and", "or", "xor", "invert", "bool", "float", "int", "len", "getitem"],
]:
    setattr(Field, f"__{_name}__", _on_tensor(f"__{_name}__"))
