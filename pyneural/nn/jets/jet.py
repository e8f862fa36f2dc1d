"""A tensor with all its derivatives with respect to the coordinates, in the place of a tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from pyneural.errors import ArgumentError
from pyneural.nn.jets.space import NoRule, Space
from pyneural.ops.jet import recorder
from pyneural.ops.jet.derivatives import Derivative

# Functions by the name of the operation; ``__add__``, ``add_`` and ``add`` have one name.
RULES: dict[str, Callable[..., Any]] = {}
# What is asked of the shape, the dtype, the device: they are those of the value.
_METADATA = frozenset({
    "get shape", "get dtype", "get device", "get ndim", "get is_cuda", "get is_cpu", "get layout",
    "get is_sparse", "get is_quantized", "get is_nested", "get is_meta", "get is_mps", "get names",
    "get itemsize", "get is_mkldnn", "get is_xpu", "size", "dim", "numel", "nelement",
    "ndimension", "len", "is_floating_point", "is_complex", "element_size", "hash", "get_device",
    "is_tensor", "is_storage", "isinstance", "is_signed", "get is_sparse_csr", "get is_vulkan",
    "get is_ipu", "get is_hpu", "get is_maia", "get is_mtia", "is_conj", "is_neg", "is_inference",
})  # fmt: skip
# What has no derivative: it is computed from the values, and is no jet.
_OF_VALUES = frozenset({
    "lt", "le", "gt", "ge", "eq", "ne", "less", "less_equal", "greater", "greater_equal", "equal",
    "not_equal", "isnan", "isinf", "isfinite", "isclose", "allclose", "logical_not", "logical_and",
    "logical_or", "argmax", "argmin", "argsort", "zeros_like", "ones_like", "full_like",
    "empty_like", "rand_like", "randn_like", "new_zeros", "new_ones", "new_full", "new_empty",
    "new_tensor", "signbit", "stride", "is_contiguous",
})  # fmt: skip
_ALIASES = recorder.ALIASES | {
    "radd": "add", "rmul": "mul", "rtruediv": "rdiv", "iadd": "add_", "isub": "sub_",
    "imul": "mul_", "itruediv": "div_", "ipow": "pow_", "rsub": "rsub",
    "get T": "t", "get mT": "mT", "get data": "detach",
    "concat": "cat", "concatenate": "cat", "swapaxes": "transpose", "swapdims": "transpose",
    "moveaxis": "movedim", "broadcast_to": "expand", "special_expm1": "expm1",
    "special_erf": "erf", "special_erfc": "erfc", "special_exp2": "exp2", "special_log1p": "log1p",
    "special_expit": "sigmoid", "special_softmax": "softmax", "special_digamma": "digamma",
    "special_gammaln": "lgamma", "special_log_softmax": "log_softmax", "arctan": "atan",
    "arcsin": "asin", "arccos": "acos", "arcsinh": "asinh", "arccosh": "acosh",
    "arctanh": "atanh", "special_logsumexp": "logsumexp", "clip": "clamp", "get real": "real",
}  # fmt: skip


class Jet(Tensor):
    """A tensor and its derivatives, which torch functions take as a tensor.

    Args:
        space: the points and the derivatives.
        value: of any shape.
        channels: the derivatives that are not zero, each in the shape of the value.
        at: the dimension of the points; its size is N, or a multiple where others were joined to it
            behind the points.
        marks: which column of x each element is, but for a shift, on the CPU; None for what is no
            coordinate.

    >>> space = Space("jet", torch.tensor([[2.0], [3.0]]), [(0,)])
    >>> jet = Jet.of_points(space)
    >>> (jet * jet).parts()[1][(0,)].tolist()
    [[4.0], [6.0]]
    """

    space: Space
    at: int
    marks: Tensor | None
    has_views: bool
    _size: torch.Size
    _kind: torch.dtype

    @staticmethod
    def __new__(cls, space: Space, like: Tensor, *args: Any, **kwargs: Any) -> Jet:  # noqa: D102
        return Tensor._make_wrapper_subclass(cls, like.shape, dtype=like.dtype, device=like.device)

    def __init__(
        self,
        space: Space,
        value: Tensor,
        channels: Mapping[Derivative, Tensor],
        at: int,
        marks: Tensor | None = None,
    ) -> None:
        self.space, self.at, self.marks, self.has_views = space, at, marks, False
        self._size, self._kind = value.shape, value.dtype
        self._parts = value, dict(channels)

    # What is asked most often is answered here, without torch's dispatch.

    shape = property(lambda self: self._size)
    ndim = property(lambda self: len(self._size))
    dtype = property(lambda self: self._kind)

    def dim(self) -> int:
        """Number of dimensions."""
        return len(self._size)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or one of its sizes."""
        return self._size if dim is None else self._size[dim]

    def numel(self) -> int:
        """Number of elements."""
        return self._size.numel()

    def __len__(self) -> int:
        return self._size[0]

    @classmethod
    def of_points(cls, space: Space) -> Jet:
        """The coordinates as functions of themselves."""
        x = space.x
        index = torch.arange(x.shape[1]).expand(x.shape)
        return cls(space, x, coordinate_channels(space, index, x, 0), 0, index)

    def parts(self) -> tuple[Tensor, dict[Derivative, Tensor]]:
        """The value and the derivatives that are not zero."""
        return self._parts

    def all_channels(self) -> dict[Derivative, Tensor]:
        """The derivatives, with the value under ()."""
        value, channels = self.parts()
        return {(): value, **channels}

    def snapshot(self) -> Jet:
        """The same jet, which no operation in place on this one changes."""
        return Jet(self.space, *self.parts(), self.at, self.marks)

    @property
    def coordinates(self) -> list[int] | None:
        """Which columns of x its own are, but for a shift; None for what are no coordinates."""
        if self.marks is None or self.dim() != 2 or self.at != 0 or not len(self.marks):
            return None
        return self.marks[0].tolist()

    @property
    def is_points(self) -> bool:
        """Whether it is the points themselves, but for a shift."""
        return self.coordinates == list(range(self.space.x.shape[1]))

    def expression(self) -> Any:
        """The same as an ``Expression``; None where its value is known."""
        return None

    def settle(self, result: Jet) -> None:
        """Takes over what another jet is, as an operation in place does."""
        self.at, self.marks = result.at, result.marks
        self._parts = result.parts()

    def absorb(self, name: str, args: tuple, kwargs: dict) -> Any:
        """The result of an operation that needs no values yet, or None."""
        return None

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"Jet({list(self.shape)}, derivatives={list(self.space.channels)})"

    @classmethod
    def __torch_function__(
        cls, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        return apply(function, args, kwargs or {})

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        raise NoRule(str(function))


def coordinate_channels(
    space: Space, index: Tensor, value: Tensor, at: int
) -> dict[Derivative, Tensor]:
    """The derivatives, not zero, of coordinates whose columns of x the index says."""
    if not value.numel():
        return {}
    row = index.narrow(at, 0, 1)
    columns = row.flatten().tolist()
    channels = {}
    for channel, unit in space.units.items():
        numbers = [unit[column] for column in columns]
        if any(numbers):
            channels[channel] = value.new_tensor(numbers).view(row.shape).expand(value.shape)
    return channels


def apply(function: Callable, args: tuple, kwargs: dict) -> Any:
    """A torch function of arguments with jets among them."""
    name = name_of(function)
    if name in _METADATA:
        with torch._C.DisableTorchFunctionSubclass():
            return function(*args, **kwargs)
    found = list(jets_in((*args, *kwargs.values())))
    if name == "get requires_grad":
        value, channels = found[0].parts()
        return value.requires_grad or any(c.requires_grad for c in channels.values())
    if name == "get grad_fn":
        return found[0].parts()[0].grad_fn
    if name == "get is_leaf":
        return False
    if not found or kwargs.get("out") is not None:
        raise NoRule(name)
    kwargs = {key: value for key, value in kwargs.items() if key != "out"}
    found[0].space.check_graph()
    if name in _OF_VALUES:
        return function(*_values(args), **_values(kwargs))
    if name.endswith("_") or kwargs.pop("inplace", False):
        return _in_place(name.removesuffix("_"), args, kwargs)
    return call_rule(name, args, kwargs, found)


def call_rule(name: str, args: tuple, kwargs: dict, found: Iterable[Jet]) -> Any:
    """The result of the rule of an operation.

    Raises:
        NoRule: there is none.
    """
    for jet in found:
        result = jet.absorb(name, args, kwargs)
        if result is not None:
            return result
    rule = RULES.get(name)
    if rule is None:
        raise NoRule(name)
    try:
        return rule(*args, **kwargs)
    except TypeError as error:  # an argument that the rule does not know
        if "unexpected keyword" in str(error) or "positional argument" in str(error):
            raise NoRule(name) from error
        raise


def _in_place(name: str, args: tuple, kwargs: dict) -> Any:
    """An operation that changes its first argument, a jet that shares nothing with another one."""
    target = args[0]
    if not isinstance(target, Jet) or target.has_views:
        raise NoRule(f"{name}_")
    result = call_rule(name, args, kwargs, [])
    if result is target or result.shape != target.shape:
        raise NoRule(f"{name}_")
    target.settle(result)
    return target


def rule(*names: str) -> Callable[[Callable], Callable]:
    """Makes a function the rule of operations of these names."""

    def register(function: Callable) -> Callable:
        for name in names:
            RULES[name] = function
        return function

    return register


def name_of(function: Callable) -> str:
    """One name for the forms of an operation.

    >>> name_of(torch.Tensor.__add__), name_of(torch.add), name_of(torch.Tensor.T.__get__)
    ('add', 'add', 't')
    """
    known = _names.get(function)
    if known is None:
        known = getattr(function, "__name__", str(function))
        if known in ("__get__", "__set__", "__delete__"):
            of: Any = getattr(function, "__self__", None)
            known = f"{known.strip('_')} {getattr(of, '__name__', of)}"
        elif known.startswith("__"):
            known = known.strip("_")
        known = _names[function] = _ALIASES.get(known, known)
    return known


_names: dict[Callable, str] = {}


def jets_in(arguments: Any) -> Iterator[Jet]:
    """The jets in arguments, lists and tuples included."""
    for argument in arguments:
        if isinstance(argument, Jet):
            yield argument
        elif isinstance(argument, (list, tuple)):
            yield from jets_in(argument)


def _values(arguments: Any) -> Any:
    if isinstance(arguments, Jet):
        return arguments.parts()[0].detach()
    if isinstance(arguments, dict):
        return {key: _values(value) for key, value in arguments.items()}
    if isinstance(arguments, (list, tuple)):
        return type(arguments)(_values(value) for value in arguments)
    return arguments


def channels_of(argument: Any) -> dict[Derivative, Any]:
    """The channels of a jet with its value under (); the value alone of anything else."""
    return argument.all_channels() if isinstance(argument, Jet) else {(): argument}


def shape_of(argument: Any) -> torch.Size:
    """The shape of a jet or tensor; () of a number."""
    return argument.shape if isinstance(argument, Tensor) else torch.Size()


def common_place(name: str, jets: Iterable[Jet], shape: torch.Size) -> int:
    """The dimension of the points in the result of an elementwise operation that broadcasts.

    Raises:
        ArgumentError: the points of two jets would lie along two dimensions.
    """
    at = None
    for jet in jets:
        here = len(shape) - jet.dim() + jet.at
        same = (at is None or at == here) and shape[here] == jet.shape[jet.at]
        if not same:
            raise jet.space.mixes(name)
        at = here
    if at is None:
        raise ArgumentError(f"{name}: expected a jet among the arguments, got none; give one")
    return at
