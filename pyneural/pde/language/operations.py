"""One name for the forms of an operation: ``a - b``, ``torch.sub``, ``torch.subtract``."""

from __future__ import annotations

from pyneural.ops.jet import recorder
from pyneural.pde.language.rules import Operation

ALIASES = recorder.ALIASES | {
    "arctan": "atan", "arcsin": "asin", "arccos": "acos", "float_power": "pow",
}  # fmt: skip
_REFLECTED = ("radd", "rsub", "rmul", "rdiv", "rtruediv", "rpow", "rfloordiv", "rmod")


def operation_of(name: str, args: tuple, kwargs: dict) -> Operation:
    """The operation that a call of a torch function is; without operands if it has options.

    >>> operation_of("__rsub__", (1.0, 2.0), {})
    ('sub', (2.0, 1.0))
    """
    name = name.strip("_")
    if kwargs:
        return f"{name} with {', '.join(kwargs)}", ()
    if name in _REFLECTED:
        name, args = name[1:], args[::-1]
    return ALIASES.get(name, name), args
