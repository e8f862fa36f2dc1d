"""Spline flows on R^D and on the torus."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Any

import torch

from pyneural.models.flows.autoregressive import MAF
from pyneural.models.flows.bounded import Bounds
from pyneural.models.flows.columns import check_counts
from pyneural.models.flows.distributions import BoxUniform, NormalOrUniform
from pyneural.models.flows.lazy import LazyComposedTransform, UnconditionalDistribution
from pyneural.models.flows.periodic import BOUND, HalfTurn, split_bounds
from pyneural.models.flows.splines import CircularRQSTransform, MonotonicRQSTransform


class NSF(MAF):
    """Neural spline flow: a masked autoregressive flow of rational-quadratic splines.

    The splines act on [-5, 5], beyond which they are the identity: features are to be standardised,
    as the whitening of ``fit`` does. ``passes=2`` makes it a coupling flow. Constructor and
    ``state_dict`` are those of zuko 1.6 but for ``bounds`` and ``periodic``.

    A periodic feature, as an angle or the hour of a day, is uniform in the base, and half a turn
    before each transform lets its splines move every point of the circle (Rezende et al. 2020,
    arXiv:2002.02428). Its own density has no jump where the circle closes; how other features
    depend on it may have one there and opposite to it, as the networks see it as a number. Samples
    are in [low, high[; a value outside stands for the one in it.

    Args:
        features: number of features D.
        context: number of context features C.
        bins: number K of bins of a spline.
        slope: smallest mean slope of a spline's bin, and smallest derivative at a knot.
        bounds: intervals of the features, see ``Flow``; that of a periodic one is its period, and
            None is [-pi, pi[.
        periodic: whether each feature is periodic; None for none of them.
        flow: further arguments of ``MAF``, as ``transforms``, ``passes`` and ``hidden_features``.

    Raises:
        ArgumentError: numbers below 1, bounds or periods that do not fit.

    Source: Durkan et al. 2019, arXiv:1906.04032.

    >>> _ = torch.manual_seed(0)
    >>> x = torch.randn(500, 2) @ torch.tensor([[30.0, 0.0], [29.0, 1.0]])
    >>> flow = NSF(2, transforms=2, hidden_features=[16])
    >>> flow.compile("adam")
    >>> history = flow.fit(x, batch_size=100, epochs=2, verbose=0)
    >>> flow().log_prob(x).shape
    torch.Size([500])
    >>> weather = NSF(2, bounds=[(0.0, 360.0), (0.0, None)], periodic=[True, False])
    >>> direction, speed = weather().sample((100,)).T
    >>> bool(direction.max() <= 360), bool(speed.min() > 0)
    (True, True)
    """

    def __init__(
        self,
        features: int,
        context: int = 0,
        bins: int = 8,
        slope: float = 1e-3,
        *,
        bounds: Bounds | None = None,
        periodic: Sequence[bool] | None = None,
        **flow: Any,
    ) -> None:
        check_counts(self, features=features, bins=bins)
        circle = None
        if periodic is not None:
            bounds, circle = split_bounds(type(self).__name__, features, bounds, periodic)
        super().__init__(
            features=features,
            context=context,
            univariate=partial(MonotonicRQSTransform, slope=slope),
            shapes=[(bins,), (bins,), (bins - 1,)],
            bounds=bounds,
            **flow,
        )
        if circle is not None:
            self.circle = circle
            turned = ((HalfTurn(circle.mask), layer) for layer in self.transform)
            self.transform = LazyComposedTransform(*chain.from_iterable(turned))
            scale = torch.where(circle.mask, BOUND, 1.0)
            uniform = circle.mask.clone()  # each module has buffers of its own, for ensembles
            self.base = UnconditionalDistribution(NormalOrUniform, uniform, scale, buffer=True)


class NCSF(MAF):
    """Neural circular spline flow: a density on the torus, of angles in [-pi, pi[.

    Each transform is half a turn and a spline on the circle; the base is uniform. Constructor and
    ``state_dict`` are those of zuko 1.6. An angle outside of the interval stands for the one in it.

    Args:
        features: number of angles D.
        context: number of context features C.
        bins: number K of bins of a spline.
        slope: smallest mean slope of a spline's bin, and smallest derivative at a knot.
        flow: further arguments of ``MAF``.

    Source: Rezende et al. 2020, arXiv:2002.02428.

    >>> flow = NCSF(2, transforms=2)
    >>> bool(flow().sample((100,)).abs().max() <= torch.pi)
    True
    """

    periodic = True

    def __init__(
        self,
        features: int,
        context: int = 0,
        bins: int = 8,
        slope: float = 1e-3,
        **flow: Any,
    ) -> None:
        check_counts(self, bins=bins)
        super().__init__(
            features=features,
            context=context,
            univariate=partial(CircularRQSTransform, slope=slope),
            shapes=[(bins,), (bins,), (bins - 1,)],
            **flow,
        )
        # A little wider, as zuko's: an angle may leave the interval by rounding.
        half = math.pi + 1e-5
        edges = torch.full((features,), -half), torch.full((features,), half)
        self.base = UnconditionalDistribution(
            BoxUniform, lower=edges[0], upper=edges[1], buffer=True
        )
