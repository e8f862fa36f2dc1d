"""Arithmetic on the outputs of a network, left for the residual program that reads them.

u = A + B N and the like: a derivative of u is a sum of products of derivatives of A, B and N
(Leibniz' rule, Faà di Bruno's formula). Those of N are channels of the kernel, those of A and B
columns, and the sum becomes instructions of the program.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.nn.jets.algebra import composed_channel, product_channel, quotient_channel
from pyneural.nn.jets.elementwise import UNARY
from pyneural.nn.jets.jet import Jet, call_rule
from pyneural.nn.jets.space import Program, Space
from pyneural.ops.jet.derivatives import Derivative
from pyneural.ops.jet.recorder import Symbol

# Functions whose derivatives are made of functions that residual programs have.
_FUNCTIONS = ("tanh", "sin", "cos", "exp", "log", "square", "reciprocal")
_MOVES = ("getitem", "select", "narrow", "unbind", "split", "chunk", "squeeze", "unsqueeze")
_RESHAPES = ("view", "reshape", "flatten")


class Column:
    """The channels of one output as symbols, each made when it is first asked for.

    Args:
        make: gives the symbol of a channel; () is the value. None where it is zero.
    """

    def __init__(self, make: Callable[[Derivative], Symbol | float | None]) -> None:
        self._make = make
        self._made: dict[Derivative, Any] = {}

    def get(self, channel: Derivative) -> Any:
        """The symbol of a channel, None where it is zero."""
        if channel not in self._made:
            self._made[channel] = self._make(channel)
        return self._made[channel]

    def __contains__(self, channel: Derivative) -> bool:
        return self.get(channel) is not None

    def __getitem__(self, channel: Derivative) -> Any:
        return self.get(channel)


class Expression(Jet):
    """Columns made of the outputs of a network that is not computed yet.

    Args:
        network: the ``Chain``.
        shape: [N] or [N, O].
        columns: O of them, or one.
        compute: the same as a jet, with the network computed.
    """

    @staticmethod
    def __new__(cls, network: Any, shape: Sequence[int], *args: Any) -> Any:  # noqa: D102
        return Tensor._make_wrapper_subclass(
            cls, tuple(shape), dtype=network.dtype, device=network.device
        )

    def __init__(
        self, network: Any, shape: Sequence[int], columns: Sequence[Column],
        compute: Callable[[], Jet],
    ) -> None:  # fmt: skip
        self.space, self.at, self.marks, self.has_views = network.space, 0, None, False
        self._size, self._kind = torch.Size(shape), network.dtype
        self.network, self.columns, self._compute = network, list(columns), compute
        self._settled: Jet | None = None

    @classmethod
    def of_network(cls, network: Any, outputs: int) -> Expression:
        """The outputs themselves."""
        program = network.space.recorder

        def column(output: int) -> Column:
            def make(channel: Derivative) -> Symbol | None:
                known = network.derivative(channel) if channel else None
                if channel and known is None:
                    return None
                return program.symbol(program.channel(known, output))

            return Column(make)

        columns = [column(output) for output in range(outputs)]
        return cls(network, network.shape, columns, lambda: network)

    def parts(self) -> tuple[Tensor, dict[Derivative, Tensor]]:
        """The value and the derivatives that are not zero: here they are computed."""
        if self._settled is None:
            self._settled = self._compute()
        return self._settled.parts()

    def settle(self, result: Jet) -> None:
        """Takes over what another jet is, as an operation in place does."""
        self._settled = result

    def absorb(self, name: str, args: tuple, kwargs: dict) -> Any:
        """The result, where it is an expression too."""
        return None if self._settled is not None else fused(self, name, args, kwargs)

    def expression(self) -> Expression | None:
        """Itself."""
        return self if self._settled is None else None


def fused(own: Expression, name: str, args: tuple, kwargs: dict) -> Any:
    """The result of an operation on an expression as an expression; None where it is none.

    Args:
        own: one of the arguments, or what stands for one of them that is a network.
        name: of the operation.
        args: its arguments.
        kwargs: likewise.
    """
    if name in ("cat", "stack"):
        return _joined(own, name, args, kwargs)
    if kwargs:
        return None
    if name in _MOVES or name in _RESHAPES:
        return _moved(own, name, args)
    if name in _FUNCTIONS or name == "neg" or (name == "pow" and _is_power(args)):
        return _function(own, name, args)
    if name in ("add", "sub", "rsub", "mul", "div", "rdiv") and len(args) == 2:
        if name in ("rsub", "rdiv"):
            name, args = name[1:], args[::-1]
        return _arithmetic(own, name, args)
    return None


def _is_power(args: tuple) -> bool:
    return len(args) == 2 and isinstance(args[1], int) and 1 <= args[1] <= 8


def _later(name: str, args: tuple, kwargs: dict, index: int | None = None) -> Callable[[], Jet]:
    """Computes the operation as a jet when that is needed."""
    kept = _kept(args)

    def compute() -> Jet:
        known = _computed(kept)
        result = call_rule(name, known, kwargs, [])
        return result if index is None else result[index]

    return compute


def _kept(argument: Any) -> Any:
    """An argument as it is now, whatever is done to it in place."""
    if isinstance(argument, (list, tuple)):
        return type(argument)(_kept(part) for part in argument)
    if type(argument) is Jet:
        return argument.snapshot()
    if isinstance(argument, Jet):
        argument.has_views = True  # nothing is done to it in place
    return argument


def _computed(argument: Any) -> Any:
    """An argument with the network computed."""
    if isinstance(argument, (list, tuple)):
        return type(argument)(_computed(part) for part in argument)
    return argument.snapshot() if isinstance(argument, Jet) else argument


def _function(own: Expression, name: str, args: tuple) -> Expression:
    plan = own.space.plan

    def column(z: Column) -> Column:
        f: list[Any] = []

        def make(channel: Derivative) -> Any:
            if name == "neg":
                return None if z.get(channel) is None else -z[channel]
            if name == "pow":
                return product_channel(channel, [z] * args[1], _product)
            if not f:
                f.extend(UNARY[name](z[()], plan.order))
            return composed_channel(plan.channels[channel], f, z) if channel else f[0]

        return Column(make)

    columns = [column(z) for z in own.columns]
    return Expression(own.network, own.shape, columns, _later(name, args, {}))


def _product(*factors: Any) -> Any:
    result = factors[0]
    for factor in factors[1:]:
        result = result * factor
    return result


def _arithmetic(own: Expression, name: str, args: tuple) -> Expression | None:
    shapes = [a.shape if isinstance(a, Tensor) else () for a in args]
    # What does not fit is an error here, as in torch.
    shape = own.shape if own.shape in shapes and () in shapes else torch.broadcast_shapes(*shapes)
    count = shape[1] if len(shape) == 2 else 1
    if len(shape) != own.dim() or shape[0] != own.space.count:
        return None
    sides = [columns_of(own, argument, len(shape), count) for argument in args]
    if sides[0] is None or sides[1] is None:
        return None
    columns = [_OPERATIONS[name](a, b) for a, b in zip(*sides, strict=True)]
    return Expression(own.network, shape, columns, _later(name, args, {}))


def _sum(sign: int) -> Callable[[Column, Column], Column]:
    def of(a: Column, b: Column) -> Column:
        def make(channel: Derivative) -> Any:
            first, second = a.get(channel), b.get(channel)
            if second is None:
                return first
            if first is None:
                return second if sign > 0 else -second
            return first + second if sign > 0 else first - second

        return Column(make)

    return of


def _times(a: Column, b: Column) -> Column:
    return Column(lambda channel: product_channel(channel, [a, b], operator.mul))


def _over(a: Column, b: Column) -> Column:
    quotient: Column

    def make(channel: Derivative) -> Any:
        if channel == ():
            return a[()] / b[()]
        return quotient_channel(channel, quotient, a, b)

    quotient = Column(make)
    return quotient


_OPERATIONS = {"add": _sum(1), "sub": _sum(-1), "mul": _times, "div": _over}


def columns_of(own: Expression, argument: Any, dims: int, count: int) -> list[Column] | None:
    """An argument as so many columns; None for one that has none."""
    if not isinstance(argument, Tensor):
        return [_number(float(argument))] * count
    expression = argument.expression() if isinstance(argument, Jet) else None
    if expression is not None and expression.network is own.network:
        found = expression.columns
    elif isinstance(argument, Jet):
        if argument.at != 0 or argument.dim() != dims:
            return None
        found = _of_jet(argument)
    else:
        return _of_tensor(own.space, argument, dims, count)
    return found * count if len(found) == 1 else found


def _number(value: float) -> Column:
    return Column(lambda channel: None if channel else value)


def _of_jet(jet: Jet) -> list[Column]:
    program: Program = jet.space.recorder  # type: ignore[assignment]
    channels, units = jet.all_channels(), jet.space.units
    index = None if jet.marks is None or not len(jet.marks) else jet.marks[0].reshape(-1)

    def column(output: int) -> Column:
        def make(channel: Derivative) -> Any:
            if channel not in channels:
                return None
            if index is not None and channel:
                return float(units[channel][index[output]]) or None
            values = channels[channel] if jet.dim() == 1 else channels[channel][:, output]
            return program.values(values)

        return Column(make)

    return [column(output) for output in range(jet.shape[1] if jet.dim() == 2 else 1)]


def _of_tensor(space: Space, tensor: Tensor, dims: int, count: int) -> list[Column] | None:
    program: Program = space.recorder  # type: ignore[assignment]
    if tensor.is_complex():
        return None
    per_point = tensor.dim() == dims and tensor.shape[0] == space.count > 1
    if per_point:
        rows = [tensor] if dims == 1 else list(tensor.unbind(1))
        found = [_constant(program.values, row) for row in rows]
    elif tensor.numel() in (1, count):
        found = [_constant(lambda v: _coefficient(program, v), v) for v in tensor.reshape(-1)]
    else:
        return None
    return found * count if len(found) == 1 else found


def _coefficient(program: Program, value: Tensor) -> Symbol:
    return program.symbol(program.operand(value))


def _constant(symbol: Callable[[Tensor], Symbol], values: Tensor) -> Column:
    return Column(lambda channel: None if channel else symbol(values))


def _moved(own: Expression, name: str, args: tuple) -> Any:
    """Columns taken out or put side by side."""
    numbers = torch.arange(len(own.columns))
    marked = (numbers if own.dim() == 2 else numbers[0]).expand(own.shape)
    result = getattr(Tensor, "__getitem__" if name == "getitem" else name)(marked, *args[1:])
    several = result if isinstance(result, (tuple, list)) else (result,)
    count = own.space.count
    parts = []
    for index, part in enumerate(several):
        if part.dim() not in (1, 2) or part.shape[0] != count or part.numel() == 0:
            return None
        if name in _RESHAPES and part.numel() != own.numel():
            return None
        if part.dim() == 2 or len(own.columns) == 1 or part.stride(0) == 0:
            taken = part[0].reshape(-1).tolist()
        else:
            return None
        if (part.dim() == 2 and len(taken) * count != part.numel()) or part.stride(0) != 0:
            return None
        which = index if isinstance(result, (tuple, list)) else None
        later = _later(name, args, {}, which)
        columns = [own.columns[i] for i in taken]
        parts.append(Expression(own.network, part.shape, columns, later))
        parts[-1].has_views = True
    return type(result)(parts) if isinstance(result, (tuple, list)) else parts[0]


def _joined(own: Expression, name: str, args: tuple, kwargs: dict) -> Expression | None:
    given = dict(zip(("tensors", "dim"), args, strict=False)) | kwargs
    parts, dim = given.get("tensors", ()), given.get("dim", 0)
    dims = 2 if name == "cat" else 1
    if dim not in (1, -1) or not all(
        isinstance(part, Tensor) and part.dim() == dims and len(part) == own.space.count
        for part in parts
    ):
        return None
    columns: list[Column] = []
    for part in parts:
        found = columns_of(own, part, dims, part.shape[1] if dims == 2 else 1)
        if found is None:
            return None
        columns += found
    shape = (own.space.count, len(columns))
    return Expression(own.network, shape, columns, _later(name, args, kwargs))
