"""Writes a residual program from a function in Python, by calling it once with symbols."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from pyneural.ops.jet.derivatives import Derivative
from pyneural.ops.jet.residual import (
    CHANNEL,
    COEFFICIENT,
    COLUMN,
    CONSTANT,
    FUNCTIONS,
    INPUT,
    RESIDUAL,
    ResidualProgram,
)

# Other names that Python and torch have for the functions.
ALIASES = {
    "negative": "neg", "absolute": "abs", "subtract": "sub", "multiply": "mul", "divide": "div",
    "truediv": "div", "true_divide": "div",
}  # fmt: skip
_REFLECTED = ("radd", "rsub", "rmul", "rdiv", "rtruediv")
_LARGEST_POWER = 64


class NotExpressibleError(Exception):
    """An operation that residual programs have no instruction for."""


class Recorder:
    """A residual program under construction; equal instructions are written once."""

    def __init__(self) -> None:
        self.derivatives: list[Derivative] = []
        self.coefficients: list[Tensor] = []
        self._values: dict[tuple[int, int, int], int] = {}
        self._constants: dict[tuple[float, float], int] = {}

    def emit(self, opcode: int, a: int, b: int = 0) -> int:
        """Index of the value that an instruction defines."""
        return self._values.setdefault((opcode, a, b), len(self._values))

    def channel(self, derivative: Derivative | None, output: int) -> int:
        """Index of a derivative (None: the value itself) of an output."""
        if derivative is None:
            return self.emit(CHANNEL, 0, output)
        if derivative not in self.derivatives:
            self.derivatives.append(derivative)
        return self.emit(CHANNEL, 1 + self.derivatives.index(derivative), output)

    def constant(self, value: float) -> int:
        """Index of a constant."""
        key = value, math.copysign(1.0, value)  # 0.0 and -0.0 are equal
        return self.emit(CONSTANT, self._constants.setdefault(key, len(self._constants)))

    def input(self, index: int) -> Symbol:
        """The symbol of a coordinate."""
        return self.symbol(self.emit(INPUT, index))

    def column(self, index: int) -> Symbol:
        """The symbol of a row of the columns, which has a value for each point."""
        return self.symbol(self.emit(COLUMN, index))

    def symbol(self, index: int) -> Symbol:
        """The symbol of a value."""
        return Symbol(self, index)

    def operand(self, value: Any) -> int:
        """Index of an operand: a symbol, a number, or a tensor of one element."""
        if isinstance(value, Symbol):
            return value._index
        if isinstance(value, Tensor):
            if value.numel() != 1 or value.dim() > 1 or value.is_complex():
                raise NotExpressibleError("a tensor of several elements")
            for index, coefficient in enumerate(self.coefficients):
                if coefficient is value:
                    return self.emit(COEFFICIENT, index)
            self.coefficients.append(value)
            return self.emit(COEFFICIENT, len(self.coefficients) - 1)
        try:
            constant = float(value)
        except (TypeError, ValueError):
            raise NotExpressibleError(type(value).__name__) from None
        if not math.isfinite(constant):
            raise NotExpressibleError(str(constant))
        return self.constant(constant)

    def apply(self, name: str, operands: Sequence[Any]) -> Symbol:
        """Symbol of an operation, given by its Python or torch name."""
        function = FUNCTIONS.get(ALIASES.get(name, name))
        if function is not None and function.operands == len(operands):
            return self.symbol(self.emit(function.opcode, *map(self.operand, operands)))
        if name in ("pow", "rpow") and len(operands) == 2:
            return self._power(*(operands if name == "pow" else reversed(operands)))
        if name in _REFLECTED:
            return self.apply(name[1:], operands[::-1])
        if name == "reciprocal":
            return self.apply("div", (1.0, *operands))
        raise NotExpressibleError(name)

    def _power(self, base: Any, exponent: Any) -> Symbol:
        if not isinstance(base, Symbol) or not isinstance(exponent, (int, float)):
            raise NotExpressibleError("pow")
        if exponent == 0.5:
            return self.apply("sqrt", (base,))
        if not 1 <= abs(exponent) <= _LARGEST_POWER or exponent != int(exponent):
            raise NotExpressibleError("pow")
        power = self._product(base, abs(int(exponent)))
        return self.apply("reciprocal", (power,)) if exponent < 0 else power

    def _product(self, base: Symbol, exponent: int) -> Symbol:
        if exponent == 1:
            return base
        half = self.apply("square", (self._product(base, exponent // 2),))
        return self.apply("mul", (half, base)) if exponent % 2 else half

    def program(self, residuals: Any) -> ResidualProgram:
        """The program whose residuals these are: one operand, or several."""
        several = residuals if isinstance(residuals, (tuple, list)) else (residuals,)
        marks = [(RESIDUAL, self.operand(residual), 0) for residual in several]
        code = tuple(element for line in (*self._values, *marks) for element in line)
        return ResidualProgram(code, tuple(value for value, _ in self._constants))


class Symbol:
    """A value of the program, in the place of a tensor [N] of the residual."""

    __slots__ = ("_index", "_recorder")
    __array_ufunc__ = None  # numpy scalars leave the arithmetic to this class

    def __init__(self, recorder: Recorder, index: int) -> None:
        self._recorder, self._index = recorder, index

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__") or not hasattr(Tensor, attribute):
            raise AttributeError(attribute)
        if callable(getattr(Tensor, attribute)):
            return partial(_operator(attribute), self)
        raise NotExpressibleError(attribute)

    def __bool__(self) -> bool:
        raise NotExpressibleError("a decision that depends on values")

    __float__ = __int__ = __len__ = __index__ = __iter__ = __bool__

    @classmethod
    def __torch_function__(
        cls, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        symbol = next((a for a in args if isinstance(a, Symbol)), None)
        name = getattr(function, "__name__", "")
        name = name[2:-2] if name.startswith("__") else name
        if symbol is None or kwargs:
            raise NotExpressibleError(name)
        return symbol._recorder.apply(name, args)


def _operator(name: str) -> Callable:
    def apply(self: Symbol, *operands: Any, **options: Any) -> Symbol:
        if options:
            raise NotExpressibleError(name)
        return self._recorder.apply(name, (self, *operands))

    return apply


for _name in [
    *["add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "floordiv", "rfloordiv"],
    *["mod", "rmod", "pow", "rpow", "matmul", "rmatmul", "neg", "pos", "abs", "lt", "le", "gt"],
    *["ge", "eq", "ne", "and", "or", "xor", "invert", "getitem"],
]:
    setattr(Symbol, f"__{_name}__", _operator(_name))


class _Values:
    """Values of one opcode, by their operands in brackets."""

    def __init__(self, recorder: Recorder, opcode: int) -> None:
        self._recorder, self._opcode = recorder, opcode

    def __getitem__(self, operands: int | tuple[int, int]) -> Symbol:
        a, b = operands if isinstance(operands, tuple) else (operands, 0)
        return self._recorder.symbol(self._recorder.emit(self._opcode, a, b))


def record_residual(residual: Callable[..., Any]) -> ResidualProgram:
    """The program of a residual, for ``jet_mlp_loss``.

    Args:
        residual: a function of (jet, x, c) or (jet, x, c, columns) that returns one residual or a
            tuple of several. ``jet[k, o]`` is derivative k of output o, k = 0 its value; ``x[d]``
            is coordinate d, ``c[q]`` coefficient q and ``columns[r]`` row r of the columns, which
            has a value for each point. They take part in arithmetic, whole powers and the torch
            functions of ``jet.residual.FUNCTIONS``.

    Raises:
        NotExpressibleError: another operation.

    Example:
        >>> record_residual(lambda jet, x, c: jet[1, 0] + jet[0, 0] * jet[2, 0] - 0.5 * jet[3, 0])
        ResidualProgram("channel 1 0; channel 0 0; channel 2 0; mul 1 2; add 0 3; channel 3 0;
        constant 0.5; mul 6 5; sub 4 7; residual 8")
        >>> record_residual(lambda jet, x, c, columns: columns[0] * (jet[1, 0] - columns[1]))
        ResidualProgram("column 0; channel 1 0; column 1; sub 1 2; mul 0 3; residual 4")
    """
    recorder = Recorder()
    opcodes = [CHANNEL, INPUT, COEFFICIENT, COLUMN][: 4 if _takes_columns(residual) else 3]
    return recorder.program(residual(*(_Values(recorder, opcode) for opcode in opcodes)))


def _takes_columns(residual: Callable) -> bool:
    """Whether a function has a fourth argument that must be given."""
    try:
        parameters = inspect.signature(residual).parameters.values()
    except (TypeError, ValueError):  # not every callable says what it takes
        return False
    places = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    required = [p for p in parameters if p.kind in places and p.default is p.empty]
    return len(required) > 3
