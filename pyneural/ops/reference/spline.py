"""The monotonic rational-quadratic spline in plain torch."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from pyneural.ops.vjp import gradients


def rational_quadratic_spline(
    x: Tensor, widths: Tensor, heights: Tensor, derivatives: Tensor, bound: float, slope: float,
    inverse: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The values y and log|dy/dx|, both like x; reduced precisions are computed in float32."""
    if x.dtype in (torch.bfloat16, torch.float16):
        wide = (t.float() for t in (x, widths, heights, derivatives))
        y, ladj = rational_quadratic_spline(*wide, bound, slope, inverse)
        return y.to(x.dtype), ladj.to(x.dtype)

    limit = -math.log(slope)
    w = 2 * bound * _limited(widths, limit / 2).softmax(-1)
    h = 2 * bound * _limited(heights, limit / 2).softmax(-1)
    d = F.pad(_limited(derivatives, limit), (1, 1)).exp()
    left, bottom = (F.pad(size.cumsum(-1)[..., :-1], (1, 0)) - bound for size in (w, h))

    is_inside = x.abs() <= bound
    point = torch.where(is_inside, x, 0)  # finite where it does not count: so are the gradients
    knots = (bottom if inverse else left)[..., 1:]
    k = (knots < point[..., None]).sum(-1, keepdim=True)
    x0, y0, w, h, d0 = (t.gather(-1, k).squeeze(-1) for t in (left, bottom, w, h, d))
    d1 = d.gather(-1, k + 1).squeeze(-1)
    s = h / w
    if inverse:
        z = _root(_at_most_1((point - y0) / h), s, d0, d1)
    else:
        z = _at_most_1((point - x0) / w)
    # 0 <= z <= 1: no sum of these cancels.
    both = z * (1 - z)
    denominator = s * (z.square() + (1 - z).square()) + (d0 + d1) * both
    slope_ = d1 * z.square() + 2 * s * both + d0 * (1 - z).square()
    ladj = (slope_ * (s / denominator).square()).log()
    if inverse:
        y, ladj = x0 + w * z, -ladj
    else:
        y = y0 + h * (s * z.square() + d0 * both) / denominator
    return torch.where(is_inside, y, x), torch.where(is_inside, ladj, 0)


def rational_quadratic_spline_backward(
    grad_y: Tensor, grad_ladj: Tensor, x: Tensor, widths: Tensor, heights: Tensor,
    derivatives: Tensor, bound: float, slope: float, inverse: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Gradients for x, widths, heights and derivatives."""

    def spline(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        return rational_quadratic_spline(*tensors, bound, slope, inverse)

    tensors = x, widths, heights, derivatives
    return tuple(gradients(spline, tensors, [grad_y, grad_ladj], [True] * 4))


def _limited(parameter: Tensor, limit: float) -> Tensor:
    """Between -limit and limit, with slope 1 at 0."""
    return parameter / (1 + (parameter / limit).abs())


def _at_most_1(z: Tensor) -> Tensor:
    """z, which rounding may bring above 1; its gradient is that of z there, too."""
    return z + (z.clamp(max=1) - z).detach()


def _root(t: Tensor, s: Tensor, d0: Tensor, d1: Tensor) -> Tensor:
    """The z from 0 to 1 at which a bin of slope s has risen by the share t.

    The quadratic equation of Durkan et al. 2019 (eq. 29) for z, where d0 is the larger slope of the
    knots, seen from t, and else for 1 - z: all terms are positive, so that none cancels.
    """
    u = d0 * (1 - t) - d1 * t
    is_near = u >= 0
    from_end = 2 * s * torch.where(is_near, t, 1 - t)
    rest = torch.where(is_near, u, -u) + (u.square() + 4 * s.square() * t * (1 - t)).sqrt()
    return torch.where(is_near, from_end, rest) / (from_end + rest)
