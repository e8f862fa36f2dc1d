"""Records a residual as a program, with symbols in the place of tensors."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from pyneural.ops import Derivative, NotExpressibleError, Recorder, ResidualProgram, Symbol
from pyneural.ops.caching import cached
from pyneural.ops.jet.derivatives import partials_of
from pyneural.ops.jet.residual import (
    CHANNEL,
    COEFFICIENT,
    COLUMN,
    CONSTANT,
    FUNCTIONS,
    INPUT,
    RESIDUAL,
)
from pyneural.pde.language.expression import Context, Expression, plain
from pyneural.pde.language.names import ambiguous, composed, derivative_of, unknown_attribute
from pyneural.pde.language.rules import Differentiator, Operation

_NAMES = {function.opcode: name for name, function in FUNCTIONS.items()}
_ARITY = {function.opcode: function.operands for function in FUNCTIONS.values()}
_FUNCTIONS_OF_TORCH = torch, torch.Tensor, torch.special, torch.nn.functional
_Line = tuple[int, int, int]  # opcode and two operands


class Lowered(NamedTuple):
    """A residual as ``ops.jet_mlp_loss`` takes it."""

    derivatives: tuple[Derivative, ...]
    program: ResidualProgram
    coefficients: list[Tensor]  # of one element each
    columns: list[Tensor]  # [N] each


class EquationRecorder(Recorder):
    """Records a residual whose derivatives are attributes.

    What has no instruction is computed at the points where it is a function of coordinates, and
    becomes a column of the program. The recorder may be used again for the same residual, which
    finds the values and derivatives that it has: see ``again``.

    Args:
        outputs: names of the outputs.
        inputs: names of the coordinates.
        parameters: those of them that are no part of the Laplacian.
    """

    def __init__(
        self, outputs: Sequence[str], inputs: Sequence[str], parameters: Sequence[str]
    ) -> None:
        super().__init__()
        self.outputs, self.inputs, self.parameters = tuple(outputs), tuple(inputs), parameters
        self.columns: list[Tensor] = []
        self._lines: list[_Line] = []
        self._fixed: dict[int, bool] = {}  # values that are the same at all points
        self._powers: dict[int, tuple[int, float]] = {}  # values that are one: base and exponent
        self._differentiator = Differentiator(
            self._operation, self._of_leaf, self._is_fixed, _index, self._without_rule
        )
        self._context: Callable[[], Context] = _no_context

    def begin(self, context: Callable[[], Context]) -> None:
        """Begins a recording for a context, which is made where it is needed."""
        self._context = context
        self.coefficients, self.columns = [], []
        self._computed: dict[Hashable, Symbol] = {}  # columns, by the call that computed them
        self._with_grad = torch.is_grad_enabled()
        self._made: Context | None = None

    @property
    def context(self) -> Context:
        """Of functions of coordinates."""
        if self._made is None:
            self._made = self._context()
        return self._made

    def again(self, limit: int) -> bool:
        """Whether to use it again: what it knows holds for other points, and is not too much."""
        reusable = not self.columns and len(self._lines) <= limit
        self.begin(_no_context)
        return reusable

    def emit(self, opcode: int, a: int, b: int = 0) -> int:
        """Index of the value that an instruction defines."""
        line = opcode, a, b
        index = self._values.get(line)
        if index is None:
            index = self._values[line] = len(self._lines)
            self._lines.append(line)
        return index

    def symbol(self, index: int) -> Symbol:
        """The symbol of a value."""
        return ValueSymbol(self, index)

    def output(self, name: str) -> Symbol:
        """The symbol of an output of the network."""
        return ValueSymbol(self, self.emit(CHANNEL, 0, self.outputs.index(name)))

    def operand(self, value: Any) -> int:
        """Index of an operand; a tensor with a value for each point becomes a column."""
        if isinstance(value, Symbol):
            return value._index
        tensor = plain(value)  # which answers faster
        if not isinstance(value, Tensor) or tensor.is_complex():
            return super().operand(value)
        # Of a single point, a function of coordinates looks like a coefficient.
        of_points = isinstance(value, Expression) and tensor.dim() == 1
        one = tensor.numel() == 1 and tensor.dim() < 2
        if one and not of_points:
            return super().operand(tensor)
        context = self.context
        if tensor.shape != context.shape and not (context.is_recording and tensor.dim() == 1):
            if one:
                return super().operand(tensor)
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
        self._check_gradient()
        return super().apply(name, operands)

    def at_points(self, function: Callable, args: Sequence[Any], options: dict[str, Any]) -> Any:
        """A function of coordinates that has no instruction, computed at the points."""
        self._check_gradient()
        symbols = symbols_in((args, tuple(options.values())))
        if any(self._depends(symbol._index, CHANNEL) for symbol in symbols):
            raise NotExpressibleError(getattr(function, "__name__", "a function"))
        call = _call(function, args, options)
        if call in self._computed:  # so that k(x) u.x and k(x) u.y have the same factor
            return self._computed[call]
        options = {key: self._at_points(value) for key, value in options.items()}
        result = function(*self._at_points(tuple(args)), **options)
        tensor = plain(result)
        is_column = isinstance(tensor, Tensor) and tensor.shape == self.context.shape
        if is_column and tensor.is_floating_point():
            found = self.symbol(self.operand(result))
            if call is not None:
                self._computed[call] = found
            return found
        return result

    def _check_gradient(self) -> None:
        """An error in a part that has no gradient, or its own, as a torch.autograd.Function."""
        if torch.is_grad_enabled() != self._with_grad:
            raise NotExpressibleError("an operation without a gradient")

    def _at_points(self, value: Any) -> Any:
        if isinstance(value, Symbol):
            return self._tensor(value._index)
        if isinstance(value, (list, tuple)):
            return type(value)(map(self._at_points, value))
        return value

    def _tensor(self, index: int) -> Any:
        """The value at the points of what is without the network; a number where it is fixed."""
        opcode, *operands = self._lines[index]
        if opcode == INPUT:
            return self.context.coordinate(operands[0])
        if opcode == COLUMN:
            return self.columns[operands[0]]
        if opcode == COEFFICIENT:
            return self.coefficients[operands[0]]
        if opcode == CONSTANT:
            return list(self._constants)[operands[0]][0]
        values = [self._tensor(operand) for operand in operands[: _ARITY[opcode]]]
        if not any(isinstance(value, Tensor) for value in values):
            values = [self.context.points.new_tensor(value) for value in values]
        return FUNCTIONS[_NAMES[opcode]].evaluate(*values)

    def derivative(self, value: Symbol, wanted: Derivative) -> Symbol:
        """A derivative of a symbol."""
        opcode, first, output = self._lines[value._index]
        if opcode == CHANNEL and first == 0:
            return self.symbol(self.channel(composed(wanted, None, self.outputs[output]), output))
        found = self._differentiator.derivative(value, wanted)
        return found if isinstance(found, Symbol) else self.symbol(self.operand(found))

    def attribute(self, value: Symbol, attribute: str) -> Any:
        """The derivative that an attribute names; None where it names none."""
        wanted = derivative_of(attribute, self.inputs, self.parameters)
        if wanted is not None:
            if attribute == "n" and self.context.normals is not None:
                raise ambiguous(attribute, self.inputs)
            return self.derivative(value, wanted)
        if attribute == "n":
            return self.context.along_normal(value, self.derivative)
        if not hasattr(Tensor, attribute):
            opcode, _, output = self._lines[value._index]
            name = self.outputs[output] if opcode == CHANNEL else "expression"
            raise unknown_attribute(name, attribute, self.inputs)
        return None

    def lowered(self, residuals: Any) -> Lowered:
        """The program of one residual or several, without values that they do not need."""
        several = residuals if isinstance(residuals, (tuple, list)) else (residuals,)
        marks = tuple(self.operand(residual) for residual in several)
        code, used = _pruned(tuple(self._lines), marks)
        constants = [value for value, _ in self._constants]
        return Lowered(
            tuple(self.derivatives[k - 1] for k in used[CHANNEL]),
            ResidualProgram(code, tuple(constants[k] for k in used[CONSTANT])),
            [self.coefficients[k] for k in used[COEFFICIENT]],
            [self.columns[k] for k in used[COLUMN]],
        )

    def _depends(self, index: int, *opcodes: int) -> bool:
        opcode, *operands = self._lines[index]
        if opcode in _ARITY:
            return any(self._depends(o, *opcodes) for o in operands[: _ARITY[opcode]])
        return opcode in opcodes

    def _is_fixed(self, value: Any) -> bool:
        if not isinstance(value, Symbol):
            return True
        index = value._index
        if index not in self._fixed:
            self._fixed[index] = not self._depends(index, CHANNEL, INPUT, COLUMN)
        return self._fixed[index]

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
        opcode, *operands = self._lines[index]
        if opcode not in _ARITY:
            return None
        return _NAMES[opcode], tuple(map(self.symbol, operands[: _ARITY[opcode]]))

    def _of_leaf(self, value: Symbol, wanted: Derivative) -> Any:
        opcode, first, output = self._lines[value._index]
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
            _check_new(attribute)
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
        _check_new(name)
        if not options:
            try:
                return recorder.recorded(name.strip("_"), args)
            except NotExpressibleError:
                pass
        return recorder.at_points(function, args, options)


def _check_new(name: str) -> None:
    """An error for an operation in place: a symbol stands for one value alone."""
    if name.endswith("_") and not name.endswith("__"):
        raise NotExpressibleError(f"{name}, in place")


def _call(function: Callable, args: Sequence[Any], options: dict[str, Any]) -> Hashable:
    """What a call that gives the same again is known by; None of any other.

    Functions of each element, without random numbers, of symbols and numbers.
    """
    name = getattr(function, "__name__", "").removeprefix("special_")
    known = any(getattr(room, name, None) is function for room in _FUNCTIONS_OF_TORCH)
    op: Any = getattr(torch.ops.aten, name, None) if known else None
    overloads = [getattr(op, one) for one in op.overloads()] if hasattr(op, "overloads") else []
    tags = {tag for overload in overloads for tag in overload.tags}
    if torch.Tag.pointwise not in tags or torch.Tag.nondeterministic_seeded in tags:
        return None
    given = [*args, *(part for option in options.items() for part in option)]
    if not all(isinstance(part, (Symbol, float, int, str)) for part in given):
        return None
    parts = (part._index if isinstance(part, Symbol) else part for part in given)
    return function, len(args), *zip(map(type, given), parts, strict=True)


@cached
def _pruned(
    lines: tuple[_Line, ...], marks: tuple[int, ...]
) -> tuple[tuple[int, ...], dict[int, list[int]]]:
    """The code of the values that are needed, and what it uses of each kind, numbered anew."""
    needed, waiting = set[int](), list(marks)
    while waiting:
        index = waiting.pop()
        if index not in needed:
            needed.add(index)
            opcode, *operands = lines[index]
            waiting += operands[: _ARITY.get(opcode, 0)]
    places: dict[int, int] = {}
    used: dict[int, list[int]] = {CHANNEL: [], COEFFICIENT: [], COLUMN: [], CONSTANT: []}
    code: list[int] = []
    for index in sorted(needed):
        opcode, a, b = lines[index]
        if opcode in _ARITY:
            a, b = places[a], places[b] if _ARITY[opcode] == 2 else 0
        elif opcode in used and not (opcode == CHANNEL and a == 0):
            if a not in used[opcode]:
                used[opcode].append(a)
            a = used[opcode].index(a) + (opcode == CHANNEL)
        places[index] = len(places)
        code += (opcode, a, b)
    for index in marks:
        code += (RESIDUAL, places[index], 0)
    return tuple(code), used


def symbols_in(value: Any) -> Iterator[Symbol]:
    """The symbols in a value, lists and tuples included."""
    if isinstance(value, Symbol):
        yield value
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from symbols_in(one)


def _index(value: Symbol) -> int:
    return value._index


def _no_context() -> Context:
    raise NotExpressibleError("no points")
