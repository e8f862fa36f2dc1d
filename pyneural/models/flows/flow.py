"""The base class of all flows: a distribution that is trained."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from pyneural.errors import ArgumentError
from pyneural.models.flows.bounded import Bounded, Bounds
from pyneural.models.flows.distributions import DiagNormal, NormalizingFlow
from pyneural.models.flows.gaussianisation import Gaussianisation
from pyneural.models.flows.lazy import (
    LazyComposedTransform,
    LazyDistribution,
    LazyTransform,
    UnconditionalDistribution,
    check_context,
)
from pyneural.models.flows.transforms import ComposedTransform
from pyneural.models.flows.whitening import Whitening, check_columns
from pyneural.training import Batch, History, Model
from pyneural.training.checks import check
from pyneural.training.data.adapter import of_arrays
from pyneural.training.data.nested import several
from pyneural.training.data.stream import Stream
from pyneural.training.data.tensors import columns_of, to_tensor
from pyneural.training.state.file import check_weights, read_model

_WHITENING = "whitening."


class Flow(Model):
    """A normalizing flow p(X | c): lazy transforms and a base distribution.

        log p(x | c) = log p_Z(f(x | c)) + log |det df/dx|

    ``flow(c)`` gives the distribution of the context c [..., C], ``flow()`` that without one: a
    ``torch.distributions.Distribution`` with ``log_prob``, ``sample``, ``rsample``,
    ``rsample_and_log_prob`` and ``expand``. It is trained to the smallest mean negative
    log-likelihood, in nats a row, as any model: ``compile("adam")`` and ``fit(x)``, or
    ``fit(x, c)`` with a context for each row; ``losses`` is what a ``Trainer`` needs.

    ``fit`` puts a whitening of its data (``Whitening``) before the transforms, once. This is the
    only difference from zuko's flows of the same name: constructor and ``state_dict`` keys are
    theirs, and ``load_state_dict(strict=True)`` takes a checkpoint either way, as long as ``fit``
    was told ``whiten=False``; a whitening adds the keys ``whitening.*``. A flow that was given
    weights by ``load_state_dict`` or ``load`` keeps what they came with.

    Args:
        transform: lazy transforms, from data to base, or one.
        base: lazy distribution of Z.
        features: D, where the base does not say it.
        context: C; None where it is not to be checked.
        bounds: interval (low, high) of each feature, None for no edge or no interval: the flow is
            then one of ``Bounded`` features.

    Raises:
        ArgumentError: bounds that do not fit; in a call, a context of another length.

    Source: Rezende and Mohamed 2015, arXiv:1505.05770; Papamakarios et al. 2021, arXiv:1912.02762.

    >>> from pyneural.models import ActNorm
    >>> from pyneural.models.flows.autoregressive import MaskedAutoregressiveTransform
    >>> layers = [ActNorm(2), MaskedAutoregressiveTransform(2), ActNorm(2)]
    >>> flow = Flow(layers, standard_normal(2))
    >>> flow().sample((5,)).shape
    torch.Size([5, 2])
    """

    periodic = False  # whether the features are angles in [-pi, pi[

    def __init__(
        self,
        transform: LazyTransform | Sequence[LazyTransform],
        base: LazyDistribution,
        *,
        features: int | None = None,
        context: int | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(transform, LazyTransform):
            transform = LazyComposedTransform(*transform)
        self.transform: Any = transform
        self.base: Any = base
        self.features = base().event_shape[0] if features is None else features
        self.context = context
        if bounds is not None:
            if self.periodic:
                raise ArgumentError(
                    f"{type(self).__name__}: bounds: expected none, as its features are angles in "
                    "[-pi, pi[, got some; shift and scale the data to that interval"
                )
            if len(bounds) != self.features:
                raise ArgumentError(
                    f"{type(self).__name__}: bounds: expected {self.features}, one for each "
                    f"feature, got {len(bounds)}; write None for a feature without bounds"
                )
            self.bounded = Bounded(bounds)
        self._whitens = True  # whether fit may put a whitening before the transforms

    @property
    def whitened(self) -> bool:
        """Whether there is a whitening before the transforms."""
        return "whitening" in self._modules

    def forward(self, c: Tensor | None = None) -> NormalizingFlow:
        """p(X | c) of the context c [..., C]; its batch shape is that of c."""
        if self.context is not None:
            check_context(type(self).__name__, c, self.context)
        transform, base = self.transform(c), self.base(c)
        before = [self._modules[name]() for name in _BEFORE if name in self._modules]  # type: ignore
        if before:
            transform = ComposedTransform(*before, transform)
        if c is not None:
            base = base.expand(c.shape[:-1])
        return NormalizingFlow(transform, base)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The mean negative log-likelihood of x [N, D] given y [N, C], in nats a row.

        Args:
            batch: x are the features, y the context, None without one.

        Raises:
            ValueError: an empty batch.
        """
        if self.training and torch.is_grad_enabled():
            self._whitens = False  # what is trained without a whitening does without it
        x, c = batch.x, batch.y
        good, name = len(x) > 0, f"{type(self).__name__}.losses: batch"
        check(good, name, "at least one row", "none", "leave it out")
        log_prob = self(None if c is None else c.to(x.dtype)).log_prob(x)
        if batch.weight is not None:
            log_prob = batch.weight * log_prob
        return {"loss": -log_prob.mean()}

    def quantities(self) -> list[str] | None:
        """The loss alone."""
        return ["loss"]

    def fit(self, x: Any, y: Any = None, *args: Any, whiten: bool = True, **kwargs: Any) -> History:
        """Trains, as ``Model.fit`` does, whose further arguments it takes.

        Args:
            x: data, [N, D].
            y: context of each row, [N, C]; None without one.
            args: see ``Model.fit``.
            whiten: whether the data are whitened, unless the flow has a whitening or a
                ``Gaussianisation`` already, was given weights or trained, or is one of angles.
            kwargs: see ``Model.fit``.

        Returns:
            curve of the loss, in nats a row.

        Raises:
            ValueError: a column that is constant, is not finite, leaves its bounds, or follows from
                others where it is to be whitened; and what ``Model.fit`` raises.
        """
        trained = any(parameter.grad is not None for parameter in self.parameters())
        self._whitens &= whiten and not trained
        return super().fit(x, y, *args, **kwargs)

    def log_prob(self, x: Any, context: Any = None) -> Any:
        """Log-density in nats of rows x [N, D], [N]; an array of an array or frame."""
        where = f"{type(self).__name__}.log_prob"
        if not isinstance(x, Tensor) and context is not None:
            like = next(self.parameters())
            context = to_tensor(f"{where}: context", context).to(like)
        return of_arrays(where, self, lambda rows: self(context).log_prob(rows), x)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Refused: a flow has no output beside its densities and samples."""
        got, remedy = "predict", "write flow.log_prob(x) or flow().sample((n,))"
        check(False, type(self).__name__, "log_prob or sample", got, remedy, NotImplementedError)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Takes over the weights that ``save`` wrote, and their whitening if there is one."""
        tensors, _ = read_model(path)
        before = self._modules.get("whitening"), self._whitens
        self._match(tensors)
        try:
            check_weights(self, tensors, path)
        except Exception:  # the flow stays what it was
            self._modules.pop("whitening", None)
            if before[0] is not None:
                self.whitening = before[0]
            self._whitens = before[1]
            raise
        self.load_state_dict(tensors)

    def compile(
        self, *args: Any, mixed_precision: torch.dtype | None = None, **kwargs: Any
    ) -> None:
        """As ``Model.compile``, in the precision of the parameters."""
        name, remedy = f"{type(self).__name__}.compile: mixed_precision", "leave it out"
        check(mixed_precision is None, name, "None", mixed_precision, remedy)
        super().compile(*args, **kwargs)

    def _build_for(self, where: str, x: Any) -> None:
        """Looks at the data of ``fit``, its validation part left out."""
        super()._build_for(where, x)
        if where != "fit":
            return
        own_scale = self.periodic or any(isinstance(m, Gaussianisation) for m in self.modules())
        wanted = self._whitens and not own_scale
        if isinstance(x, (DataLoader, Stream)):
            good, expected = not wanted or self.whitened, "arrays or tensors to whiten by"
            remedy = "call flow.whiten(rows) before, or write fit(whiten=False)"
            check(good, "fit: x", expected, "batches", remedy)
            return
        if wanted and not self.whitened:
            self.whiten(x)
        else:
            self._rows(x)

    def whiten(self, x: Any) -> None:
        """Puts a whitening by data [N, D] before the transforms, in place of one that is there.

        ``fit`` does it. For ``Trainer`` and for a DataLoader it is to be called before.

        Raises:
            ValueError: see ``fit``; a flow of angles, which are not to be scaled.
        """
        name, remedy = f"{type(self).__name__}.whiten", "call it on a flow that is not periodic"
        check(not self.periodic, name, "features on the line", "a flow of angles", remedy)
        rows = self._rows(x)
        if "bounded" in self._modules:
            rows = self.bounded()(rows)
        whitening = Whitening(self.features).to(rows)
        whitening.set_from(rows, "fit: x", columns_of(x))
        self.whitening = whitening

    def _rows(self, x: Any) -> Tensor:
        """Data [N, D] as a tensor of the flow's dtype; ValueError where they have no density."""
        got, remedy = "several inputs", "give [N, D], and the context as y"
        check(not several(x), "fit: x", "one array of features", got, remedy)
        rows = to_tensor("fit: x", x)
        rows = rows[:, None] if rows.dim() == 1 else rows
        good, remedy = rows.dim() == 2 and rows.shape[1] == self.features, "one column a feature"
        check(good, "fit: x", f"[N, {self.features}]", list(rows.shape), remedy)
        rows = rows.to(next(self.parameters()))
        check_columns("fit: x", rows, columns_of(x))
        if "bounded" in self._modules:
            self.bounded().domain.check_columns("fit: x", rows)
        if self.periodic:
            most = float(rows.abs().max())
            remedy = "write (x + pi) % (2 * pi) - pi, of radians"
            check(most <= 3.1416, "fit: x", "angles in [-pi, pi[", f"{most:g}", remedy)
        return rows

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        self._match(state_dict, prefix)  # before torch goes on to the modules inside
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _match(self, tensors: Mapping[str, Any], prefix: str = "") -> None:
        """Has a whitening where, and only where, the weights to be loaded have one."""
        self._whitens = False
        name = f"{prefix}{_WHITENING}mean"
        if name not in tensors:
            self._modules.pop("whitening", None)
        elif not self.whitened:
            self.whitening = Whitening(len(tensors[name])).to(next(self.parameters()))


_BEFORE = "bounded", "whitening"  # what data go through before the transforms, in this order


def standard_normal(features: int) -> UnconditionalDistribution:
    """The base of most flows, with the mean and standard deviation in buffers.

    >>> standard_normal(3)
    UnconditionalDistribution(DiagNormal(loc: torch.Size([3]), scale: torch.Size([3])))
    """
    loc, scale = torch.zeros(features), torch.ones(features)
    return UnconditionalDistribution(DiagNormal, loc=loc, scale=scale, buffer=True)
