"""Taylor mode through a multilayer perceptron: values, derivatives, and losses made of them.

Letters: N points, D input coordinates, O outputs, K derivatives asked for, P parameters, L layers,
Q coefficients, R columns. Where the network's E inputs e(x) are functions of the coordinates, all
take the inputs' jet in the place of points: [1 + K', N, E], e and its K' derivatives
``input_channels(derivatives)``. The derivatives of the ops are in ``autograd.py``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from pyneural import _C
from pyneural.ops import reference
from pyneural.ops.jet import autograd
from pyneural.ops.jet.checks import check_without_kernel, residual_arguments
from pyneural.ops.jet.derivatives import Derivative, encode
from pyneural.ops.jet.residual import ResidualProgram, evaluate_residual
from pyneural.ops.transforms import by_autocast, by_forward_mode, by_torch_func

_Result = TypeVar("_Result")


def in_full_precision(function: Callable[..., _Result]) -> Callable[..., _Result]:
    """Runs an op outside autocast, with half precision arguments as float32.

    Derivatives of a network lose too much in half precision, so the ops are on the side of the
    functions that autocast keeps in float32. float64 stays float64.
    """

    @functools.wraps(function)
    def wrapper(x: Tensor, *args: Any, **kwargs: Any) -> _Result:
        device = x.device.type
        if not by_autocast(device):
            return function(x, *args, **kwargs)
        with torch.autocast(device, enabled=False):
            converted = {name: _float32(value) for name, value in kwargs.items()}
            return function(_float32(x), *map(_float32, args), **converted)

    return wrapper


def _float32(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], Tensor):
        return [_float32(element) for element in value]
    return value


@in_full_precision
def jet_mlp(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: str,
    derivatives: Iterable[Derivative],
) -> tuple[Tensor, ...]:
    """Value of a multilayer perceptron and derivatives with respect to its inputs, in one pass.

        a_0 = x,  a_l = f(W_l a_(l-1) + b_l) for l < L,  u = W_L a_(L-1) + b_L

    Each derivative travels through the layers as one more channel beside the value: a linear layer
    maps all channels alike, an activation by Faà di Bruno's formula. Only x and the parameters are
    saved for the backward, which recomputes the layers. Gradients reach x, weights and biases, to
    any order: the first backward is a kernel, further ones are plain torch, and so is forward mode.

    Where a_0 = e(x) are functions of the coordinates x, as in a periodic embedding, their jet
    stands in the place of x, and the derivatives of u are with respect to the coordinates.

    Args:
        x: points, [N, D], float32 or float64; or the jet of the inputs, [1 + K', N, E]: e, then its
            derivatives ``input_channels(derivatives)`` in their order.
        weights: L tensors [out_l, in_l].
        biases: L tensors [out_l].
        activation: "tanh", "sin", "sigmoid", "silu", "gelu" (with erf), "gelu_tanh" or "softplus";
            for first derivatives also "linear", "relu", "leaky_relu" (0.01) and "elu" (1.0).
        derivatives: the derivatives of u: tuples of up to four input indices, (0,) for u_t and
            (1, 1) for u_xx where x = (t, x), in any order and mixed; ``Laplacian(1, 2)``; or any
            ``LinearOperator({(0,): 1, (1, 1): -nu})``, which is one channel.

    Returns:
        (u, *derivatives), each [N, O], in the order asked; in units of u over those of the inputs.

    Raises:
        ValueError: an order above 4, an index beyond the inputs, an activation with a kink at
            order 2 or more, half precision (outside autocast, which converts it), a jet of another
            number of channels, or shapes, dtypes or devices that do not match.

    Griewank, Utke and Walther 2000, "Evaluating higher derivative tensors by forward propagation of
    univariate Taylor series"; Bettencourt, Johnson and Duvenaud 2019, "Taylor-mode automatic
    differentiation for higher-order derivatives in JAX", here with multivariate coefficients.
    Operators are collapsed: Li et al. 2023, "Forward Laplacian"; Dangel et al. 2025, "Collapsing
    Taylor mode automatic differentiation".

    Example:
        >>> x = torch.tensor([[0.3, 0.1], [0.6, 0.2]])  # two points (t, x)
        >>> weights, biases = [torch.tensor([[1.0, 2.0]]), torch.ones(1, 1)], [torch.zeros(1)] * 2
        >>> u, u_t, u_xx = jet_mlp(x, weights, biases, "sin", [(0,), (1, 1)])  # u = sin(t + 2 x)
        >>> torch.allclose(u_t, torch.cos(x @ weights[0].T)), torch.allclose(u_xx, -4 * u)
        (True, True)
        >>> sin, cos = x[:, 1:].sin(), x[:, 1:].cos()
        >>> e = torch.stack([sin, cos, -sin])  # a single input sin(x), with e_x and e_xx
        >>> u, u_xx = jet_mlp(e, [torch.ones(1, 1)], [torch.zeros(1)], "sin", [(1, 1)])  # u = e
        >>> torch.allclose(u_xx, -sin)
        True
    """
    encoded = encode("jet_mlp", derivatives)
    return face().jet_mlp(x, weights, biases, activation, *encoded).unbind()


@in_full_precision
def jet_mlp_jacobian(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: str,
    derivatives: Iterable[Derivative],
) -> Tensor:
    """Gradients of every point's value and derivatives with respect to all parameters.

        J[n, k O + o, p] = d (derivative k of output o at point n) / d (parameter p)

    Channel k = 0 is the value. Parameters are flat in the order weights[0], biases[0], weights[1],
    ..., each row-major. This is what Gauss-Newton, Levenberg-Marquardt and natural gradient take.
    It has N (1 + K) O P elements: call it on chunks of points.

    Args:
        x: points, [N, D], float32 or float64; or the jet of the inputs, as in ``jet_mlp``.
        weights: L tensors [out_l, in_l].
        biases: L tensors [out_l].
        activation: as in ``jet_mlp``.
        derivatives: as in ``jet_mlp``.

    Returns:
        [N, (1 + K) O, P]; its own derivatives are plain torch.

    Raises:
        ValueError: as ``jet_mlp``.

    Example:
        >>> x, weights, biases = torch.tensor([[3.0]]), [torch.tensor([[2.0]])], [torch.zeros(1)]
        >>> jet_mlp_jacobian(x, weights, biases, "tanh", [(0,)])  # u = w x + b, u_x = w
        tensor([[[3., 1.],
                 [1., 0.]]])
    """
    encoded = encode("jet_mlp_jacobian", derivatives)
    return face().jet_mlp_jacobian(x, weights, biases, activation, *encoded)


@in_full_precision
def jet_mlp_loss(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: str,
    derivatives: Iterable[Derivative],
    residual: ResidualProgram,
    coefficients: Tensor | None = None,
    columns: Tensor | None = None,
) -> Tensor:
    """Mean square of the residuals of a differential equation, with its gradient in the same pass.

        loss = sum_e (1 / N) sum_n r_e(u, derivatives, x_n, coefficients, columns_n)^2

    On the CPU a tile of points goes forward, through the residuals and back while it is in the
    cache; the gradients that are needed, of all tensors, are saved for the backward. On other
    devices the loss is made of ``jet_mlp`` and torch functions.

    Columns are numbers that differ from point to point: a coefficient field, a source, the weights
    of the points (a column times the residual, ``ResidualProgram.weighted``), the parts A and B of
    a hard condition u = A + B N. Where x is a jet, the coordinates that a residual reads are
    columns too.

    Args:
        x: points, [N, D], N >= 1, float32 or float64; or the jet of the inputs, as in ``jet_mlp``.
        weights: L tensors [out_l, in_l].
        biases: L tensors [out_l].
        activation: as in ``jet_mlp``.
        derivatives: as in ``jet_mlp``.
        residual: the equations as a program, written by ``record_residual`` from a function, or
            by ``pde.Equation`` from an equation.
        coefficients: coefficients of the program, which may be learned, [Q].
        columns: columns of the program, which may be learned, [R, N].

    Returns:
        [], differentiable to any order with respect to every tensor.

    Raises:
        ValueError: as ``jet_mlp``; no points; no program, or one with an unknown instruction or
            operands that are not there; coefficients or columns of another shape, dtype or device.

    Example:
        >>> from pyneural.ops import record_residual
        >>> x, weights, biases = torch.ones(4, 1), [torch.tensor([[2.0]])], [torch.zeros(1)]
        >>> program = record_residual(lambda jet, x, c: jet[1, 0] - c[0])  # u_x - c, u_x = 2
        >>> jet_mlp_loss(x, weights, biases, "tanh", [(0,)], program, torch.tensor([5.0]))
        tensor(9.)
        >>> field = record_residual(lambda jet, x, c, columns: columns[0] * jet[1, 0])  # K(x) u_x
        >>> k = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
        >>> jet_mlp_loss(x, weights, biases, "tanh", [(0,)], field, columns=k)
        tensor(2.)
    """
    op, network = "jet_mlp_loss", (x, weights, biases, activation)
    arguments = residual_arguments(op, *network, derivatives, residual, coefficients, columns)
    if x.device.type != "cpu" or needs_plain_torch():
        *plan, code, constants, factors, columns = arguments
        check_without_kernel(op, x, factors, columns)
        channels = face().jet_mlp(*plan).unbind()
        return reference.mean_square(
            evaluate_residual(code, constants, channels, x, factors, columns)
        )
    if torch.compiler.is_compiling() or by_torch_func():
        mask = [False] * 3
        if torch.is_grad_enabled():
            with_parameters = any(p.requires_grad for p in (*weights, *biases, arguments[-2]))
            with_columns = columns is not None and columns.requires_grad
            mask = [x.requires_grad, with_parameters, with_columns]
        return face().jet_mlp_loss(*arguments, mask)[0]
    return _C.jet_mlp_loss(*arguments)


def needs_plain_torch() -> bool:
    """Whether only the plain-torch Taylor mode can be transformed as is asked for.

    That is forward mode, and torch.func inside torch.compile, which lets no Function through.
    """
    return by_forward_mode() or (torch.compiler.is_compiling() and by_torch_func())


def face() -> Any:
    """The ops in plain torch, under autograd, or bare where that does not matter or comes later."""
    if needs_plain_torch():
        return reference
    bare = torch.compiler.is_compiling() or not torch.is_grad_enabled()
    return torch.ops.pyneural if bare else autograd
