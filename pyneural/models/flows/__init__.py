"""Normalizing flows: densities that are exact, and samples from them; names and keys of zuko.

``NSF`` and the other models are those of ``pyneural.models``. Beside them stand the parts that a
``Flow`` of one's own is made of.
"""

from pyneural.models.flows.act_norm import ActNorm
from pyneural.models.flows.affine import AdditiveTransform, MonotonicAffineTransform
from pyneural.models.flows.autoregressive import MAF, MaskedAutoregressiveTransform
from pyneural.models.flows.bounded import Bounded
from pyneural.models.flows.continuous import CNF, FFJTransform
from pyneural.models.flows.coupling import NICE, GeneralCouplingTransform, RealNVP
from pyneural.models.flows.distributions import BoxUniform, DiagNormal, NormalizingFlow
from pyneural.models.flows.element_wise import ElementWiseTransform
from pyneural.models.flows.flow import Flow
from pyneural.models.flows.gaussianisation import Gaussianisation
from pyneural.models.flows.lazy import (
    LazyDistribution,
    LazyTransform,
    UnconditionalDistribution,
    UnconditionalTransform,
    standard_normal,
)
from pyneural.models.flows.spline_flows import NCSF, NSF
from pyneural.models.flows.splines import MonotonicRQSTransform
from pyneural.models.flows.whitening import Whitening

__all__ = [
    "CNF",
    "MAF",
    "NCSF",
    "NICE",
    "NSF",
    "ActNorm",
    "AdditiveTransform",
    "Bounded",
    "BoxUniform",
    "DiagNormal",
    "ElementWiseTransform",
    "FFJTransform",
    "Flow",
    "Gaussianisation",
    "GeneralCouplingTransform",
    "LazyDistribution",
    "LazyTransform",
    "MaskedAutoregressiveTransform",
    "MonotonicAffineTransform",
    "MonotonicRQSTransform",
    "NormalizingFlow",
    "RealNVP",
    "UnconditionalDistribution",
    "UnconditionalTransform",
    "Whitening",
    "standard_normal",
]
