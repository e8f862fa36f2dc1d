"""An equation as a function of its channels: the outputs and the derivatives that occur in it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyneural.ops import Derivative, LinearOperator
from pyneural.pde.coordinates import TIME, check_names
from pyneural.pde.domain import Box
from pyneural.pde.equation import Equation
from pyneural.pde.field import Field, plain

Rule = Callable[..., Any]
Key = tuple[int, Derivative | None]  # output and derivative


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
            self.outputs = tuple(equation.outputs)
            self._function, self._explicit = equation.residual, False
        else:
            self._function, self._explicit = equation, domain.has_time
        self._arguments = _arguments(self._function)
        if not isinstance(equation, Equation):
            self.outputs = tuple(a for a in self._arguments if a not in self.names)
        if not self.outputs:
            raise ValueError(
                f"{where}: equation: expected a function of the outputs, such as lambda u: u.xx, "
                f"got one of {', '.join(self._arguments) or 'nothing'}; name the unknown"
            )
        self._keys = self._recorded()
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
    def _recorder(keys: dict[Key, None], one: Tensor) -> Callable:
        def record(output: int, asked: Derivative | None) -> Tensor:
            keys.setdefault((output, asked))
            return one

        return record

    def _run(self, coordinates: Mapping[str, Tensor], value: Callable) -> list[Any]:
        """Residuals of the equation; those of a function are u_t minus what it returns."""
        result = self._call(self._function, coordinates, value)
        results = list(result) if isinstance(result, (tuple, list)) else [result]
        results = plain(results)
        if self._explicit and len(results) == len(self.outputs):
            time = (self.names.index(TIME),)
            results = [value(output, time) - r for output, r in enumerate(results)]
        return results

    def _call(self, function: Rule, coordinates: Mapping[str, Tensor], value: Callable) -> Any:
        arguments: dict[str, Any] = {}
        names = self._arguments if function is self._function else _arguments(function)
        for name in names:
            if name in self.outputs:
                output = self.outputs.index(name)
                arguments[name] = Field(
                    name, value(output, None), self.names, functools.partial(value, output)
                )
            elif name in coordinates:
                arguments[name] = coordinates[name]
            else:
                raise ValueError(
                    f"{self.where}: argument {name!r}: expected one of the outputs "
                    f"{', '.join(self.outputs)} or coordinates {', '.join(self.names)}; rename it"
                )
        return function(**arguments)

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


def _arguments(function: Rule) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)


def initial_values(
    system: System, initial: Rule, points: Mapping[str, Tensor], count: int, needed: str
) -> Tensor:
    """What an initial condition gives at points, [count, P], float64 or complex128.

    Raises:
        ValueError: arguments that are no coordinates, another number of values, or none finite.
    """
    where = f"{system.where}: initial"
    arguments = _arguments(initial)
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
