"""Base class of the Keras-style layers, which are built once their input shape is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from pyneural.errors import is_whole, whole
from pyneural.layers.regularizers import Penalty, penalty
from pyneural.ops.activations import VALUES, check_activation

Shape = tuple[int, ...]

# What Keras calls some activations; softmax is none of the ops'.
_ALIASES = {None: "linear", "swish": "silu", "softmax": "softmax"}


def _not_built(argument: str) -> ValueError:
    return ValueError(
        f"{argument}: expected parameters of layers that are built, got one of a layer that waits "
        "for the shape of its input; call the model with one batch first"
    )


class _NoElements(Tensor):
    """What ``_Unbuilt.detach`` gives; all else than a copy to it is that of a tensor."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    def copy_(self, *_: Any, **__: Any) -> Tensor:
        """ValueError: an average of another model's weights."""
        raise _not_built("model")


class _Unbuilt(torch.nn.Parameter):
    """Stands for the weights until they are made, and remembers whether they are to be trained.

    So ``requires_grad_`` of any module around the layer reaches them. Optimisers and
    ``torch.optim.swa_utils.AveragedModel``, which would pair it with the weights of another model,
    are refused.
    """

    @property
    def is_leaf(self) -> bool:  # type: ignore[override]
        """False, upon which optimisers ask for ``retains_grad``."""
        return False

    @property
    def retains_grad(self) -> bool:  # type: ignore[override]
        """ValueError: only optimisers ask, for what is no leaf."""
        raise _not_built("optimizer")

    def detach(self) -> Tensor:
        """No elements, to which nothing can be copied."""
        return self.data.as_subclass(_NoElements)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Of its own class, which torch's method would forget."""
        return _Unbuilt, (self.data, self.requires_grad)


class Layer(torch.nn.Module):
    """A layer whose weights are created once the shape of its input is known.

    Args:
        input_shape: shape of one sample, without the batch dimension; optional, for the first layer
            of a model.
    """

    def __init__(self, input_shape: Sequence[int] | None = None) -> None:
        super().__init__()
        where = f"{type(self).__name__}: input_shape"
        given = None if input_shape is None else tuple(whole(where, size) for size in input_shape)
        self.input_shape = given
        self._built_for: Shape | None = None
        self.output_shape: Shape = ()
        self._trained = True  # once there is no weight any more to say so, as of Flatten
        self.register_parameter("unbuilt", _Unbuilt(torch.empty(0)))

    @property
    def built(self) -> bool:
        """Whether the weights are made."""
        return self._built_for is not None

    @property
    def later_requires_grad(self) -> bool:
        """Whether the weights are trained, once they are made."""
        unbuilt = self._parameters.get("unbuilt")
        return self._trained if unbuilt is None else unbuilt.requires_grad

    @later_requires_grad.setter
    def later_requires_grad(self, value: bool) -> None:
        self._trained = value
        unbuilt = self._parameters.get("unbuilt")
        if unbuilt is not None:
            unbuilt.requires_grad = value

    @property
    def trainable(self) -> bool:
        """Whether training changes the weights; may be set before they are made, too."""
        made = [parameter.requires_grad for parameter in self.parameters()]
        return any(made) if made else self.later_requires_grad

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Whether training changes the weights."""
        self.later_requires_grad = requires_grad
        return super().requires_grad_(requires_grad)

    def build(self, input_shape: Sequence[int]) -> Shape:
        """Creates the weights for samples of a shape, once, and returns the output shape.

        Raises:
            ValueError: a shape that the layer does not accept, or one that differs from the shape
                for which it was built.

        >>> from pyneural.layers import Dense
        >>> Dense(3).build((5,))
        (3,)
        """
        shape = tuple(input_shape)
        if self._built_for is None:
            self.output_shape = self.make(shape)
            self._trained = self.later_requires_grad
            self._parameters.pop("unbuilt", None)
            if not self._trained:
                super().requires_grad_(False)
            self._built_for = shape
        elif shape != self._built_for:
            raise ValueError(
                f"{type(self).__name__}: input_shape: expected {self._built_for}, for which "
                f"the layer was built, got {shape}; create another layer"
            )
        return self.output_shape

    def register_parameter(self, name: str, param: torch.nn.Parameter | None) -> None:
        """Once the weights are made, nothing stands for them any more.

        Where a call within ``torch.func.functional_call`` builds the layer, torch would put back
        all parameters that it has exchanged.
        """
        if not (isinstance(param, _Unbuilt) and self.built):
            super().register_parameter(name, param)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Moves and converts the weights, or what stands for them until they are made."""
        unbuilt = self._parameters.pop("unbuilt", None)  # no leaf, on which torch insists
        try:
            super()._apply(fn, recurse)
        finally:
            if unbuilt is not None:
                self._parameters["unbuilt"] = unbuilt
        if unbuilt is not None:
            with torch.no_grad():
                self._parameters["unbuilt"] = _Unbuilt(fn(unbuilt.data), unbuilt.requires_grad)
        return self

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination.pop(f"{prefix}unbuilt", None)

    def _load_from_state_dict(
        self, state: Any, prefix: str, metadata: Any, strict: bool, missing: list[str], *rest: Any
    ) -> None:
        super()._load_from_state_dict(state, prefix, metadata, strict, missing, *rest)
        name = f"{prefix}unbuilt"
        missing[:] = [key for key in missing if key != name]

    def make(self, shape: Shape) -> Shape:
        """Creates the weights for samples of a shape; returns the output shape, here the same."""
        return shape

    def __call__(self, x: Tensor) -> Tensor:
        """Applies the layer to x [N, ...]; the first call builds it."""
        if self._built_for is None:
            self.build(x.shape[1:])
            self.to(x.device, x.dtype if x.is_floating_point() else None)
        return super().__call__(x)

    def penalty(self) -> Tensor | None:
        """What regularisers add to the loss, []; None without one."""
        penalties = [
            penalty(factors, weight)
            for factors, weight in zip(self._factors(), self._regularised(), strict=True)
            if factors is not None and weight is not None
        ]
        return sum(penalties[1:], start=penalties[0]) if penalties else None

    def _factors(self) -> list[Penalty | None]:
        names = ("kernel_regularizer", "bias_regularizer")
        return [getattr(self, name, None) for name in names]

    def _regularised(self) -> list[Tensor | None]:
        """Kernel and bias."""
        return [None, None]

    def positive(self, argument: str, value: int) -> int:
        """The value if it is a positive integer; otherwise ValueError."""
        if not is_whole(value) or value < 1:
            raise ValueError(
                f"{type(self).__name__}: {argument}: expected an integer >= 1, got {value!r}; "
                "correct it"
            )
        return int(value)

    def expect(self, shape: Shape, dimensions: int, what: str) -> None:
        """ValueError unless samples have this number of dimensions."""
        if len(shape) != dimensions:
            raise ValueError(
                f"{type(self).__name__}: input_shape: expected {what}, got {shape}; "
                "insert layers.Reshape or layers.Flatten before this layer"
            )


def checked_activation(layer: Layer, activation: str | None) -> str:
    """The name that the ops know an activation by; ValueError for an unknown one."""
    return check_activation(type(layer).__name__, activation, _ALIASES)


def apply_activation(activation: str, x: Tensor) -> Tensor:
    """The activation of x, by a name from ``checked_activation``."""
    return torch.softmax(x, -1) if activation == "softmax" else VALUES[activation](x)


def glorot_uniform_(layer: Any) -> None:
    """Initialises as Keras does: the weight Glorot uniform, the bias with zero."""
    torch.nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        torch.nn.init.zeros_(layer.bias)
