"""The distribution that a flow is, and those that it starts from."""

from __future__ import annotations

from textwrap import indent
from typing import Any

import torch
from torch import Size, Tensor
from torch.distributions import Distribution, Independent, Normal, Uniform, constraints
from torch.distributions.transforms import Transform

from pyneural.errors import check_argument, check_tensor
from pyneural.models.flows.columns import are_readable
from pyneural.models.flows.composed import ComposedTransform
from pyneural.models.flows.transforms import call_and_ladj, sum_rightmost

_FEW = 64


class NormalizingFlow(Distribution):
    """Distribution of X = f^-1(Z), Z from a base distribution.

        log p(x) = log p_Z(f(x)) + log |det df/dx|

    It is a ``torch.distributions.Distribution``, of batch shape [...] and event shape [D].

    Args:
        transform: f, from data to base.
        base: distribution of Z.
        validate_args: whether values outside of bounded features are an error, as by default in
            torch.distributions; without it their density is 0.

    Source: Tabak and Turner 2013; Rezende and Mohamed 2015, arXiv:1505.05770; Papamakarios et al.
        2021, arXiv:1912.02762.

    >>> from pyneural.models.flows.affine import MonotonicAffineTransform
    >>> double = MonotonicAffineTransform(torch.zeros(2), torch.ones(2).log())
    >>> flow = NormalizingFlow(double, DiagNormal(torch.zeros(2), torch.ones(2)))
    >>> flow.log_prob(torch.zeros(5, 2)).shape, flow.sample((4,)).shape
    (torch.Size([5]), torch.Size([4, 2]))
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 (as torch declares it)
    has_rsample = True

    def __init__(
        self, transform: Transform, base: Distribution, validate_args: bool = True
    ) -> None:
        missing = transform.codomain.event_dim - len(base.event_shape)
        self.transform = transform
        self.base = Vectors(base, missing, validate_args=False) if missing > 0 else base
        self.reinterpreted = max(-missing, 0)
        event_shape = transform.inverse_shape(self.base.event_shape)
        super().__init__(self.base.batch_shape, event_shape, validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        """The domain of the transform."""
        return self.transform.domain

    def expand(self, batch_shape: Any, _instance: Distribution | None = None) -> NormalizingFlow:
        """The same with a larger batch shape."""
        new: Any = self._get_checked_instance(NormalizingFlow, _instance)
        new.transform, new.reinterpreted = self.transform, self.reinterpreted
        new.base = self.base.expand(Size(batch_shape))
        Distribution.__init__(new, Size(batch_shape), self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats, [...], of value [..., D].

        Raises:
            ArgumentError: no floating-point tensor, another number of features, rows that do not
                broadcast with those of the context, or a value outside the support.
        """
        self._check(value)
        z, ladj = call_and_ladj(self.transform, value)
        return self.base.log_prob(z) + sum_rightmost(ladj, self.reinterpreted)

    def mean_nll(self, value: Tensor) -> Tensor:
        """Mean negative log-likelihood [] in nats a row, of rows [N, D].

        On the CPU it and its gradient are one call of ``ops.autoregressive_nll`` where the flow
        ends with layers that this op has and starts from the standard normal distribution.

        Raises:
            ArgumentError: as of ``log_prob``.
        """
        if isinstance(self.transform, ComposedTransform) and self._is_one_call(value):
            self._check(value)
            loss = self.transform.mean_nll(value)
            if loss is not None:
                return loss
        return -self.log_prob(value).mean()

    def _is_one_call(self, value: Tensor) -> bool:
        """Whether ``mean_nll`` may be, as far as distribution and rows say it."""
        base = self.base
        if type(self) is not NormalizingFlow or type(self.transform) is not ComposedTransform:
            return False
        if value.dim() != 2 or not value.is_cpu or not are_readable(value):
            return False
        if base.batch_shape not in ((), value.shape[:1]) or self.reinterpreted != 0:
            return False
        return type(base) is DiagNormal and base.is_standard() and len(base.event_shape) == 1

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Samples [*sample_shape, ..., D], with a gradient for the parameters."""
        return self.transform.inv(self._noise(sample_shape))

    def rsample_and_log_prob(self, sample_shape: Any = ()) -> tuple[Tensor, Tensor]:
        """Samples and their log-density, from one pass of the inverse."""
        z = self._noise(sample_shape)
        x, ladj = call_and_ladj(self.transform.inv, z)
        return x, self.base.log_prob(z) - sum_rightmost(ladj, self.reinterpreted)

    def _noise(self, sample_shape: Any) -> Tensor:
        shape = Size(sample_shape)
        return self.base.rsample(shape) if self.base.has_rsample else self.base.sample(shape)

    def _check(self, value: Tensor) -> None:
        where, dims = "NormalizingFlow.log_prob: value", len(self.event_shape)
        check_tensor(where, value)
        good, remedy = value.is_floating_point(), "convert it with value.float()"
        check_argument(good, where, "floating-point numbers", value.dtype, remedy)
        if value.dim() < dims or value.shape[value.dim() - dims :] != self.event_shape:
            sizes, got = ", ".join(map(str, self.event_shape)), list(value.shape)
            remedy = "give one row a sample, one column a feature"
            check_argument(False, where, f"[..., {sizes}]", got, remedy)
        leading = value.shape[: value.dim() - dims]
        rows = zip(reversed(leading), reversed(self.batch_shape), strict=False)
        if not all(own == other or 1 in (own, other) for own, other in rows):
            batch, got = ", ".join(map(str, self.batch_shape)), list(value.shape)
            expected = f"rows that broadcast with [{batch}] of the context"
            check_argument(False, where, expected, got, "give a context for each row, or one, [C]")
        check = getattr(self.support, "check_columns", None)
        if self._validate_args and check is not None:
            check(where, value)

    def __repr__(self) -> str:
        lines = indent(f"(transform): {self.transform}\n(base): {self.base}", "  ")
        return f"{type(self).__name__}(\n{lines}\n)"


class Vectors(Independent):
    """torch's ``Independent``, whose ``log_prob`` takes no rows, too.

    >>> Vectors(Normal(torch.zeros(3), torch.ones(3)), 1).log_prob(torch.zeros(0, 3)).shape
    torch.Size([0])
    """

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats, [...]."""
        return sum_rightmost(self.base_dist.log_prob(value), self.reinterpreted_batch_ndims)


class DiagNormal(Vectors):
    """Normal distribution of D independent features.

    Args:
        loc: means, [..., D].
        scale: standard deviations, [..., D].
        ndims: number of last dimensions that are one event.

    >>> DiagNormal(torch.zeros(3), torch.ones(3))
    DiagNormal(loc: torch.Size([3]), scale: torch.Size([3]))
    """

    def __init__(self, loc: Tensor, scale: Tensor, ndims: int = 1) -> None:
        loc, scale = torch.as_tensor(loc), torch.as_tensor(scale)
        super().__init__(Normal(loc, scale, validate_args=False), ndims, validate_args=False)

    def is_standard(self) -> bool:
        """Whether it is the standard normal distribution, and stays so in training."""
        return is_standard(self.base_dist.loc, self.base_dist.scale)

    def expand(self, batch_shape: Any, _instance: Distribution | None = None) -> Distribution:
        """The same with a larger batch shape."""
        return super().expand(batch_shape, self._get_checked_instance(DiagNormal, _instance))

    def __repr__(self) -> str:
        return f"Diag{self.base_dist!r}"


def is_standard(loc: Tensor, scale: Tensor) -> bool:
    """Whether means and standard deviations are 0 and 1, and stay so in training.

    >>> is_standard(torch.zeros(2), torch.ones(2))
    True
    """
    if loc.requires_grad or scale.requires_grad:
        return False
    if loc.numel() > _FEW:
        return not bool(loc.any()) and bool((scale == 1).all())
    # Lists take less time than calls of torch.
    return not any(loc.flatten().tolist()) and all(s == 1 for s in scale.flatten().tolist())


class NormalOrUniform(Distribution):
    """D independent features, some normal with mean 0, the others uniform around 0.

    Args:
        uniform: [D], True for the uniform ones.
        scale: [D], standard deviation of a normal one, half the width of a uniform one.

    >>> base = NormalOrUniform(torch.tensor([True, False]), torch.tensor([0.5, 1.0]))
    >>> base.log_prob(torch.tensor([[0.4, 0.0], [0.6, 0.0]]))
    tensor([-0.9189, -0.9189])
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 (as torch declares it)
    has_rsample = True

    def __init__(self, uniform: Tensor, scale: Tensor) -> None:
        self.uniform, self.scale = uniform, scale
        super().__init__(Size(), scale.shape, validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """All numbers of a normal feature, and as wide as a uniform one is."""
        end = self.scale.masked_fill(~self.uniform, torch.inf)
        return constraints.independent(constraints.interval(-end, end), 1)

    def expand(self, batch_shape: Any, _instance: Distribution | None = None) -> Distribution:
        """The same with a larger batch shape."""
        new: Any = self._get_checked_instance(NormalOrUniform, _instance)
        new.uniform, new.scale = self.uniform, self.scale
        Distribution.__init__(new, Size(batch_shape), self.event_shape, validate_args=False)
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density in nats, [...]; a circle has no ends, so that of all points of it is one."""
        normal = Normal(0, self.scale, validate_args=False).log_prob(value)
        each = torch.where(self.uniform, -(2 * self.scale).log(), normal)
        return each.sum(-1).expand(torch.broadcast_shapes(value.shape[:-1], self.batch_shape))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Samples [*sample_shape, ..., D]."""
        shape = self._extended_shape(Size(sample_shape))
        like = self.scale.expand(shape)
        return self.scale * torch.where(
            self.uniform, 2 * torch.rand_like(like) - 1, torch.randn_like(like)
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.scale)}, {int(self.uniform.sum())} uniform)"


class BoxUniform(Vectors):
    """Uniform distribution on a box, lower_i <= X_i < upper_i.

    Args:
        lower: [..., D].
        upper: [..., D].
        ndims: number of last dimensions that are one event.

    >>> BoxUniform(torch.zeros(3), torch.ones(3)).log_prob(torch.full((3,), 0.5))
    tensor(0.)
    """

    def __init__(self, lower: Tensor, upper: Tensor, ndims: int = 1) -> None:
        lower, upper = torch.as_tensor(lower), torch.as_tensor(upper)
        super().__init__(Uniform(lower, upper, validate_args=False), ndims, validate_args=False)

    def expand(self, batch_shape: Any, _instance: Distribution | None = None) -> Distribution:
        """The same with a larger batch shape."""
        return super().expand(batch_shape, self._get_checked_instance(BoxUniform, _instance))

    def __repr__(self) -> str:
        return f"Box{self.base_dist!r}"
