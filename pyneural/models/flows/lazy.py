"""Modules that give a transform or a distribution when they are given a context."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.distributions.transforms import Transform

from pyneural.models.flows.composed import ComposedTransform
from pyneural.models.flows.distributions import DiagNormal


class LazyDistribution(nn.Module):
    """A module that is a distribution p(X | c) once it is given the context c."""

    def forward(self, c: Tensor | None = None) -> Distribution:
        """p(X | c) of the context c [..., C]."""
        raise NotImplementedError


class LazyTransform(nn.Module):
    """A module that is a transform y = f(x | c) once it is given the context c."""

    def forward(self, c: Tensor | None = None) -> Transform:
        """f(. | c) of the context c [..., C]."""
        raise NotImplementedError

    @property
    def inv(self) -> LazyTransform:
        """The inverse, of the same parameters."""
        return LazyInverse(self)


class LazyInverse(LazyTransform):
    """The inverse of a lazy transform."""

    def __init__(self, transform: LazyTransform) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, c: Tensor | None = None) -> Transform:
        """f^-1(. | c)."""
        return self.transform(c).inv

    @property
    def inv(self) -> LazyTransform:
        """What it inverts."""
        return self.transform


class LazyComposedTransform(LazyTransform):
    """Lazy transforms, one after the other."""

    def __init__(self, *transforms: LazyTransform) -> None:
        super().__init__()
        self.transforms = nn.ModuleList(transforms)

    def forward(self, c: Tensor | None = None) -> Transform:
        """f_n o ... o f_1 (. | c)."""
        return ComposedTransform(*(transform(c) for transform in self.transforms))

    def __iter__(self) -> Iterator[nn.Module]:
        return iter(self.transforms)

    def __len__(self) -> int:
        return len(self.transforms)

    def __repr__(self) -> str:
        return repr(self.transforms).replace("ModuleList", type(self).__name__, 1)


class _Partial(nn.Module):
    """A function with arguments, of which tensors are parameters or buffers."""

    def __init__(
        self, f: Callable[..., Any], /, *args: Any, buffer: bool = False, **kwargs: Any
    ) -> None:
        super().__init__()
        self.f, self._places = f, [f"_{i}" for i in range(len(args))]
        self._names = list(kwargs)
        for name, value in {**dict(zip(self._places, args, strict=True)), **kwargs}.items():
            if isinstance(value, Tensor) and buffer:
                self.register_buffer(name, value)
            else:
                setattr(self, name, nn.Parameter(value) if isinstance(value, Tensor) else value)

    def forward(self, c: Tensor | None = None) -> Any:
        """f(*args, **kwargs); the context is not used."""
        named = {name: getattr(self, name) for name in self._names}
        return self.f(*(getattr(self, name) for name in self._places), **named)

    def extra_repr(self) -> str:
        """What it gives."""
        return repr(self.forward())


class UnconditionalDistribution(_Partial, LazyDistribution):
    """A distribution that does not depend on the context.

    Args:
        f: its constructor.
        args: of the constructor; tensors become parameters.
        buffer: whether they become buffers instead, which are not trained.
        kwargs: likewise.

    >>> from pyneural.models.flows.distributions import DiagNormal
    >>> UnconditionalDistribution(DiagNormal, torch.zeros(3), torch.ones(3), buffer=True)
    UnconditionalDistribution(DiagNormal(loc: torch.Size([3]), scale: torch.Size([3])))
    """


class UnconditionalTransform(_Partial, LazyTransform):
    """A transform that does not depend on the context; arguments as above.

    >>> from torch.distributions.transforms import ExpTransform
    >>> UnconditionalTransform(ExpTransform)()(torch.zeros(2))
    tensor([1., 1.])
    """


def standard_normal(features: int) -> UnconditionalDistribution:
    """The base of most flows, with the mean and standard deviation in buffers.

    >>> standard_normal(3)
    UnconditionalDistribution(DiagNormal(loc: torch.Size([3]), scale: torch.Size([3])))
    """
    loc, scale = torch.zeros(features), torch.ones(features)
    return UnconditionalDistribution(DiagNormal, loc=loc, scale=scale, buffer=True)


def with_context(x: Tensor, c: Tensor | None) -> Tensor:
    """[x, c] along the last dimension, the others broadcast."""
    if c is None:
        return x
    shape = torch.broadcast_shapes(x.shape[:-1], c.shape[:-1])
    return torch.cat([x.expand(*shape, x.shape[-1]), c.expand(*shape, c.shape[-1])], -1)
