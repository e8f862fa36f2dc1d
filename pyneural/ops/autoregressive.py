"""Whole layers of an autoregressive flow in one call.

Its autograd is in ``csrc/autoregressive/autoregressive_autograd.cpp``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log, pi
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pyneural.ops import reference
from pyneural.ops.activations import NEEDS_PREACTIVATION
from pyneural.ops.calls import by_kernel
from pyneural.ops.registration import empty_gradients, register_derivative, register_reference


def _by_kernel(name: str) -> Callable[..., Any]:
    """A function of x, context, weights, biases and options."""
    dtypes = torch.float32, torch.float64
    return by_kernel(name, getattr(reference, name), operands=(0, 1, 2, 3), dtypes=dtypes)


_autoregressive, _autoregressive_nll = map(_by_kernel, ("autoregressive", "autoregressive_nll"))


def autoregressive(
    x: Tensor,
    context: Tensor | None,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    degrees: Tensor | Sequence[Tensor],
    activation: str = "relu",
    transform: str = "affine",
    bound: float = 5.0,
    slope: float = 1e-3,
    inverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """Layers of an autoregressive flow: masked networks and the transforms that they give.

        y_d = f(x_d; p_d),  p = network(x, context),  ladj = sum over d of log(dy_d / dx_d)

    where p_d depends on the context and on the features of lower order alone. Each unit has a
    degree and sees the units below it of a degree not above its own: that of a feature is its
    order as an output of the network and one more as an input, that of the context is 0. Masked
    weights are multiplied by zero, and so have a gradient of exactly zero.

    With degrees of several layers, each is given the results of the one before, and the logarithms
    add up; the inverse goes through them from the last to the first. One call for a whole flow
    saves what each costs beside its products.

    A coupling layer is one whose features of order -1 stay as they are. They and the context are
    the network's only inputs, and its outputs are the parameters of the other features.

    Units are sorted by degree, which skips about half of the products, and the inverse is one
    forward substitution: the arithmetic of one pass, however many features there are. The gradient
    of the inverse is that substitution backwards. So it is on the CPU and on CUDA, there for up to
    32 layers, and with results of NaN where ``degrees`` do not fit the first layer's columns, since
    only the device knows; other devices invert by a pass for each order. Gradients reach x,
    context, weights and biases, to any order: the first backward is a kernel, further ones are
    torch's own.

    Args:
        x: [N, D], float32 or float64; other dtypes are computed by plain torch.
        context: [N, C], or None.
        weights: of the network, as torch.nn.Linear has them; the first [.., D + C], the last
            [D P, ..] with P parameters for each feature. Where S features stay, the first has
            S + C columns and the last (D - S) P rows, both in the order of the columns of x. Of
            several layers all, one layer after the other, as many of each.
        biases: likewise.
        degrees: int64, [D + number of hidden units]: the order of each feature, then the degree of
            each hidden unit, from input to output; ``autoregressive_degrees`` makes them, and
            ``coupling_degrees`` those of a coupling layer. For several layers a list of them.
        activation: of the hidden layers, as in ``dense``.
        transform: "affine", exp(c) x + t with P = 2 parameters t and c; or "spline", the
            ``rational_quadratic_spline`` with P = 3 K - 1 of K bins: widths, heights, derivatives.
        bound: where the spline becomes the identity.
        slope: about the smallest slope of an affine transform, of a spline's bin and at its knots,
            from 1e-6 to below 1.
        inverse: gives the x of a y.

    Returns:
        y [N, D] and ladj [N]; of the inverse x, and the logarithm of its Jacobian's determinant.

    Raises:
        ArgumentError: shapes, dtypes or devices that do not match, degrees of another number, or
            an unknown activation or transform.

    Source: Papamakarios, Pavlakou and Murray 2017, Masked autoregressive flow; masks by degrees:
        Germain et al. 2015, MADE; coupling: Dinh et al. 2016. Parameters and limits as in zuko.

    Example:
        >>> weights, biases = [torch.tensor([[0.0, 0], [0, 0], [2, 0], [0, 0]])], [torch.zeros(4)]
        >>> degrees = autoregressive_degrees(torch.tensor([0, 1]), [])
        >>> x = torch.tensor([[1.0, 3.0]])
        >>> y, ladj = autoregressive(x, None, weights, biases, degrees)  # x_1 + 2 x_0 behind x_0
        >>> y, ladj
        (tensor([[1., 5.]]), tensor([0.]))
        >>> autoregressive(y, None, weights, biases, degrees, inverse=True)[0]
        tensor([[1., 3.]])
    """
    each = [degrees] if isinstance(degrees, Tensor) else degrees
    return _autoregressive(
        x, context, weights, biases, each, activation, transform, float(bound), float(slope),
        inverse,
    )  # fmt: skip


def autoregressive_nll(
    x: Tensor,
    context: Tensor | None,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    degrees: Tensor | Sequence[Tensor],
    activation: str = "relu",
    transform: str = "affine",
    bound: float = 5.0,
    slope: float = 1e-3,
) -> Tensor:
    """The mean negative log-likelihood of rows x under a flow to the standard normal distribution.

        loss = mean over n of (|z_n|^2 / 2 - ladj_n) + D / 2 log(2 pi),  (z, ladj) = layers(x)

    It is what a flow is trained to. On the CPU loss and gradient come from one pass: a block of
    rows goes through all layers and back while its activations are in the cache, and nothing is
    kept for a backward but the gradient, which it multiplies. Elsewhere it is ``autoregressive``
    and a mean. Gradients reach x, context, weights and biases, to any order. The arguments are
    those of ``autoregressive``; x [N, D] has a row at least.

    Returns:
        loss [], in nats a row.

    Raises:
        ArgumentError: no rows, and what ``autoregressive`` refuses.

    Source: Rezende and Mohamed 2015, arXiv:1505.05770; Papamakarios, Pavlakou and Murray 2017.

    Example:
        >>> weights, biases = [torch.tensor([[0.0, 0], [0, 0], [2, 0], [0, 0]])], [torch.zeros(4)]
        >>> degrees = autoregressive_degrees(torch.tensor([0, 1]), [])
        >>> autoregressive_nll(torch.tensor([[1.0, -2.0]]), None, weights, biases, degrees)
        tensor(2.3379)
    """
    each = [degrees] if isinstance(degrees, Tensor) else degrees
    options = activation, transform, float(bound), float(slope)
    if isinstance(x, Tensor) and x.is_cuda and len(x) > 0:  # the layers have a kernel there
        z, ladj = autoregressive(x, context, weights, biases, each, *options)
        return (0.5 * z.square().sum(1) - ladj).mean() + 0.5 * z.shape[1] * log(2 * pi)
    return _autoregressive_nll(x, context, weights, biases, each, *options)


def _fake(x, *_):
    return x.new_empty(x.shape), x.new_empty(x.shape[0])


def _fake_with_saved(x, context, weights, biases, degrees, activation, *_):
    """The size of what is saved: on the CPU csrc/autoregressive/block.h says it."""
    if x.device.type == "cuda":
        return *_fake(x), x.new_empty((len(degrees) - 1) * x.numel())
    if x.device.type not in ("cpu", "meta"):
        return *_fake(x), x.new_empty(0)
    rows, depth = x.shape[0], len(weights) // len(degrees)
    hidden = sum(len(weight) for i, weight in enumerate(weights, 1) if i % depth)
    inputs = sum(weight.shape[1] for weight in weights[::depth])
    outputs = sum(len(weight) for weight in weights[depth - 1 :: depth])
    units = inputs + hidden + outputs + len(degrees) * x.shape[1]
    units += hidden if activation in NEEDS_PREACTIVATION else 0
    return *_fake(x), x.new_empty(16 + units * (rows + rows // 2 + 64))


def _fake_gradients(x, context, weights, biases, mask):
    parameters = sum(p.numel() for p in (*weights, *biases))
    shapes = x.shape, 0 if context is None else context.shape, parameters
    return tuple(empty_gradients(x, shapes, mask))


def _fake_backward(grad_y, grad_ladj, x, context, weights, biases, *others):
    return _fake_gradients(x, context, weights, biases, others[-1])


def _fake_nll(x, *_):
    return x.new_empty(())


def _fake_nll_with_gradients(x, context, weights, biases, *others):
    with_x, with_context, with_parameters = others[-1]
    shapes = x.shape, 0 if context is None else context.shape
    parameters = [*weights, *biases] if with_parameters else []
    of_inputs = empty_gradients(x, shapes, (with_x, with_context))
    return [_fake_nll(x), *of_inputs, *(x.new_empty(p.shape) for p in parameters)]


for _name, _results in {
    "autoregressive": _fake,
    "autoregressive_with_saved": _fake_with_saved,
    "autoregressive_nll": _fake_nll,
    "autoregressive_nll_with_gradients": _fake_nll_with_gradients,
}.items():
    register_reference(_name, getattr(reference, _name), _results)
register_derivative(
    "autoregressive_backward", reference.autoregressive_backward, _fake_backward, ["saved"]
)


def autoregressive_degrees(
    order: Tensor, hidden_features: Sequence[int], has_context: bool = False
) -> Tensor:
    """The degrees that ``autoregressive`` takes, for hidden units with all degrees in turn.

    So the masks of zuko's MaskedAutoregressiveTransform are, whose checkpoints fit therefore.

    Args:
        order: [D], whole numbers: feature d depends on those of lower order.
        hidden_features: width of each hidden layer.
        has_context: whether there is a context, which units of degree 0 see alone.

    Returns:
        int64, [D + the sum of hidden_features]: order, counted from 0 without gaps, then a degree
        for each hidden unit.

    Example:
        >>> autoregressive_degrees(torch.tensor([2, 0, 1]), [4]).tolist()
        [2, 0, 1, 1, 2, 1, 2]
    """
    orders, order = order.unique(return_inverse=True)
    lowest = 0 if has_context or len(orders) < 2 else 1
    choices = torch.arange(lowest, max(len(orders), lowest + 1), device=order.device)
    hidden = [choices[torch.arange(h, device=order.device) % len(choices)] for h in hidden_features]
    return torch.cat([order, *hidden])


def coupling_degrees(stays: Tensor, hidden_features: Sequence[int]) -> Tensor:
    """The degrees that ``autoregressive`` takes for a coupling layer, which has no masks.

    Args:
        stays: [D] of bool, which features stay: some, and not all.
        hidden_features: width of each hidden layer.

    Returns:
        int64, [D + the sum of hidden_features]: -1 for a feature that stays, else 0.

    Example:
        >>> coupling_degrees(torch.tensor([True, False, True]), [4]).tolist()
        [-1, 0, -1, 0, 0, 0, 0]
    """
    return F.pad(-stays.long(), (0, sum(hidden_features)))
