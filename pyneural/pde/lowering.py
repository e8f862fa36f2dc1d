"""Lowers a residual written in Python to the program that ``ops.jet_mlp_loss`` runs.

The residual is called once with symbols in place of tensors; every operation on a symbol appends
an instruction. That takes microseconds, so it is done anew at every call, and a constant or a flag
that changed between two calls is always seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pyneural.ops.derivatives import Derivative
from pyneural.pde.field import derivative_of, unknown_attribute

# Names that Python and torch give to operations, by the instruction they become.
_UNARY = {
    "neg": "neg", "negative": "neg", "square": "square", "sqrt": "sqrt", "sin": "sin",
    "cos": "cos", "exp": "exp", "log": "log", "tanh": "tanh", "abs": "abs", "absolute": "abs",
}  # fmt: skip
_BINARY = {
    "add": "add", "sub": "sub", "subtract": "sub", "mul": "mul", "multiply": "mul",
    "div": "div", "divide": "div", "truediv": "div", "true_divide": "div",
}  # fmt: skip
_LARGEST_POWER = 64


class NotExpressibleError(Exception):
    """The residual uses an operation that the program has no instruction for."""


class Program:
    """A residual program under construction; equal instructions are written once."""

    def __init__(self, inputs: Sequence[str]) -> None:
        self.inputs = tuple(inputs)
        self.derivatives: list[Derivative] = []
        self.coefficients: list[Tensor] = []
        self.residuals: list[int] = []
        self._values: dict[str, int] = {}

    def emit(self, instruction: str) -> int:
        """Index of the value that an instruction defines."""
        return self._values.setdefault(instruction, len(self._values))

    def channel(self, derivative: Derivative | None, output: int) -> int:
        """Value of a derivative (None: the value itself) of an output."""
        if derivative is None:
            return self.emit(f"channel 0 {output}")
        if derivative not in self.derivatives:
            self.derivatives.append(derivative)
        return self.emit(f"channel {1 + self.derivatives.index(derivative)} {output}")

    def operand(self, value: Any) -> int:
        """Index of an operand: a symbol, a number, or a tensor of one element."""
        if isinstance(value, Symbol):
            return value._index
        if isinstance(value, Tensor):
            if value.numel() != 1 or value.dim() > 1 or value.is_complex():
                raise NotExpressibleError("a tensor of several elements")
            for index, coefficient in enumerate(self.coefficients):
                if coefficient is value:
                    return self.emit(f"coefficient {index}")
            self.coefficients.append(value)
            return self.emit(f"coefficient {len(self.coefficients) - 1}")
        try:
            constant = float(value)
        except (TypeError, ValueError):
            raise NotExpressibleError(type(value).__name__) from None
        if not math.isfinite(constant):
            raise NotExpressibleError(str(constant))
        return self.emit(f"const {constant!r}")

    def apply(self, name: str, operands: Sequence[Any]) -> Symbol:
        """Symbol of an operation, given by its Python or torch name."""
        if name in ("pow", "rpow") and len(operands) == 2:
            return self._power(*(operands if name == "pow" else reversed(operands)))
        if name in ("reciprocal", "rdiv", "rtruediv", "rsub", "radd", "rmul") and operands:
            name = "truediv" if name == "reciprocal" else name[1:]
            operands = (operands[1] if len(operands) == 2 else 1.0, operands[0])
        indices = [self.operand(value) for value in operands]
        instruction = {1: _UNARY, 2: _BINARY}.get(len(indices), {}).get(name)
        if instruction is None:
            raise NotExpressibleError(name)
        return Symbol(self, self.emit(f"{instruction} {' '.join(map(str, indices))}"))

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

    def text(self) -> str:
        """The program as ``ops.jet_mlp_loss`` reads it."""
        return "; ".join([*self._values, *(f"residual {index}" for index in self.residuals)])


class Symbol:
    """A value of the program, in the place of a tensor [N] of the residual."""

    __slots__ = ("_index", "_program")
    __array_ufunc__ = None  # numpy scalars leave the arithmetic to this class

    def __init__(self, program: Program, index: int) -> None:
        self._program, self._index = program, index

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        if not hasattr(Tensor, attribute) or derivative_of(attribute, self._program.inputs):
            raise ValueError(
                f"residual: .{attribute}: expected a method of torch.Tensor after a derivative, an "
                f"input or a result, got {attribute!r}; write a derivative in one name: u.xt"
            )
        if callable(getattr(Tensor, attribute)):
            return lambda *operands, **options: _apply(self, attribute, operands, options)
        raise NotExpressibleError(attribute)

    def __bool__(self) -> bool:
        raise NotExpressibleError("a decision that depends on values")

    __float__ = __int__ = __len__ = __index__ = __iter__ = __bool__

    @classmethod
    def __torch_function__(
        cls, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        program = next((a._program for a in args if isinstance(a, Symbol)), None)
        name = getattr(function, "__name__", "")
        name = name[2:-2] if name.startswith("__") else name
        if program is None or kwargs:
            raise NotExpressibleError(name)
        return program.apply(name, args)


class OutputSymbol(Symbol):
    """An output of the network: also gives its derivatives by attribute."""

    __slots__ = ("_name", "_output")

    def __init__(self, program: Program, name: str, output: int) -> None:
        super().__init__(program, program.channel(None, output))
        self._name, self._output = name, output

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        program = self._program
        derivative = derivative_of(attribute, program.inputs)
        if derivative is not None:
            return Symbol(program, program.channel(derivative, self._output))
        if not hasattr(Tensor, attribute):
            raise unknown_attribute(self._name, attribute, program.inputs)
        return super().__getattr__(attribute)


def _apply(symbol: Symbol, name: str, operands: tuple, options: dict) -> Symbol:
    if options:
        raise NotExpressibleError(name)
    return symbol._program.apply(name, (symbol, *operands))


def _operator(name: str) -> Callable:
    def apply(self: Symbol, *operands: Any) -> Symbol:
        return self._program.apply(name, (self, *operands))

    return apply


for _name in [
    *["add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "floordiv", "rfloordiv"],
    *["mod", "rmod", "pow", "rpow", "matmul", "rmatmul", "neg", "pos", "abs", "lt", "le", "gt"],
    *["ge", "eq", "ne", "and", "or", "xor", "invert", "getitem"],
]:
    setattr(Symbol, f"__{_name}__", _operator(_name))


def lower(
    residual: Callable, arguments: Sequence[str], inputs: Sequence[str], outputs: Sequence[str]
) -> Program | None:
    """The program of a residual, or None if an operation in it has no instruction.

    Numbers become constants; tensors of one element (parameters to learn, buffers) become
    coefficients, in the order of their first use; whole powers become products.

    Args:
        residual: called with symbols; returns one residual or several.
        arguments: names of its arguments, each an output or an input.
        inputs: names of the inputs, in the order of the columns.
        outputs: names of the outputs, in the order of the columns.

    Raises:
        ValueError: the residual uses a name that is neither a derivative nor a tensor method.

    >>> burgers = lower(lambda u: u.t + u * u.x - 0.1 * u.xx, ["u"], "tx", "u")
    >>> burgers.derivatives
    [(0,), (1,), (1, 1)]
    >>> burgers.text().split("; ")[3:6]
    ['mul 0 2', 'add 1 3', 'channel 3 0']
    """
    program = Program(inputs)
    symbols: dict[str, Symbol] = {}
    for argument in arguments:
        if argument in outputs:
            symbols[argument] = OutputSymbol(program, argument, list(outputs).index(argument))
        else:
            index = program.inputs.index(argument)
            symbols[argument] = Symbol(program, program.emit(f"input {index}"))
    try:
        result = residual(**symbols)
        results = result if isinstance(result, (tuple, list)) else (result,)
        program.residuals = [program.operand(value) for value in results]
    except (NotExpressibleError, TypeError):  # torch raises TypeError where it takes tensors only
        return None
    return program


def stacked(coefficients: Sequence[Tensor], like: Tensor) -> Tensor | None:
    """Coefficients as one tensor [Q] with the dtype and device of ``like``; None without any.

    >>> stacked([torch.tensor(2.0), torch.tensor([3.0])], torch.zeros(1)).tolist()
    [2.0, 3.0]
    """
    if not coefficients:
        return None
    return torch.stack([value.reshape(()).to(like) for value in coefficients])
