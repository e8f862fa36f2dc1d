"""The likelihood of data, by which a flow is trained, without making the distribution anew."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyneural.models.flows.columns import are_readable
from pyneural.models.flows.composed import ComposedTransform, layers_of
from pyneural.models.flows.distributions import DiagNormal, NormalizingFlow, is_standard
from pyneural.models.flows.fused import FusedLayers
from pyneural.models.flows.lazy import UnconditionalDistribution
from pyneural.models.flows.whitening import Whitening
from pyneural.nn.plain import is_changed
from pyneural.nn.snapshot import Snapshot

_OURS = "torch.nn.modules.", "pyneural."
# So often in a row the layers are looked at in vain before that is given up.
_PATIENCE = 3


class _Known(NamedTuple):
    """The layers that all of a flow consists of, without their context; None where it does not."""

    snapshot: Snapshot
    forward: Any  # of the flow's class
    parts: dict[str, Any]  # of the flow
    layers: FusedLayers | None
    has_context: bool


class Likelihood:
    """What is known of a flow from one step of its training to the next.

    To find out whether one call of ``ops.autoregressive_nll`` may compute the loss, every layer has
    to be looked at, since a user may have changed any of them. To see that nothing has changed
    since takes a fraction of that.
    """

    def __init__(self, flow: Any) -> None:
        self.flow = weakref.ref(flow)
        self.known: _Known | None = None
        self.misses = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        """None: a copy of the flow has its own."""

    def __reduce__(self) -> Any:
        return type(None), ()


def mean_nll(flow: Any, x: Tensor, c: Tensor | None) -> Tensor:
    """Mean negative log-likelihood [] in nats a row, of rows x [N, D] given c [N, C]."""
    if not _are_rows(x) or not (c is None or (_are_rows(c) and len(c) == len(x))):
        return _of_density(flow(c), x)
    own = flow._likelihood
    if own is None or own.flow() is not flow:  # a shallow copy has that of the other
        own = flow._likelihood = Likelihood(flow)
    known = own.known
    if known is None or not _holds(known, flow):
        density = flow(c)
        own.misses += 1
        own.known = _look_at(flow, density, c is not None) if own.misses <= _PATIENCE else None
        return _of_density(density, x)
    own.misses = 0
    layers = known.layers
    if (
        layers is None
        or known.has_context != (c is not None)
        or x.shape[1] != flow.features
        or x.dtype != layers.weights[0].dtype
        or not is_standard(flow.base.loc, flow.base.scale)
    ):
        return _of_density(flow(c), x)
    if c is not None:
        layers = replace(layers, context=flow._checked(c))
    if not flow.whitened:
        return layers.mean_nll(x)
    y, ladj = flow.whitening().call_and_ladj(x)
    return layers.mean_nll(y) - ladj.mean()


def _holds(known: _Known, flow: Any) -> bool:
    is_same = type(flow).forward is known.forward and flow._modules is known.parts
    return is_same and not is_changed(flow) and known.snapshot.holds()


def _look_at(flow: Any, density: Any, has_context: bool) -> _Known | None:
    """What is to be known of a flow and the density that it gave; None of what may change unseen.

    That is a module of the user's own, and weights that are no parameters.
    """
    modules = list(flow.modules())
    if is_changed(flow) or not all(type(one).__module__.startswith(_OURS) for one in modules):
        return None
    if any(map(is_changed, modules)) or not all(map(_tells_of_writing, flow.buffers())):
        return None
    layers = _layers_of(flow, density)
    if layers is not None:
        theirs = {id(one) for one in flow.parameters()}
        if not all(id(one) in theirs for one in layers.weights + layers.biases):
            return None
        layers = replace(layers, context=None)
    # Not of the flow itself, which would keep itself alive: the parts that its forward reads.
    snapshot = Snapshot(modules[1:], [flow._modules])
    return _Known(snapshot, type(flow).forward, flow._modules, layers, has_context)


def _layers_of(flow: Any, density: Any) -> FusedLayers | None:
    """The layers of a flow that has, beside them, a whitening at most and a normal base."""
    if type(density) is not NormalizingFlow or type(density.transform) is not ComposedTransform:
        return None
    *before, last = density.transform.all_steps()
    if len(before) != flow.whitened or (before and type(flow.whitening) is not Whitening):
        return None
    base = flow.base
    if type(base) is not UnconditionalDistribution or base.f is not DiagNormal:
        return None
    of_features = {name: buffer.shape for name, buffer in base.named_buffers()}
    expected = dict.fromkeys(("loc", "scale"), torch.Size([flow.features]))
    has_more = base._parameters or base._names != ["loc", "scale"]
    return layers_of(last) if of_features == expected and not has_more else None


def _of_density(density: Any, x: Tensor) -> Tensor:
    if type(density) is NormalizingFlow:
        return density.mean_nll(x)
    return -density.log_prob(x).mean()


def _are_rows(x: Tensor) -> bool:
    """Whether they are rows whose call may go by what was found before."""
    return type(x) is Tensor and are_readable(x) and x.is_cpu and x.dim() == 2


def _tells_of_writing(buffer: Tensor) -> bool:
    return type(buffer) is Tensor and not buffer.is_inference()
