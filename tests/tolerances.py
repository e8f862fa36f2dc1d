"""Every tolerance of the tests, with its reason where it is looser than rounding asks for."""

from __future__ import annotations

import torch
from torch import Tensor

# Kernel against plain torch in float64, relative to the largest element: sums of a few thousand
# products in another order.
FLOAT64 = 1e-12
# The same for gradients, which are sums over up to a thousand points on top.
FLOAT64_GRADIENT = 1e-10

# float32 is held to what torch itself reaches: at most this multiple of torch's own error against
# float64 ...
TORCH_ERROR_RATIO = 2.0
# ... or, where torch is exact by luck (few points and units), this many units in the last place of
# the largest element. Sixteen: 1 - tanh(z)^2 and its like cancel where an activation saturates, so
# that one unit in the activation's value is several in its derivatives.
LUCK_ULP = 16.0

# The kernels' own tanh, in units in the last place of the exact one. Every float32 from 2^-13 to
# 9.2 gives 5.4 at most with fused multiply-adds and 6.8 without; samples in float64 give 3.1.
TANH_ULP = {torch.float32: 7.0, torch.float64: 4.0}

# The inverse of a spline after the spline, relative to the bound and times what it enlarges
# rounding by where the spline is flat.
ROUND_TRIP = {torch.float32: 1e-5, torch.float64: 1e-10}

# Flows: against zuko, the inverse after the transform, the log-determinant against that of
# autograd's Jacobian. Some tens of rounding errors of a few layers.
FLOW = {torch.float32: 1e-5, torch.float64: 1e-10}

# Derivatives along a path of parameters. Of the polynomial that interpolates the residuals a fourth
# derivative is left with rounding over the fourth power of the interval, 5e-4.
PATH_BY_NESTED_FORWARD_MODE = 1e-10
PATH_BY_INTERPOLATION = 1e-6


def error(actual: Tensor, exact: Tensor) -> float:
    """Largest difference, relative to the largest element of the exact tensor."""
    assert actual.shape == exact.shape, (actual.shape, exact.shape)
    if exact.numel() == 0:
        return 0.0
    actual, exact = actual.detach().double(), exact.detach().double()
    difference, scale = (actual - exact).abs().max(), exact.abs().max()
    return float(difference / scale if scale > 0 else difference)


def assert_close(actual: Tensor, exact: Tensor, limit: float) -> None:
    """Fails unless the error is within the limit; NaN never is."""
    found = error(actual, exact)
    assert found <= limit, f"error {found:.2e} above {limit:.2e}"


# Of splines: on the baseline instruction set, which has no fused multiply-add, the quotients of a
# bin are rounded more often than by torch's vectors; of splines 3.1 was seen, of layers that a
# network feeds 6.4, in one of 28 cases. AVX2 stays below 4.
SPLINE_ERROR_RATIO = 8


def assert_as_good_as_torch(
    actual: Tensor, by_torch: Tensor, exact: Tensor, ratio: float = TORCH_ERROR_RATIO
) -> None:
    """Fails if the error against float64 is more than torch's own, as above."""
    luck = LUCK_ULP * torch.finfo(actual.dtype).eps
    assert_close(actual, exact, max(ratio * error(by_torch, exact), luck))
