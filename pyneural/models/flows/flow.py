"""The base class of all flows: a distribution that is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions.transforms import Transform
from torch.utils.data import DataLoader
from typing_extensions import Self

from pyneural.errors import check_argument, check_tensor
from pyneural.models.flows.bounded import Bounded, Bounds
from pyneural.models.flows.columns import (
    are_readable,
    check_columns,
    check_context,
    check_each,
    check_finite_columns,
)
from pyneural.models.flows.composed import ComposedTransform
from pyneural.models.flows.description import keep_arguments, made
from pyneural.models.flows.distributions import NormalizingFlow
from pyneural.models.flows.gaussianisation import Gaussianisation
from pyneural.models.flows.lazy import LazyComposedTransform
from pyneural.models.flows.likelihood import Likelihood, mean_nll
from pyneural.models.flows.whitening import Whitening
from pyneural.training import Batch, History, Model
from pyneural.training.data.adapter import of_arrays
from pyneural.training.data.nested import several
from pyneural.training.data.stream import Stream
from pyneural.training.data.tensors import columns_of, to_tensor
from pyneural.training.state import file as files

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
    weights by ``load_state_dict`` or ``load`` has the whitening that they came with or none, as a
    part of another model too; given some of them, or by ``strict=False``, it keeps its own.
    ``models.load_model`` makes the flow and its weights from a file of ``save``, unless it was made
    of modules, as here, or of functions.

    Args:
        transform: lazy transforms, from data to base, or one; those of zuko, too.
        base: lazy distribution of Z.
        features: D, where the base does not say it.
        context: C; None where it is not to be checked.
        bounds: interval (low, high) of each feature, None for no edge or no interval: the flow is
            then one of ``Bounded`` features.

    Raises:
        ArgumentError: bounds that do not fit; in a call, a context of another length.

    Source: Rezende and Mohamed 2015, arXiv:1505.05770; Papamakarios et al. 2021, arXiv:1912.02762.

    >>> from pyneural.models.flows import ActNorm, MaskedAutoregressiveTransform, standard_normal
    >>> layers = [ActNorm(2), MaskedAutoregressiveTransform(2), ActNorm(2)]
    >>> flow = Flow(layers, standard_normal(2))
    >>> flow().sample((5,)).shape
    torch.Size([5, 2])
    """

    periodic = False  # whether the features are angles in [-pi, pi[
    _arguments: dict[str, Any] | None = None  # of the constructor
    _likelihood: Likelihood | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        """Has the constructor keep its arguments, for ``architecture``."""
        super().__init_subclass__(**options)
        keep_arguments(cls)

    def __init__(
        self,
        transform: nn.Module | Sequence[nn.Module],
        base: nn.Module,
        *,
        features: int | None = None,
        context: int | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(transform, nn.Module) or isinstance(transform, nn.ModuleList):
            transform = LazyComposedTransform(*transform)
        self.transform: Any = transform
        self.base: Any = base
        self.features = base().event_shape[0] if features is None else features
        self.context = context
        if bounds is not None:
            where, remedy = f"{type(self).__name__}: bounds", "shift and scale the data"
            expected = "none, as its features are angles in [-pi, pi["
            check_argument(not self.periodic, where, expected, "some", remedy)
            check_each(where, bounds, self.features)
            self.bounded = Bounded(bounds)
        self._whitens = True  # whether fit may put a whitening before the transforms
        self._may_lack_weights = False  # while weights are being loaded, those of strict=False

    @property
    def whitened(self) -> bool:
        """Whether there is a whitening before the transforms."""
        return "whitening" in self._modules

    def forward(self, c: Tensor | None = None) -> NormalizingFlow:
        """p(X | c) of the context c [..., C]; its batch shape is that of c."""
        c = self._checked(c)
        transform, base = self.transform(c), self.base(c)
        before = [*self._before(), *([self.whitening()] if self.whitened else [])]
        if before:
            transform = ComposedTransform(*before, transform)
        if c is not None:
            base = base.expand(c.shape[:-1])
        return NormalizingFlow(transform, base)

    def mean_nll(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Mean negative log-likelihood [] in nats a row, of rows x [N, D] given c [N, C].

        What ``flow(c).mean_nll(x)`` gives, in less time from the second call on.
        """
        return mean_nll(self, x, c)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The mean negative log-likelihood of x [N, D] given y [N, C], in nats a row.

        Args:
            batch: x are the features, y the context, None without one; [N] is taken as [N, 1].

        Raises:
            ArgumentError: an empty batch, or a context that is missing, of another length or, where
                that can be seen without waiting for a GPU, not finite.
        """
        if self.training and torch.is_grad_enabled():
            self._whitens = False  # what is trained without a whitening does without it
        x, c = batch.x, batch.y
        where = f"{type(self).__name__}.losses"
        check_argument(len(x) > 0, f"{where}: batch", "at least one row", "none", "leave it out")
        c = None if c is None else _with_columns(c).to(x.dtype)
        if self.context is not None:
            check_context(f"{where}: context", c, self.context, "give the context of each row as y")
        if batch.weight is None:
            return {"loss": self.mean_nll(_with_columns(x), c)}
        return {"loss": -(batch.weight * self(c).log_prob(_with_columns(x))).mean()}

    def quantities(self) -> list[str] | None:
        """The loss alone."""
        return ["loss"]

    def fit(self, x: Any, y: Any = None, *args: Any, whiten: bool = True, **kwargs: Any) -> History:
        """Trains, as ``Model.fit`` does, whose further arguments it takes.

        Args:
            x: data, [N, D].
            y: context of each row, [N, C], or [N] for C = 1; None without one.
            args: see ``Model.fit``.
            whiten: whether the data are whitened, unless the flow has a whitening or a
                ``Gaussianisation`` already, was given weights or trained, or is one of angles.
            kwargs: see ``Model.fit``.

        Returns:
            curve of the loss, in nats a row.

        Raises:
            ValueError: a column that is constant, is not finite, leaves its bounds, has rows on
                the end of a half-line or many on that of an interval, or follows from others where
                it is to be whitened; a context that does not fit or is not finite; and what
                ``Model.fit`` raises.
        """
        if y is not None and not several(y):
            self.check_targets("fit: y", to_tensor("fit: y", y), columns_of(y))
        self._whitens &= whiten and all(one.grad is None for one in self.parameters())  # untrained
        return super().fit(x, y, *args, **kwargs)

    def log_prob(self, x: Any, context: Any = None) -> Any:
        """Log-density in nats of rows x [N, D], [N]; an array of an array or frame.

        Args:
            x: data.
            context: that of each row, [N, C], or [N] for C = 1; or one for all of them, [C].
        """
        where = f"{type(self).__name__}.log_prob"
        if context is not None:
            context = to_tensor(f"{where}: context", context)
            if self.context == 1 and context.dim() == 1 and len(context) > 1:
                context = _with_columns(context)
            if not isinstance(x, Tensor):
                context = context.to(self._like())
        return of_arrays(where, self, lambda rows: self(context).log_prob(rows), x)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Refused: a flow has no output beside its densities and samples."""
        raise NotImplementedError(
            f"{type(self).__name__}: expected log_prob or sample, got predict; write "
            "flow.log_prob(x) or flow().sample((n,))"
        )

    @contextmanager
    def matching(self, tensors: Mapping[str, Any], prefix: str = "") -> Iterator[None]:
        """Has a whitening as the weights to be loaded, unless they are refused in the context."""
        before = self._modules.get("whitening"), self._whitens
        self._match(tensors, prefix)
        try:
            yield
        except Exception:  # the flow stays what it was
            self._modules.pop("whitening", None)
            if before[0] is not None:
                self.whitening = before[0]
            self._whitens = before[1]
            raise

    def architecture(self) -> dict[str, Any] | None:
        """What ``load_model`` makes it from; None of a flow that was given modules or functions."""
        return None if self._arguments is None else files.describe(self)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor in JSON's types, and whether there is a whitening."""
        what, remedy = f"save: {type(self).__name__}", "save its weights, and load() them"
        got = "modules or functions"
        check_argument(self._arguments is not None, what, "arguments of JSON's types", got, remedy)
        return {**(self._arguments or {}), "whitened": self.whitened}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The flow of ``get_config``, with new weights."""
        arguments = {name: made(value) for name, value in config.items()}
        whitened = arguments.pop("whitened")
        flow = cls(**arguments)
        if whitened:
            flow.whitening = Whitening(flow.features)
        return flow

    def compile(
        self, *args: Any, mixed_precision: torch.dtype | None = None, **kwargs: Any
    ) -> None:
        """As ``Model.compile``, in the precision of the parameters."""
        name, remedy = f"{type(self).__name__}.compile: mixed_precision", "leave it out"
        check_argument(mixed_precision is None, name, "None", mixed_precision, remedy)
        super().compile(*args, **kwargs)

    def check_inputs(self, where: str, x: Tensor, names: Any = None) -> None:
        """ArgumentError where rows [N, D] have another width, or values that have no density."""
        rows = _with_columns(x)
        good, remedy = rows.dim() == 2 and rows.shape[1] == self.features, "one column a feature"
        check_argument(good, where, f"[N, {self.features}]", list(rows.shape), remedy)
        check_finite_columns(where, rows, names)
        if "bounded" in self._modules:
            self.bounded().domain.check_columns(where, rows, names)
        circle: Any = self._modules.get("circle")
        if circle is not None:
            circle().check_columns(where, rows, names)
        if self.periodic:
            most = float(rows.abs().max())
            remedy = "write (x + pi) % (2 * pi) - pi, of radians"
            check_argument(most <= 3.1416, where, "angles in [-pi, pi[", f"{most:g}", remedy)

    def check_targets(self, where: str, y: Tensor, names: Any = None) -> None:
        """ArgumentError where contexts [N, C], of columns with names, do not fit or are not finite.

        [N] is taken as [N, 1].
        """
        rows = _with_columns(y)
        if self.context is not None:
            check_context(where, rows, self.context)
        check_finite_columns(where, rows.to(self._like().dtype), names)

    def _build_for(self, where: str, x: Any) -> None:
        """Looks at the data of ``fit``, its validation part left out."""
        super()._build_for(where, x)
        if where != "fit":
            return
        has_units = not any(isinstance(m, Gaussianisation) for m in self.modules())
        wanted = self._whitens and has_units and len(self._on_line()) > 0
        if isinstance(x, (DataLoader, Stream)):
            good, expected = not wanted or self.whitened, "arrays or tensors to whiten by"
            remedy = "call flow.whiten(rows) before, or write fit(whiten=False)"
            check_argument(good, "fit: x", expected, "batches", remedy)
            return
        rows = self._rows("fit: x", x)
        if wanted and not self.whitened:
            self._whiten("fit: x", rows, columns_of(x))

    def whiten(self, x: Any) -> None:
        """Puts a whitening by data [N, D] before the transforms, in place of one that is there.

        ``fit`` does it. For ``Trainer`` and for a DataLoader it is to be called before.

        Raises:
            ValueError: see ``fit``; a flow of angles, which are not to be scaled.
        """
        where, remedy = f"{type(self).__name__}.whiten", "call it on a flow that is not periodic"
        good = len(self._on_line()) > 0
        check_argument(good, where, "features on the line", "a flow of angles", remedy)
        self._whiten(f"{where}: x", self._rows(f"{where}: x", x), columns_of(x))

    def _whiten(self, where: str, rows: Tensor, names: Any) -> None:
        for before in self._before():
            rows = before(rows)
        whitening = Whitening(self.features).to(rows)
        whitening.set_from(rows, where, names, self._on_line())
        self.whitening = whitening

    def _before(self) -> list[Transform]:
        """What data go through before the whitening."""
        modules: list[Any] = [self._modules.get(name) for name in ("bounded", "circle")]
        return [module() for module in modules if module is not None]

    def _on_line(self) -> Tensor:
        """Numbers of the features that are not periodic."""
        circle: Any = self._modules.get("circle")
        if circle is not None:
            return (~circle.mask).nonzero().squeeze(1)
        return torch.arange(0 if self.periodic else self.features)

    def _rows(self, where: str, x: Any) -> Tensor:
        """Data [N, D] as a tensor of the flow's dtype; ArgumentError where they have no density."""
        remedy = "give [N, D], and the context as y"
        check_argument(not several(x), where, "one array of features", "several inputs", remedy)
        rows = _with_columns(to_tensor(where, x).to(self._like()))
        self.check_inputs(where, rows, columns_of(x))
        check_columns(where, rows, columns_of(x))
        if "bounded" in self._modules:
            self.bounded().domain.check_ends(where, rows, columns_of(x))
        return rows

    def _like(self) -> Tensor:
        """A tensor of its dtype and device; a flow of histograms has no parameters."""
        tensors = chain(self.parameters(), self.buffers())
        return next((t for t in tensors if t.is_floating_point()), torch.zeros(()))

    def _checked(self, c: Tensor | None) -> Tensor | None:
        """A context in the dtype of the parameters; ArgumentError where it is none of this flow.

        Whether it is finite is not asked in a training's step on a GPU, which would wait for the
        answer: ``fit`` has asked before.
        """
        where = f"{type(self).__name__}: context"
        if self.context is not None:
            check_context(where, c, self.context)
        if c is None:
            return None
        check_tensor(where, c)
        dtype = self._like().dtype
        good, remedy = torch.promote_types(c.dtype, dtype) == dtype, f"write context.to({dtype})"
        check_argument(good, where, f"{dtype}, as the parameters", c.dtype, remedy)
        c = c.to(dtype)
        in_step = self.training and torch.is_grad_enabled() and c.is_cuda
        if not in_step and are_readable(c) and c.dim() > 0:
            check_finite_columns(where, c)
        return c

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """As torch's; where not ``strict``, a whitening stays that the weights do not have."""
        self._may_lack_weights = not strict
        try:
            return super().load_state_dict(state_dict, strict, assign)
        finally:
            self._may_lack_weights = False

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        self._match(state_dict, prefix)  # before torch goes on to the modules inside
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _match(self, tensors: Mapping[str, Any], prefix: str = "") -> None:
        """Has a whitening where, and only where, the weights to be loaded have one.

        A part of the weights says nothing about a whitening, nor do those of ``strict=False``.
        """
        name = f"{prefix}{_WHITENING}mean"
        own = {f"{prefix}{key}" for key in self.state_dict() if not key.startswith(_WHITENING)}
        self._whitens &= own.isdisjoint(tensors)
        if name not in tensors and own <= tensors.keys() and not self._may_lack_weights:
            self._modules.pop("whitening", None)
        elif name in tensors and not self.whitened:
            self.whitening = Whitening(len(tensors[name])).to(self._like())


def _with_columns(values: Tensor) -> Tensor:
    """Rows [N, ...], as one column where they are numbers [N]."""
    return values[:, None] if values.dim() == 1 else values
