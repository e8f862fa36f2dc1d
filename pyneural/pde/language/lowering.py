"""Lowers a residual written in Python to the program that ``ops.jet_mlp_loss`` runs.

The residual is called once with symbols in place of tensors; every operation on a symbol appends
an instruction. That takes microseconds, so it is done again at every call, and a constant or a flag
that changed between two calls is always seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from pyneural.ops import Derivative, NotExpressibleError, Recorder, ResidualProgram, Symbol
from pyneural.ops.jet.derivatives import partials_of
from pyneural.ops.jet.residual import (
    CHANNEL,
    COEFFICIENT,
    COLUMN,
    CONSTANT,
    FUNCTIONS,
    INPUT,
    RESIDUAL,
    Instruction,
)
from pyneural.pde.language.expression import (
    Context,
    Expression,
    NeedsGraphError,
    Normals,
    plain,
)
from pyneural.pde.language.names import composed, derivative_of, normal_names, unknown_attribute
from pyneural.pde.language.rules import Differentiator, Operation

_FUNCTIONS = {function.opcode: (name, function) for name, function in FUNCTIONS.items()}


class Lowered(NamedTuple):
    """A residual as ``ops.jet_mlp_loss`` takes it."""

    derivatives: tuple[Derivative, ...]
    program: ResidualProgram
    coefficients: list[Tensor]  # of one element each
    columns: list[Tensor]  # [N] each


class EquationRecorder(Recorder):
    """Records a residual whose derivatives are attributes.

    What has no instruction is computed at the points where it is a function of coordinates, and
    becomes a column of the program.

    Args:
        outputs: names of the outputs.
        context: of functions of coordinates.
    """

    def __init__(self, outputs: Sequence[str], context: Context) -> None:
        super().__init__()
        self.outputs, self.context = tuple(outputs), context
        self.columns: list[Tensor] = []
        self._instructions: list[Instruction] = []
        self._fixed: list[bool] = []  # values that are the same at all points
        self._of_points: list[bool] = []  # values without the network
        self._powers: dict[int, tuple[int, float]] = {}  # values that are one: base and exponent
        self._differentiator = Differentiator(
            self._operation,
            self._of_leaf,
            lambda v: not isinstance(v, Symbol) or self._fixed[v._index],
            lambda v: v._index,
            self._without_rule,
        )

    def emit(self, opcode: int, a: int, b: int = 0) -> int:
        """Index of the value that an instruction defines."""
        index = super().emit(opcode, a, b)
        if index == len(self._instructions):
            operands = (a, b)[: _FUNCTIONS[opcode][1].operands] if opcode in _FUNCTIONS else (a, b)
            self._instructions.append(Instruction(opcode, operands))
            of = operands if opcode in _FUNCTIONS else ()
            same = opcode in (CONSTANT, COEFFICIENT) or bool(of)
            self._fixed.append(same and all(self._fixed[o] for o in of))
            self._of_points.append(opcode != CHANNEL and all(self._of_points[o] for o in of))
        return index

    def symbol(self, index: int) -> Symbol:
        """The symbol of a value."""
        return ValueSymbol(self, index)

    def output(self, name: str) -> Symbol:
        """The symbol of an output of the network."""
        return self.symbol(self.channel(None, self.outputs.index(name)))

    def operand(self, value: Any) -> int:
        """Index of an operand; a tensor with a value for each point becomes a column."""
        if not isinstance(value, Tensor) or value.is_complex():
            return super().operand(value)
        context = self.context
        # Of a single point, a function of coordinates looks like a coefficient.
        computed = isinstance(value, Expression) or (value.requires_grad and not value.is_leaf)
        if value.numel() == 1 and value.dim() < 2 and not (value.dim() == 1 and computed):
            return super().operand(plain(value))
        fits = value.shape == context.shape or (context.is_recording and value.dim() == 1)
        if not fits:
            if value.numel() == 1 and value.dim() < 2:
                return super().operand(plain(value))
            raise NotExpressibleError("a tensor of another number of elements")
        for index, column in enumerate(self.columns):
            if column is value:
                return self.emit(COLUMN, index)
        self.columns.append(value)
        return self.emit(COLUMN, len(self.columns) - 1)

    def apply(self, name: str, operands: Sequence[Any]) -> Any:
        """Symbol of a method of torch.Tensor, by its name; a tensor where it has to be computed."""
        try:
            return self.recorded(name, operands)
        except NotExpressibleError:
            function = getattr(Tensor, f"__{name}__", None) or getattr(Tensor, name)
            return self.at_points(function, operands, {})

    def recorded(self, name: str, operands: Sequence[Any]) -> Symbol:
        """Symbol of an operation that has instructions."""
        return super().apply(name, operands)

    def at_points(self, function: Callable, args: Sequence[Any], options: dict[str, Any]) -> Any:
        """A function of coordinates that has no instruction, computed at the points."""
        symbols = list(symbols_in((args, tuple(options.values()))))
        if not all(self._of_points[symbol._index] for symbol in symbols):
            raise NotExpressibleError(getattr(function, "__name__", "a function"))
        options = {key: self._at_points(value) for key, value in options.items()}
        result = function(*self._at_points(tuple(args)), **options)
        is_column = isinstance(result, Tensor) and result.shape == self.context.shape
        if is_column and result.is_floating_point():
            return self.symbol(self.operand(result))
        return result

    def tensor(self, symbol: Symbol) -> Any:
        """The value at the points of a symbol without the network; a number where it is fixed."""
        opcode, operands = self._instructions[symbol._index]
        if opcode == INPUT:
            return self.context.coordinate(operands[0])
        if opcode == COLUMN:
            return self.columns[operands[0]]
        if opcode == COEFFICIENT:
            return self.coefficients[operands[0]]
        if opcode == CONSTANT:
            return list(self._constants)[operands[0]][0]
        values = [self.tensor(self.symbol(operand)) for operand in operands]
        if not any(isinstance(value, Tensor) for value in values):
            values = [self.context.points.new_tensor(value) for value in values]
        return _FUNCTIONS[opcode][1].evaluate(*values)

    def _at_points(self, value: Any) -> Any:
        if isinstance(value, Symbol):
            return self.tensor(value)
        if isinstance(value, (list, tuple)):
            return type(value)(map(self._at_points, value))
        return value

    def derivative(self, value: Any, wanted: Derivative) -> Any:
        """A derivative of a symbol."""
        found = self._differentiator.derivative(value, wanted)
        return found if isinstance(found, Symbol) else self.symbol(self.operand(found))

    def attribute(self, value: Symbol, attribute: str) -> Any:
        """The derivative that an attribute names; None where it names none."""
        context = self.context
        wanted = derivative_of(attribute, context.inputs, context.parameters)
        if wanted is not None:
            return self.derivative(value, wanted)
        if attribute == "n":
            return context.along_normal(value, self.derivative)
        if not hasattr(Tensor, attribute):
            opcode, operands = self._instructions[value._index]
            name = self.outputs[operands[1]] if opcode == CHANNEL else "expression"
            raise unknown_attribute(name, attribute, context.inputs)
        return None

    def lowered(self, residuals: Any) -> Lowered:
        """The program of one residual or several, without values that they do not need."""
        several = residuals if isinstance(residuals, (tuple, list)) else (residuals,)
        wanted = [self.operand(residual) for residual in several]
        needed, waiting = set[int](), list(wanted)
        while waiting:
            index = waiting.pop()
            if index not in needed:
                needed.add(index)
                opcode, operands = self._instructions[index]
                waiting += operands if opcode in _FUNCTIONS else ()
        places: dict[int, int] = {}
        used: dict[int, list[int]] = {CHANNEL: [], COEFFICIENT: [], COLUMN: [], CONSTANT: []}
        code: list[int] = []
        for index in sorted(needed):
            opcode, operands = self._instructions[index]
            a, b = (*operands, 0)[:2]
            if opcode in _FUNCTIONS:
                a, b = (*(places[o] for o in operands), 0)[:2]
            elif opcode in used and not (opcode == CHANNEL and a == 0):
                if a not in used[opcode]:
                    used[opcode].append(a)
                a = used[opcode].index(a) + (opcode == CHANNEL)
            places[index] = len(places)
            code += (opcode, a, b)
        for index in wanted:
            code += (RESIDUAL, places[index], 0)
        constants = [value for value, _ in self._constants]
        return Lowered(
            tuple(self.derivatives[k - 1] for k in used[CHANNEL]),
            ResidualProgram(tuple(code), tuple(constants[k] for k in used[CONSTANT])),
            [self.coefficients[k] for k in used[COEFFICIENT]],
            [self.columns[k] for k in used[COLUMN]],
        )

    def _power(self, base: Any, exponent: Any) -> Symbol:
        power = super()._power(base, exponent)
        if exponent not in (1, 2, 0.5):
            self._powers[power._index] = base._index, exponent
        return power

    def _operation(self, value: Symbol) -> Operation | None:
        index = value._index
        if index in self._powers:
            base, exponent = self._powers[index]
            return "pow", (self.symbol(base), exponent)
        opcode, operands = self._instructions[index]
        if opcode not in _FUNCTIONS:
            return None
        return _FUNCTIONS[opcode][0], tuple(map(self.symbol, operands))

    def _of_leaf(self, value: Symbol, wanted: Derivative) -> Any:
        opcode, (first, output) = self._instructions[value._index]
        if opcode == CHANNEL:
            inner = self.derivatives[first - 1] if first else None
            outer = composed(wanted, inner, self.outputs[output])
            return self.symbol(self.channel(outer, output))
        if opcode == INPUT:
            return float(sum(c for indices, c in partials_of(wanted) if indices == (first,)))
        found = self.context.differentiated(self.columns[first], wanted)
        return self.symbol(self.operand(found)) if isinstance(found, Tensor) else found

    def _without_rule(self, value: Symbol, index: int) -> Any:
        raise NotExpressibleError("a derivative without a rule")


class ValueSymbol(Symbol):
    """A value of the residual, whose derivatives are attributes."""

    __slots__ = ()
    _recorder: EquationRecorder

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):
            raise AttributeError(attribute)
        recorder = self._recorder
        derivative = recorder.attribute(self, attribute)
        if derivative is not None:
            return derivative
        method = getattr(Tensor, attribute)
        if not callable(method):
            return recorder.at_points(lambda tensor: getattr(tensor, attribute), (self,), {})

        def call(*operands: Any, **options: Any) -> Any:
            if options:
                return recorder.at_points(method, (self, *operands), options)
            return recorder.apply(attribute, (self, *operands))

        return call

    @classmethod
    def __torch_function__(
        cls, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        options = kwargs or {}
        symbol = next(symbols_in((args, tuple(options.values()))))
        recorder, name = cast(EquationRecorder, symbol._recorder), getattr(function, "__name__", "")
        if not options:
            try:
                return recorder.recorded(name.strip("_"), args)
            except NotExpressibleError:
                pass
        return recorder.at_points(function, args, options)


def symbols_in(value: Any) -> Iterator[Symbol]:
    """The symbols in a value, lists and tuples included."""
    if isinstance(value, Symbol):
        yield value
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from symbols_in(one)


def lower(
    residual: Callable,
    arguments: Sequence[str],
    inputs: Sequence[str],
    outputs: Sequence[str],
    parameters: Sequence[str] = (),
    points: Tensor | None = None,
    normals: Normals | None = None,
    where: str = "residual",
    checked: set[Any] | None = None,
) -> Lowered | None:
    """The program of a residual, or None if an operation in it has no instruction.

    Numbers become constants; tensors of one element (parameters to learn, buffers) become
    coefficients, in the order of their first use; whole powers become products; tensors with a
    value for each point, and functions of coordinates without an instruction, become columns.
    Derivatives of expressions are expanded by the chain rule.

    Args:
        residual: called with symbols; returns one residual or several.
        arguments: names of its arguments, each an output, an input or a component of the normals.
        inputs: names of the inputs, in the order of the columns.
        outputs: names of the outputs, in the order of the columns.
        parameters: those of the inputs that are no part of a Laplacian, nor is t.
        points: [N, D]; None to learn the derivatives alone.
        normals: unit normals at the points.
        where: the name that an error begins with.
        checked: as for ``Context``.

    Raises:
        ValueError: the residual uses a name that is neither a derivative nor a tensor method.

    >>> burgers = lower(lambda u: u.t + u * u.x - 0.1 * u.xx, ["u"], "tx", "u")
    >>> burgers.derivatives
    ((0,), (1,), (1, 1))
    >>> lower(lambda u: (u * u.x).x, ["u"], "tx", "u").program
    ResidualProgram("channel 0 0; channel 1 0; mul 1 1; channel 2 0; mul 0 3; add 2 4; residual 5")
    """
    is_recording = points is None
    points = torch.ones(1, len(inputs)) if points is None else points

    def record(tracked: bool) -> Lowered:
        context = Context(
            where,
            points,
            inputs,
            parameters,
            _no_channel,
            normals=normals,
            tracked=tracked,
            checked=checked,
            is_recording=is_recording,
        )
        recorder = EquationRecorder(outputs, context)

        def argument(name: str) -> Any:
            if name in outputs:
                return recorder.output(name)
            if name in inputs:
                return recorder.input(inputs.index(name))
            return context.normal(normal_names(inputs).index(name))

        return recorder.lowered(residual(**{name: argument(name) for name in arguments}))

    try:
        if len(points) > 1:
            try:
                return record(tracked=False)
            except NeedsGraphError:
                pass
        with torch.enable_grad():
            return record(tracked=True)
    except (NotExpressibleError, TypeError):  # torch raises TypeError where it takes tensors only
        return None


def _no_channel(derivative: Derivative | None, name: str) -> Tensor:
    raise NotExpressibleError(name)


def stacked(values: Sequence[Tensor], like: Tensor) -> Tensor | None:
    """Coefficients as one tensor [Q] with the dtype and device of ``like``; None without any.

    >>> stacked([torch.tensor(2.0), torch.tensor([3.0])], torch.zeros(1)).tolist()
    [2.0, 3.0]
    """
    if not values:
        return None
    return torch.stack([value.reshape(()).to(like) for value in values])


def stacked_columns(columns: Sequence[Tensor], like: Tensor) -> Tensor | None:
    """Columns as one tensor [R, N] with the dtype and device of ``like`` [N, D]; None without."""
    if not columns:
        return None
    return torch.stack([plain(column).to(like).expand(len(like)) for column in columns])
