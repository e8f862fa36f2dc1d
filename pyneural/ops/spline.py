"""The monotonic rational-quadratic spline of normalizing flows.

Its autograd is in ``csrc/spline/spline_autograd.cpp``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pyneural.errors import ArgumentError, check_tensor
from pyneural.ops import reference
from pyneural.ops.calls import by_kernel
from pyneural.ops.registration import register_derivative, register_reference
from pyneural.ops.transforms import by_autocast


def rational_quadratic_spline(
    x: Tensor,
    widths: Tensor,
    heights: Tensor,
    derivatives: Tensor,
    bound: float = 5.0,
    slope: float = 1e-3,
    inverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """Monotonic rational-quadratic spline of each element, and the logarithm of its derivative.

    Through knots from (-B, -B) to (B, B), with a derivative delta at each; outside the identity.
    In bin k, of width w, height h and mean slope s = h / w, with z = (x - x_k) / w:

        y = y_k + h (s z^2 + delta_k z (1 - z)) / (s + (delta_(k+1) + delta_k - 2 s) z (1 - z))

    Widths and heights are 2 B times a softmax over the bins, derivatives are exponentials, and 1 at
    both ends. What goes in there is limited first, so that neither the mean slope of a bin nor the
    derivative at a knot is below about ``slope`` or above its inverse: c / (1 + |c| / L) for a
    parameter c, with L = log(1 / slope) for derivatives and half of it for widths and heights.
    Inside a flat bin between steep knots dy/dx still falls to 2 slope^3 at worst, where x follows
    from y in float64 alone.

    Gradients reach x and all parameters, to any order: the first backward is a kernel, further ones
    are plain torch. Beyond the bound and at infinity they are those of the identity. A NaN stays
    one. Under autocast it is computed in float32.

    Args:
        x: [...], float32 or float64; lower precisions are computed in float32, by plain torch.
        widths: unconstrained, [..., K] for K bins.
        heights: likewise.
        derivatives: unconstrained, of the K - 1 knots between the bins, [..., K - 1].
        bound: B > 0.
        slope: the smallest one of a bin and at a knot, from 1e-6 to below 1.
        inverse: gives the x of a y, from the form of the root that does not cancel.

    The leading dimensions of parameters and x broadcast as in torch.

    Returns:
        y, and log|dy/dx|, both of the shape of x; of the inverse x, and log|dx/dy|.

    Raises:
        ArgumentError: shapes, dtypes or devices that do not match, or a bound or slope out of
            range.

    Source: Durkan, Bekasov, Murray and Papamakarios 2019, Neural spline flows; Gregory and
        Delbourgo 1982. Limits of the parameters: Rozet et al. 2022, zuko.

    Example:
        >>> x, bins = torch.tensor([-1.0, 0.5, 9.0]), torch.tensor([0.0, 1.0, 0.0, 0.0])
        >>> y, ladj = rational_quadratic_spline(x, torch.zeros(4), bins, torch.zeros(3))
        >>> y
        tensor([-0.4457,  1.5692,  9.0000])
        >>> rational_quadratic_spline(y, torch.zeros(4), bins, torch.zeros(3), inverse=True)[0]
        tensor([-1.0000,  0.5000,  9.0000])
    """
    if not hasattr(x, "device"):  # which a proxy of torch.fx has as well
        check_tensor("rational_quadratic_spline: x", x)
    tensors = x, widths, heights, derivatives
    if by_autocast(x.device.type):  # in full precision, as torch's own softmax
        tensors = tuple(t.float() if t.dtype in _REDUCED else t for t in tensors)  # type: ignore
    return _spline(*_broadcast(*tensors), bound, slope, inverse)


_REDUCED = torch.bfloat16, torch.float16
_spline = by_kernel(
    "rational_quadratic_spline",
    reference.rational_quadratic_spline,
    operands=(0, 1, 2, 3),
    dtypes=(torch.float32, torch.float64),
)


def _broadcast(x: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
    """The tensors with the same leading dimensions: x [...] and parameters [..., n]."""
    if not all(isinstance(p, Tensor) for p in parameters):  # the check says so
        return x, *parameters
    if all(p.shape[:-1] == x.shape for p in parameters):
        return x, *parameters
    leading = [p.shape[:-1] for p in parameters]
    try:
        shape = torch.broadcast_shapes(x.shape, *leading)
    except RuntimeError:
        raise ArgumentError(
            f"rational_quadratic_spline: x: expected a shape that broadcasts with the leading "
            f"dimensions of the parameters, {', '.join(str(list(s)) for s in leading)}, got "
            f"{list(x.shape)}; widths[..., None, :] adds a dimension"
        ) from None
    # A scalar has no bins, which the check says.
    return x.expand(shape), *(p.expand(*shape, p.shape[-1]) if p.dim() else p for p in parameters)


def _fake(x, *parameters):
    return x.new_empty(x.shape), x.new_empty(x.shape)


def _fake_backward(grad_y, grad_ladj, *others):
    tensors = others[:4]
    return tuple(tensor.new_empty(tensor.shape) for tensor in tensors)


register_reference("rational_quadratic_spline", reference.rational_quadratic_spline, _fake)
register_derivative(
    "rational_quadratic_spline_backward",
    reference.rational_quadratic_spline_backward,
    _fake_backward,
)
