"""The likelihood of data, by which a flow is trained, without making the distribution anew."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.distributions import Distribution

from pyneural.models.flows.columns import are_readable
from pyneural.models.flows.composed import ComposedTransform, layers_of
from pyneural.models.flows.distributions import DiagNormal, NormalizingFlow
from pyneural.models.flows.fused import FusedLayers
from pyneural.nn.plain import is_changed
from pyneural.nn.snapshot import Snapshot

if TYPE_CHECKING:
    from pyneural.models.flows.flow import Flow

_KNOWN = "torch.nn.", "pyneural."


class Likelihood:
    """The mean log-likelihood of a flow's data, whose layers are known from one step to the next.

    To find out whether one call of ``ops.autoregressive_nll`` may compute it, every layer has to be
    looked at, since a user may have changed any of them. To see that nothing has changed since
    takes a fraction of that.
    """

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None
        self._layers: Any = None  # FusedLayers, without a context
        self._has_context = False
        self._base: Any = None  # DiagNormal

    def __deepcopy__(self, memo: dict[int, Any]) -> Likelihood:
        return Likelihood()  # of another flow

    def __reduce__(self) -> Any:
        return Likelihood, ()

    def mean_nll(self, flow: Flow, x: Tensor, c: Tensor | None) -> Tensor:
        """Mean negative log-likelihood [] in nats a row, of rows x [N, D] given c [N, C]."""
        if not _are_rows(x) or not (c is None or (_are_rows(c) and len(c) == len(x))):
            return _of_density(flow(c), x)
        if self._snapshot is None or not self._snapshot.holds():
            density = flow(c)
            self._look_at(flow, density)
            return _of_density(density, x)
        fits = x.shape[1] == flow.features and x.dtype == self._layers.weights[0].dtype
        if fits and self._has_context == (c is not None) and self._base.is_standard():
            return self._of_layers(flow, x, c)
        return _of_density(flow(c), x)

    def _of_layers(self, flow: Flow, x: Tensor, c: Tensor | None) -> Tensor:
        layers = self._layers if c is None else replace(self._layers, context=flow.checked(c))
        if not flow.whitened:
            return layers.mean_nll(x)
        y, ladj = flow.whitening().call_and_ladj(x)
        return layers.mean_nll(y) - ladj.mean()

    def _look_at(self, flow: Flow, density: Distribution) -> None:
        """Keeps the layers of a density, where they and a whitening are all of its flow."""
        self._snapshot = self._layers = self._base = None
        layers = _layers_of(density, flow.whitened)
        if layers is None or not all(one.is_leaf for one in layers.weights + layers.biases):
            return
        modules = list(flow.modules())
        if not all(type(one).forward.__module__.startswith(_KNOWN) for one in modules):
            return  # what a user's own module makes may depend on what is not seen in it
        if any(map(is_changed, modules)) or not all(map(_is_plain, flow.buffers())):
            return
        self._layers = replace(layers, context=None)
        self._has_context = layers.context is not None
        self._base = density.base  # type: ignore[attr-defined]
        self._snapshot = Snapshot(modules)


def _of_density(density: Any, x: Tensor) -> Tensor:
    if type(density) is NormalizingFlow:
        return density.mean_nll(x)
    return -density.log_prob(x).mean()


def _layers_of(density: Any, whitened: bool) -> FusedLayers | None:
    """The layers of a density that consists of them, but for a whitening before."""
    if type(density) is not NormalizingFlow or type(density.transform) is not ComposedTransform:
        return None
    *before, last = density.transform.all_steps()
    if len(before) != whitened or type(density.base) is not DiagNormal:
        return None
    return layers_of(last) if density.event_shape == density.base.event_shape else None


def _are_rows(x: Tensor) -> bool:
    """Whether they are rows whose call may go by what was found before."""
    return are_readable(x) and type(x) is Tensor and x.is_cpu and x.dim() == 2


def _is_plain(buffer: Tensor) -> bool:
    """Whether a tensor tells when it is written to."""
    return type(buffer) is Tensor and not buffer.is_inference()
