"""Tensors in a residual that know what they were computed from, and so their derivatives."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.ops import Derivative
from pyneural.ops.graph import tracked
from pyneural.ops.jet.derivatives import partials_of
from pyneural.pde.language.names import (
    ambiguous,
    composed,
    derivative_of,
    readings,
    unknown_attribute,
)
from pyneural.pde.language.normals import Normals
from pyneural.pde.language.numbers import CONVERSIONS, not_a_number, of_numpy
from pyneural.pde.language.operations import operation_of
from pyneural.pde.language.rules import SLOPES, Differentiator, Operation, plus, times

_SHAPES = ("getitem", "squeeze", "unsqueeze", "reshape", "view", "flatten", "select", "stack")
_LEAF, _MIXED = "leaf", "mixed"


class NeedsGraphError(Exception):
    """A derivative by nested autograd of expressions whose coordinates have no graph."""


class Context:
    """Where expressions are evaluated: at some points, with the derivatives of outputs there.

    Args:
        where: the name that an error begins with.
        points: [N, D].
        inputs: names of the D coordinates.
        parameters: those of them that are no part of the Laplacian.
        channel: gives a derivative (None: the value) of an output, a tensor of the shape.
        normals: unit normals for ``u.n``; None if there are none.
        shape: of the expressions; None for [N].
        tracked: whether coordinates and channels get a graph, which nested autograd needs.
        checked: numbers of the nested derivatives that are known to be taken point by point; the
            checks add to it.
        is_recording: whether the points are one in the place of any number.
    """

    def __init__(
        self,
        where: str,
        points: Tensor,
        inputs: Sequence[str],
        parameters: Sequence[str],
        channel: Callable[[Derivative | None, str], Tensor],
        *,
        normals: Normals | None = None,
        shape: Sequence[int] | None = None,
        tracked: bool = False,
        checked: set[Any] | None = None,
        is_recording: bool = False,
    ) -> None:
        self.where, self.points, self.inputs, self.parameters = where, points, inputs, parameters
        self.normals, self.tracked, self.is_recording = normals, tracked, is_recording
        self.shape = tuple(points.shape[:1] if shape is None else shape)
        self.checked = set() if checked is None else checked
        self.nested = 0  # derivatives taken by nested autograd
        self._channel = channel
        self._leaves: dict[Any, Expression] = {}
        self._gradients: dict[Any, tuple[Any, list[tuple[Expression, Expression]]]] = {}
        self._class = _class_of(tuple(inputs), tuple(parameters))
        self._differentiator = Differentiator(
            self._operation, self._of_leaf, self.is_fixed, _key, self._by_autograd
        )

    def output(self, name: str, derivative: Derivative | None = None) -> Expression:
        """An output of the network, or a derivative of it."""
        if (name, derivative) not in self._leaves:
            self._leaf((name, derivative), self._channel(derivative, name).view(self.shape))
        return self._leaves[name, derivative]

    def coordinate(self, index: int) -> Expression:
        """A column of the points."""
        if index not in self._leaves:
            self._leaf(index, self.points[:, index].view(self.shape))
        return self._leaves[index]

    def _leaf(self, key: Any, tensor: Tensor) -> None:
        if self.tracked and not tensor.requires_grad:
            tensor = tracked(tensor)
        self._leaves[key] = self.expression(tensor, (_LEAF, (key,)))

    def expression(self, tensor: Tensor, operation: Operation) -> Expression:
        """A tensor as the result of an operation."""
        made = tensor.as_subclass(self._class)
        made.context, made.operation, made.tensor = self, operation, tensor
        made.version, made.versions = _version(tensor), tuple(map(_version, operation[1]))
        return made

    def derivative(self, value: Any, wanted: Derivative) -> Expression:
        """A derivative of an expression, or of a tensor computed from expressions."""
        return self._expanded(self.differentiated(value, wanted))

    def normal(self, axis: int) -> Tensor:
        """A component of the unit normals."""
        if self.normals is None:
            raise ValueError(
                f"{self.where}: .n: expected points with normals, got some without; draw them on "
                "the boundary of a domain, or give normals="
            )
        return self.normals.columns[:, axis].view(self.shape)

    def along_normal(self, value: Any, derivative: Callable[[Any, Derivative], Any]) -> Any:
        """The derivative of a value along the unit normals, du/dn = sum_d n_d du/dx_d."""
        axes = (0,) if self.normals is None else self.normals.axes
        total: Any = 0.0
        for axis in axes:
            total = plus(total, derivative(value, (axis,)) * self.normal(axis))
        return total

    def leaves(self) -> list[Tensor]:
        """The outputs, derivatives and coordinates that were asked for."""
        return [leaf.tensor for leaf in self._leaves.values()]

    def differentiated(self, value: Any, wanted: Derivative) -> Any:
        """As ``derivative``; a number where it is the same at all points."""
        return self._differentiator.derivative(value, wanted)

    def attribute(self, value: Expression, attribute: str) -> Expression:
        """The derivative of an expression that an attribute names."""
        if value.dtype == torch.bool:
            raise ValueError(
                f"{self.where}: .{attribute}: expected a derivative of numbers, got that of a "
                "comparison; differentiate the branches of torch.where, or the factors"
            )
        wanted = derivative_of(attribute, self.inputs, self.parameters)
        if wanted is not None:
            if attribute == "n" and self.normals is not None:
                raise ambiguous(attribute, self.inputs)
            return self.derivative(value, wanted)
        if attribute == "n":
            return self._expanded(self.along_normal(value, self.derivative))
        kind, operands = value.operation
        name = operands[0][0] if kind == _LEAF and isinstance(operands[0], tuple) else "expression"
        raise unknown_attribute(name, attribute, self.inputs)

    def is_fixed(self, value: Any) -> bool:
        """Whether an operand is the same at all points."""
        if not isinstance(value, Tensor):
            return True
        if isinstance(value, Expression):
            return False
        # Of a single point, any function of coordinates has one element.
        of_point = value.requires_grad and value.shape == self.shape and self.tracked
        return value.numel() == 1 and not of_point

    def _expanded(self, value: Any) -> Expression:
        if not isinstance(value, Expression):
            full = self.points.new_zeros(self.shape) + value
            return self.expression(full, ("constant", ()))
        return value

    def _operation(self, value: Any) -> Operation | None:
        if not isinstance(value, Expression):
            return "tensor", ()
        if value.context is not self or value.operation[0] == _MIXED:
            raise ValueError(
                f"{self.where}: derivative: expected an expression at one set of points, got one "
                "of several; take the derivatives first, and then their difference"
            )
        if value.operation[0] == _LEAF:
            return None
        name, operands = value.operation
        if value.versions != tuple(map(_version, operands)):
            raise ValueError(
                f"{self.where}: derivative: expected operands of {name!r} as they were, got one "
                "that was changed in place since; write a = a + b, or change a clone of it"
            )
        # What was changed through a view of it has no rule any more.
        return value.operation if value.version == _version(value) else (f"{name}, changed", ())

    def _of_leaf(self, value: Expression, wanted: Derivative) -> Any:
        (key,) = value.operation[1]
        if isinstance(key, tuple):
            name, derivative = key
            return self.output(name, composed(wanted, derivative, name))
        slopes = [c for indices, c in partials_of(wanted) if indices == (key,)]
        return float(sum(slopes))

    def _by_autograd(self, value: Any, index: int) -> Any:
        """A first derivative of what an operation without a rule gave, by nested autograd."""
        total: Any = 0.0
        for leaf, slope in self._slopes(value):
            inner = self._differentiator.derivative(leaf, (index,))
            total = plus(total, times(slope, inner))
        return total

    def _slopes(self, value: Any) -> list[tuple[Expression, Expression]]:
        """The expressions at hand that a value was computed from, and its slope in each."""
        key = _key(value)
        if key in self._gradients:
            return self._gradients[key][1]
        if isinstance(value, Tensor) and value.is_complex():
            raise ValueError(
                f"{self.where}: derivative: expected one of real numbers, got one of complex ones; "
                "differentiate the real and the imaginary part, as torch.complex(u.t, v.t)"
            )
        if not self.tracked:
            raise NeedsGraphError
        tensor, leaves = plain(value), list(self._leaves.values())
        name = value.operation[0] if isinstance(value, Expression) else "tensor"
        found: list[tuple[Expression, Tensor]] = []
        if tensor.requires_grad:
            found = self._gradient(tensor.sum(), leaves)
        if not found and name != "slope" and tensor.numel() != 1:
            raise ValueError(
                f"{self.where}: derivative: expected one of outputs, inputs and functions of them, "
                f"got that of a tensor {list(tensor.shape)} whose dependence on them is not known; "
                "compute it from the inputs in torch, or give its derivative as a tensor too"
            )
        if found:
            self._check_pointwise(tensor, name, _origin(value), found)
        self.nested += 1
        slopes = [(leaf, self.expression(slope, ("slope", ()))) for leaf, slope in found]
        self._gradients[key] = value, slopes
        return slopes

    def _gradient(
        self, total: Tensor, leaves: Sequence[Expression]
    ) -> list[tuple[Expression, Tensor]]:
        tensors = [leaf.tensor for leaf in leaves]
        slopes = torch.autograd.grad(total, tensors, create_graph=True, allow_unused=True)
        return [(leaf, s) for leaf, s in zip(leaves, slopes, strict=True) if s is not None]

    def _check_pointwise(
        self, tensor: Tensor, name: str, origin: str, found: list[tuple[Expression, Tensor]]
    ) -> None:
        """ValueError where values at one point depend on other points, as those of a mean do.

        Then the gradient of a weighted sum is not the weights times that of the sum.
        """
        alike = self.is_recording and tensor.dim() == len(self.shape)
        is_pointwise = alike or tensor.shape == self.shape
        if is_pointwise and self.nested not in self.checked and tensor.numel() > 1:
            numbers = torch.arange(tensor.numel(), device=tensor.device, dtype=tensor.dtype)
            weights = 1.5 + torch.sin(1.7 * numbers).view(self.shape)
            pairs = dict(self._gradient((tensor * weights).sum(), [leaf for leaf, _ in found]))
            is_pointwise = all(
                torch.allclose(pairs[leaf], weights * slope, rtol=1e-3, atol=1e-6, equal_nan=True)
                for leaf, slope in found
            )
            self.checked.add(self.nested)
            if is_pointwise and name != "slope":
                kind = "a function outside torch" if origin == "tensor" else f"{origin!r}"
                warnings.warn(
                    f"{self.where}: derivative: {kind} has no rule, so that nested autograd "
                    "differentiates it, which takes more time and memory; write it with "
                    "operations that have one (arithmetic, powers, exp, sin, erf, where, ...)",
                    stacklevel=2,
                )
        if not is_pointwise:
            raise ValueError(
                f"{self.where}: derivative: expected an expression of the values at each point, "
                f"got {origin!r} of {list(tensor.shape)}, which joins points; differentiate first: "
                "u.x.mean()"
            )


class Expression(Tensor):
    """A tensor [N] at points, whose attributes are its derivatives: (u * v).xx, torch.exp(u).t.

    It is a tensor for all of torch; what torch computes from it is one again. An attribute made of
    names of inputs is a derivative even where torch.Tensor has a method of that name (``u.t``).
    """

    context: Context
    operation: Operation
    tensor: Tensor
    version: int  # of the tensor, which operations in place on a view of it count up
    versions: tuple[int, ...]  # of the operands

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_") or attribute in ("context", "operation", "tensor"):
            raise AttributeError(attribute)
        return self.context.attribute(self, attribute)

    # u += v names a new expression, and leaves what u was as it is.
    __iadd__, __isub__, __imul__ = Tensor.__add__, Tensor.__sub__, Tensor.__mul__
    __itruediv__, __ipow__ = Tensor.__truediv__, Tensor.__pow__  # type: ignore[assignment]

    def __array_ufunc__(self, ufunc: Any, method: str, *operands: Any, **options: Any) -> Any:
        return of_numpy(self.context.where, ufunc, operands)

    @classmethod
    def __torch_function__(
        cls, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if not all(issubclass(kind, Tensor) for kind in types):
            return NotImplemented  # a symbol decides
        kwargs, name = kwargs or {}, getattr(function, "__name__", "an operation")
        found = list(_expressions((args, *kwargs.values())))
        contexts = {id(e.context): e.context for e in found}
        context = next(iter(contexts.values()))
        if name in CONVERSIONS and args[0].shape == context.shape:
            raise not_a_number(context.where, name)
        if name == "where" and len(args) == 3 and not any(isinstance(a, Tensor) for a in args[1:]):
            args = (*args[:2], context.points.new_tensor(args[2]))
        in_place = (name.endswith("_") and not name.endswith("__")) or name == "__setitem__"
        if in_place:
            _check_changeable(args[0], name)
        result = function(*plain(args), **{key: plain(value) for key, value in kwargs.items()})
        if in_place and isinstance(args[0], Expression):
            args[0].operation, args[0].versions = (name, ()), ()
            args[0].version = _version(args[0])
            return args[0]
        if name in ("__set__", "__get__"):
            return result
        # In a torch.autograd.Function, or where the user wants no gradient, the result is for
        # autograd to tell about, not for the rules.
        if not torch.is_grad_enabled() and any(e.tensor.requires_grad for e in found):
            return result
        operation = operation_of(name, args, kwargs) if len(contexts) == 1 else (_MIXED, ())
        return _wrapped(result, context, operation)


def plain(value: Any) -> Any:
    """The value with every expression in it, lists and tuples included, replaced by its tensor."""
    if isinstance(value, Expression):
        return value.tensor
    if type(value) in (list, tuple):
        return type(value)(map(plain, value))
    return value


def _version(value: Any) -> int:
    """How often a tensor was changed in place."""
    tensor = value.tensor if isinstance(value, Expression) else value
    return tensor._version if isinstance(tensor, Tensor) and not tensor.is_inference() else 0


def _key(value: Any) -> tuple[int, int]:
    """Identifies a value as it is now."""
    return id(value), _version(value)


def _check_changeable(value: Any, name: str) -> None:
    """ValueError for an operation in place on what others use too."""
    if isinstance(value, Expression) and value.operation[0] == _LEAF:
        raise ValueError(
            f"{value.context.where}: {name}: expected outputs, derivatives and inputs to stay as "
            "they are, got an operation in place; write u = u + v, or clone it first"
        )


def _origin(value: Any) -> str:
    """The name of the operation that made a value, before it was only reshaped."""
    name, operands = value.operation if isinstance(value, Expression) else ("tensor", ())
    inner = next(_expressions(operands), None) if name in _SHAPES else None
    if inner is None or inner.operation[0] in (_LEAF, *SLOPES):
        return name
    return _origin(inner)


def _wrapped(result: Any, context: Context, operation: Operation) -> Any:
    if isinstance(result, Tensor):
        return context.expression(result, operation)
    if isinstance(result, (list, tuple)):
        several = [_wrapped(r, context, ("element", ())) for r in result]
        return several if type(result) is list else tuple(several)
    return result


def _expressions(value: Any) -> Iterator[Expression]:
    if isinstance(value, Expression):
        yield value
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _expressions(one)


@functools.cache
def _class_of(inputs: tuple[str, ...], parameters: tuple[str, ...]) -> type[Expression]:
    """Expressions whose derivatives come before methods of torch.Tensor of the same name."""

    def derivative(name: str) -> property:
        return property(lambda self: self.context.attribute(self, name))

    names = [n for n in dir(Tensor) if n[0] != "_" and readings(n, inputs)]
    return type("Expression", (Expression,), {name: derivative(name) for name in names})
