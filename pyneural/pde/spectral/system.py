"""An equation as a function of its channels: the outputs and the derivatives that occur in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyneural.ops import Derivative, LinearOperator
from pyneural.ops.jet.residual import CHANNEL, COEFFICIENT, CONSTANT, FUNCTIONS, INPUT, RESIDUAL
from pyneural.pde.coordinates import TIME, arguments_of, check_names
from pyneural.pde.domains import Box
from pyneural.pde.equation import Equation
from pyneural.pde.language.expression import Context, Expression, NeedsGraphError, plain
from pyneural.pde.language.lowering import Lowered, lower

Rule = Callable[..., Any]
Key = tuple[int, Derivative | None]  # output and derivative
Value = Callable[[int, Derivative | None], Tensor]
_NO_POINTS = torch.zeros(1, 1, dtype=torch.float64)


class Channel(NamedTuple):
    """A derivative of an output: some order in time, and a sum of derivatives in space.

    Attributes:
        output: index of the output.
        time: order of the derivative in time.
        terms: indices of spatial coordinates, each with its coefficient; ((), 1.0) is the output.
    """

    output: int
    time: int
    terms: tuple[tuple[tuple[int, ...], float], ...]

    @property
    def order(self) -> int:
        """The highest order of a derivative in space."""
        return max(len(indices) for indices, _ in self.terms)


class System:
    """Residuals of an equation as a function of the values of its channels.

    Args:
        equation: a ``pde.Equation``; or a function whose arguments are the outputs and, where they
            occur, coordinates. On a domain with time it returns u_t, for several outputs a tuple;
            without time the residual.
        domain: gives names and order of the coordinates.
        where: the name that an error begins with.

    Attributes:
        outputs: names of the outputs.
        channels: all channels that the residual uses.
        time_orders: the highest order in time of each output; 0 for one without evolution.

    Raises:
        ValueError: coordinates that differ, or a number of residuals that is not the number of
            outputs.

    >>> system = System(lambda u: u.xx - u * u.x, Box(t=(0, 1), x=(0, 1)), "example")
    >>> system.outputs, system.time_orders, len(system.channels)
    (('u',), (1,), 4)
    """

    def __init__(self, equation: Equation | Rule, domain: Box, where: str) -> None:
        self.domain, self.where = domain, where
        if not isinstance(domain, Box):
            raise ValueError(
                f"{where}: domain: expected a Box, got {domain!r}; other domains have no spectral "
                "solver here"
            )
        if domain.parameters:
            raise ValueError(
                f"{where}: domain: expected no parameters of the problem, got "
                f"{', '.join(domain.parameters)}; solve for one value of each at a time"
            )
        self.names, self.spatial = domain.names, domain.spatial
        if isinstance(equation, Equation):
            check_names(where, self.names, tuple(equation.inputs), "the domain")
            self.outputs: tuple[str, ...] = tuple(equation.outputs)
            self._function, self._explicit = equation.residual, False
        else:
            self._function, self._explicit = equation, domain.has_time
        others = equation.outputs if isinstance(equation, Equation) else ()
        self._arguments = arguments_of(self._function, self.names, others)
        if not isinstance(equation, Equation):
            self.outputs = tuple(a for a in self._arguments if a not in self.names)
        if not self.outputs:
            raise ValueError(
                f"{where}: equation: expected a function of the outputs, such as lambda u: u.xx, "
                f"got one of {', '.join(self._arguments) or 'nothing'}; name the unknown"
            )
        self._keys = self._recorded()
        self._program = Program.of(self._function, self._arguments, self.names, self.outputs)
        self.channels = tuple(self._channel(*key) for key in self._keys)
        self.time_orders = tuple(
            max(c.time for c in self.channels if c.output == output)
            for output in range(len(self.outputs))
        )

    def residuals(self, values: Sequence[Tensor], coordinates: Mapping[str, Tensor]) -> list[Any]:
        """Residuals, one for each output: [P], or a number where it does not depend on a channel.

        Args:
            values: of each channel, [P] or [] each.
            coordinates: of the points, [P] or [] each.
        """
        table = dict(zip(self._keys, values, strict=True))
        if self._program is not None:
            columns = [coordinates.get(name) for name in self.names]
            results = self._program(table, columns)
            return self._of_time(results, lambda output, asked: table[output, asked])
        return self._run(coordinates, lambda output, asked: table[output, asked])

    def is_complex(self) -> bool:
        """Whether a residual of real fields is complex."""
        one = torch.ones((), dtype=torch.float64)
        results = self.residuals([one] * len(self.channels), dict.fromkeys(self.names, one))
        return any(torch.as_tensor(r).is_complex() for r in results)

    def conditions(
        self, rule: Rule, values: Mapping[Key, Tensor],
        coordinates: Mapping[str, Tensor],
    ) -> tuple[Any, ...]:  # fmt: skip
        """What a boundary condition returns, as a tuple."""
        result = self._call(rule, coordinates, lambda output, asked: values[output, asked])
        return tuple(plain(result)) if isinstance(result, (tuple, list)) else (plain(result),)

    def channels_of(self, rule: Rule) -> dict[Key, Channel]:
        """The channels that a boundary condition uses."""
        keys = self._values()
        one = torch.ones((), dtype=torch.float64)
        self._call(rule, dict.fromkeys(self.names, one), self._recorder(keys, one))
        return {key: self._channel(*key) for key in keys}

    def _recorded(self) -> tuple[Key, ...]:
        keys = self._values()
        one = torch.ones((), dtype=torch.float64)
        results = self._run(dict.fromkeys(self.names, one), self._recorder(keys, one))
        if len(results) != len(self.outputs):
            raise ValueError(
                f"{self.where}: equation: expected as many equations as outputs "
                f"({', '.join(self.outputs)}), got {len(results)}; return one for each"
            )
        return tuple(keys)

    def _values(self) -> dict[Key, None]:
        return {(output, None): None for output in range(len(self.outputs))}

    @staticmethod
    def _recorder(keys: dict[Key, None], one: Tensor) -> Value:
        def record(output: int, asked: Derivative | None) -> Tensor:
            keys.setdefault((output, asked))
            return one

        return record

    def _run(self, coordinates: Mapping[str, Tensor], value: Value) -> list[Any]:
        """Residuals of the equation; those of a function are u_t minus what it returns."""
        result = self._call(self._function, coordinates, value)
        results = list(result) if isinstance(result, (tuple, list)) else [result]
        results = plain(results)
        return self._of_time(results, value)

    def _of_time(self, results: list[Any], value: Value) -> list[Any]:
        if self._explicit and len(results) == len(self.outputs):
            time = (self.names.index(TIME),)
            return [value(output, time) - r for output, r in enumerate(results)]
        return results

    def _call(self, function: Rule, coordinates: Mapping[str, Tensor], value: Value) -> Any:
        """A function of outputs and coordinates, at points of the largest shape of both."""
        names = (
            self._arguments
            if function is self._function
            else arguments_of(function, self.names, self.outputs)
        )
        context = _GridContext(self, coordinates, value)
        arguments: dict[str, Any] = {}
        for name in names:
            if name in self.outputs:
                arguments[name] = context.output(name)
            elif name in coordinates:
                arguments[name] = context.coordinate(self.names.index(name))
            else:
                raise ValueError(
                    f"{self.where}: argument {name!r}: expected one of the outputs "
                    f"{', '.join(self.outputs)} or coordinates {', '.join(self.names)}; rename it"
                )
        try:
            return function(**arguments)
        except NeedsGraphError as error:
            raise ValueError(
                f"{self.where}: equation: expected a derivative of operations that have a rule "
                "(arithmetic, powers, exp, sin, ...), got one of another; write it out"
            ) from error

    def _channel(self, output: int, asked: Derivative | None) -> Channel:
        if asked is None:
            return Channel(output, 0, (((), 1.0),))
        partials = asked.partials if isinstance(asked, LinearOperator) else ((asked, 1.0),)
        time = self.names.index(TIME) if TIME in self.names else None
        orders = {sum(i == time for i in indices) for indices, _ in partials}
        terms = tuple(
            (tuple(self.spatial.index(self.names[i]) for i in indices if i != time), coefficient)
            for indices, coefficient in partials
        )
        return Channel(output, orders.pop(), terms)


class Program:
    """A residual recorded as instructions, which takes less time than its Python code."""

    def __init__(self, lowered: Lowered) -> None:
        self._derivatives = (None, *lowered.derivatives)
        self._constants = torch.tensor(lowered.program.constants, dtype=torch.float64).unbind()
        self._coefficients = [c.detach().reshape(()).double() for c in lowered.coefficients]
        self._functions = {f.opcode: f.evaluate for f in FUNCTIONS.values()}
        self._instructions = [(code, tuple(of)) for code, of in lowered.program.instructions()]

    @classmethod
    def of(
        cls, function: Rule, arguments: Sequence[str], names: Sequence[str], outputs: Sequence[str]
    ) -> Program | None:
        """None where an operation has no instruction; then the Python code runs."""
        points = torch.ones(2, len(names), dtype=torch.float64)
        try:
            lowered = lower(function, arguments, names, outputs, points=points)
        except ValueError:
            return None
        return None if lowered is None or lowered.columns else cls(lowered)

    def __call__(
        self, channels: Mapping[Key, Tensor], coordinates: Sequence[Tensor | None]
    ) -> list[Any]:
        """The residuals."""
        values: list[Any] = []
        results = []
        for opcode, operands in self._instructions:
            function = self._functions.get(opcode)
            if function is not None:
                values.append(function(*[values[a] for a in operands]))
            elif opcode == CHANNEL:
                values.append(channels[operands[1], self._derivatives[operands[0]]])
            elif opcode == RESIDUAL:
                results.append(values[operands[0]])
            else:
                table = {
                    INPUT: coordinates,
                    CONSTANT: self._constants,
                    COEFFICIENT: self._coefficients,
                }[opcode]
                values.append(table[operands[0]])
        return results


class _GridContext(Context):
    """Where an equation is evaluated: channels and coordinates of any shape that broadcasts."""

    def __init__(self, system: System, coordinates: Mapping[str, Tensor], value: Value) -> None:
        self._columns = [coordinates[name] for name in system.names if name in coordinates]
        tensors = [*self._columns, *(value(output, None) for output in range(len(system.outputs)))]
        shape = torch.broadcast_tensors(*tensors)[0].shape

        def channel(asked: Derivative | None, name: str) -> Tensor:
            return value(system.outputs.index(name), asked).expand(shape)

        super().__init__(system.where, _NO_POINTS, system.names, (), channel, shape=shape)

    def coordinate(self, index: int) -> Expression:
        """A coordinate of the points."""
        if index not in self._leaves:
            self._leaf(index, self._columns[index].expand(self.shape))
        return self._leaves[index]


def initial_values(
    system: System, initial: Rule, points: Mapping[str, Tensor], count: int, needed: str
) -> Tensor:
    """What an initial condition gives at points, [count, P], float64 or complex128.

    Raises:
        ValueError: arguments that are no coordinates, another number of values, or none finite.
    """
    where = f"{system.where}: initial"
    arguments = arguments_of(initial, system.spatial)
    for name in arguments:
        if name not in system.spatial:
            raise ValueError(
                f"{where}: expected a function of {', '.join(system.spatial)}, got argument "
                f"{name!r}; rename it"
            )
    result = initial(**{name: points[name] for name in arguments})
    results = list(result) if isinstance(result, (tuple, list)) else [result]
    if len(results) != count:
        raise ValueError(
            f"{where}: expected {count} functions ({needed}), got {len(results)}; return a tuple"
        )
    shape = next(iter(points.values())).shape
    tensors = [torch.as_tensor(r) for r in results]
    kind = torch.complex128 if any(r.is_complex() for r in tensors) else torch.float64
    values = torch.stack([r.detach().to(kind).expand(shape) for r in tensors])
    if not bool(torch.isfinite(values).all()):
        raise ValueError(f"{where}: expected finite values, got nan or inf; correct the function")
    return values
