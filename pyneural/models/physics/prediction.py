"""Values of outputs, derivatives and expressions of a PINN at new points."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from pyneural.pde import Condition, Domain, Equation, Network, Operator
from pyneural.pde.coordinates import arguments_of, columns_by_name
from pyneural.pde.language.residual import Residual
from pyneural.pde.language.sites import MAIN, Site
from pyneural.training.checks import check
from pyneural.training.data.adapter import of_arrays

Expression = str | Callable[..., Any] | Equation

_WHERE = "PINN.predict"
_CHUNK = 1 << 16  # points predicted at once


class Predicting:
    """Gives a PINN ``predict``."""

    network: torch.nn.Module
    equation: Equation | None
    domain: Domain
    conditions: torch.nn.ModuleDict

    def predict(self, x: Any, *expressions: Expression, requires_grad: bool = False) -> Any:
        """Value u at points [N, D], however many, or derivatives and expressions of it there.

        Points may be an array or frame, which gives an array. The columns are in the order of the
        domain; a frame with names of columns is read by these.

        Args:
            x: points, [N, D].
            expressions: ``"u.xx"``, or functions of outputs and inputs as the residual of an
                ``Equation``: ``lambda u, x: u.t + x * u.x``, or an ``Equation`` for its residuals.
                Outputs have the names of the equation, or of an ``Operator``; else the one is u.
            requires_grad: whether the result has a graph, for gradients with respect to the
                parameters and, where they require one, to the points.

        Returns:
            [N, O], or a column for each expression, in the network's dtype on its device.

        Raises:
            ValueError: a frame that lacks a coordinate, names that are not there, an array where
                gradients are wanted.

        >>> from pyneural import nn, pde
        >>> from pyneural.models import PINN
        >>> burgers = pde.Burgers()
        >>> pinn = PINN(nn.MLP(2, [8], 1), burgers.conditions(20), equation=burgers, points=50)
        >>> x = burgers.domain.grid(3, 5)
        >>> pinn.predict(x).shape, pinn.predict(x, "u.xx", lambda u, x: u.t + x * u.x).shape
        (torch.Size([15, 1]), torch.Size([15, 2]))
        """
        points = columns_by_name(f"{_WHERE}: x", x, self.domain.names)
        good = isinstance(points, Tensor) or not requires_grad
        check(good, f"{_WHERE}: x", "a tensor where gradients are wanted", type(x).__name__)
        with torch.set_grad_enabled(requires_grad):
            return of_arrays(
                _WHERE, cast(torch.nn.Module, self), partial(self._predict, expressions), points
            )

    def _predict(self, expressions: Sequence[Expression], x: Tensor) -> Tensor:
        like, network = next(self.network.parameters()), cast(Network, self.network)
        x = x.to(like)
        if not expressions:
            return torch.cat([network(chunk) for chunk in x.split(_CHUNK)])
        conditions = cast("Iterable[Condition]", self.conditions.values())
        outputs = output_names(self.equation, conditions, network)
        names = self.domain.names, outputs, self.domain.parameters
        # A function may join points, as by a mean, so that it gets all of them.
        in_parts = all(isinstance(expression, str) for expression in expressions)
        chunks = x.split(_CHUNK) if in_parts else [x]
        return torch.cat([evaluate(expressions, network, chunk, *names) for chunk in chunks])


def output_names(
    equation: Equation | None, conditions: Iterable[Condition], network: Network
) -> tuple[str, ...]:
    """Names of the outputs: those of the equation or of a condition that names them, or u."""
    if equation is not None:
        return tuple(equation.outputs)
    for condition in conditions:
        if isinstance(condition, Operator) and condition.form.outputs is not None:
            return tuple(condition.form.outputs)
    count = getattr(network, "out_features", 1)
    return ("u",) if count == 1 else tuple(f"u{k}" for k in range(count))


def evaluate(
    expressions: Sequence[Expression],
    network: Network,
    x: Tensor,
    inputs: Sequence[str],
    outputs: Sequence[str],
    parameters: Sequence[str],
) -> Tensor:
    """The values of expressions at points [N, D], a column for each, [N, K].

    Args:
        expressions: as for ``PINN.predict``.
        network: see ``pde.Network``.
        x: points, [N, D].
        inputs: names of the columns of x.
        outputs: names of the columns of the network's output.
        parameters: those of the inputs that are no part of a Laplacian.
    """
    functions = [_function(e, outputs) for e in expressions]
    wanted = [arguments_of(f, inputs, outputs) if n is None else n for f, n in functions]
    for name in [name for names in wanted for name in names]:
        expected = f"names of outputs {', '.join(outputs)} and inputs {', '.join(inputs)}"
        check(name in (*outputs, *inputs), f"{_WHERE}: expression", expected, repr(name))

    def together(**values: Any) -> tuple[Any, ...]:
        found: list[Any] = []
        for (function, _), names in zip(functions, wanted, strict=True):
            result = function(**{name: values[name] for name in names})
            found += result if isinstance(result, (tuple, list)) else [result]
        return tuple(found)

    arguments = dict.fromkeys(name for names in wanted for name in names)
    form = Residual(_WHERE, tuple(arguments), inputs, outputs, parameters)
    return torch.stack(form.evaluate(together, network, {MAIN: Site(x)}), 1)


def _function(
    expression: Expression, outputs: Sequence[str]
) -> tuple[Callable[..., Any], tuple[str, ...] | None]:
    """A function of outputs and inputs, and their names; None for those of its arguments."""
    if isinstance(expression, Equation):
        return expression.residual, None
    if isinstance(expression, str):
        name, *attributes = expression.split(".")
        expected = f"one of {', '.join(outputs)}, or a derivative of it as {outputs[0]}.x"
        good = name in outputs and all(a.isidentifier() for a in attributes)
        remedy = "write another expression as a function: lambda u, x: u.t + x * u.x"
        check(good, f"{_WHERE}: expression", expected, repr(expression), remedy)

        def attribute(**values: Any) -> Any:
            value = values[name]
            for each in attributes:
                value = getattr(value, each)
            return value

        return attribute, (name,)
    good = callable(expression)
    check(good, f"{_WHERE}: expression", "a name or a function", type(expression).__name__)
    return expression, None
