"""How many floating-point operations the ops do, for ``torch.utils.flop_counter``.

As torch counts: 2 for each multiplication and addition of a matrix product, none for what is done
element by element. A layer has the count of torch's. What a backward computes again in order not to
store it counts for attention alone, as in torch's formula.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch.utils.flop_counter import register_flop_formula

from pyneural.ops.jet.derivatives import decode
from pyneural.ops.jet.plan import make_plan
from pyneural.ops.jet.residual import RESIDUAL

_OPS = torch.ops.pyneural
Shape = Sequence[int]


@register_flop_formula([_OPS.dense, _OPS.dense_with_preactivation])
def _dense(x: Shape, weight: Shape, *_: Any, **__: Any) -> int:
    return 2 * prod(x[:-1]) * prod(weight)


@register_flop_formula(_OPS.dense_backward)
def _dense_backward(
    grad_y: Shape, x: Shape, weight: Shape, bias: Any, saved: Any, activation: str,
    output_mask: Sequence[bool], **_: Any,
) -> int:  # fmt: skip
    return 2 * prod(x[:-1]) * prod(weight) * sum(output_mask[:2])


@register_flop_formula(_OPS.masked_dense)
def _masked_dense(x: Shape, values: Shape, *_: Any, **__: Any) -> int:
    return 2 * prod(x[:-1]) * values[0]


@register_flop_formula(_OPS.masked_dense_backward)
def _masked_dense_backward(grad_y: Shape, x: Shape, values: Shape, *others: Any, **_: Any) -> int:
    with_grad_x = others[-1]
    return 2 * prod(x[:-1]) * values[0] * (1 + with_grad_x)


@register_flop_formula(_OPS.mlp)
def _mlp(x: Shape, weights: Sequence[Shape], *_: Any, **__: Any) -> int:
    return 2 * x[0] * sum(map(prod, weights))


@register_flop_formula(_OPS.mlp_backward)
def _mlp_backward(
    grad_y: Shape, x: Shape, weights: Sequence[Shape], biases: Any, activation: str,
    final_activation: str, output_mask: Sequence[bool], **_: Any,
) -> int:  # fmt: skip
    return _network_backward(x[0], weights, output_mask)


def _network_backward(rows: int, weights: Sequence[Shape], output_mask: Sequence[bool]) -> int:
    with_x, with_parameters = output_mask
    first, rest = prod(weights[0]), sum(map(prod, weights[1:]))
    return 2 * rows * (rest + with_x * first + with_parameters * (first + rest))


# Masked weights count, as those of the masked matrices that torch would multiply with.


@register_flop_formula([_OPS.autoregressive, _OPS.autoregressive_with_saved])
def _autoregressive(x: Shape, context: Any, weights: Sequence[Shape], *_: Any, **__: Any) -> int:
    return 2 * x[0] * sum(map(prod, weights))


@register_flop_formula(_OPS.autoregressive_backward)
def _autoregressive_backward(
    grad_y: Shape, grad_ladj: Shape, x: Shape, context: Any, weights: Sequence[Shape],
    *others: Any, **_: Any,
) -> int:  # fmt: skip
    with_x, with_context, with_parameters = others[-1]
    return _network_backward(x[0], weights, (with_x or with_context, with_parameters))


@register_flop_formula(_OPS.autoregressive_nll)
def _autoregressive_nll(x: Shape, context: Any, *others: Any, **_: Any) -> int:
    return _autoregressive(x, context, *others)


@register_flop_formula(_OPS.autoregressive_nll_with_gradients)
def _autoregressive_nll_with_gradients(
    x: Shape, context: Any, weights: Sequence[Shape], *others: Any, **_: Any
) -> int:
    with_x, with_context, with_parameters = others[-1]
    backward = _network_backward(x[0], weights, (with_x or with_context, with_parameters))
    return _autoregressive(x, context, weights) + backward


# Of equal steps, with six evaluations of the field each, five of them with its divergence; one more
# begins. How many adaptive steps there are no shape says: one is counted.


@register_flop_formula(_OPS.continuous_flow)
def _continuous_flow(
    x: Shape, context: Any, weights: Sequence[Shape], *others: Any, **_: Any
) -> int:
    steps, with_ladj = max(others[-3], 1), others[-1]
    of_value, of_trace = _field_products(x, weights)
    evaluations = (6 * steps + 1) * of_value + with_ladj * (5 * steps + 1) * of_trace
    return 2 * x[0] * (evaluations + _context_products(context, weights))


@register_flop_formula(_OPS.continuous_flow_backward)
def _continuous_flow_backward(
    grad_y: Shape, grad_ladj: Shape, x: Shape, context: Any, weights: Sequence[Shape],
    *others: Any, **_: Any,
) -> int:  # fmt: skip
    *options, (_with_x, with_context, with_parameters) = others
    steps, with_ladj = max(options[-3], 1), options[-1]
    of_value, of_trace = _field_products(x, weights)
    # The path again, and from its end each evaluation, but for u, with its gradients.
    again = of_value - prod(weights[-1])
    gradients = (1 + with_parameters) * of_value
    evaluations = 6 * steps * (again + gradients)
    evaluations += with_ladj * 5 * steps * (2 + with_parameters) * of_trace
    of_context = (with_context + with_parameters) * _context_products(context, weights)
    path = _continuous_flow(x, context, weights, *options)
    return path + 2 * x[0] * (evaluations + of_context)


def _field_products(x: Shape, weights: Sequence[Shape]) -> tuple[int, int]:
    """Of a value of the field, and of its divergence, where two hidden layers are coupled."""
    between = sum(map(prod, weights[1:-1]))
    return x[1] * weights[0][0] + between + prod(weights[-1]), between


def _context_products(context: Any, weights: Sequence[Shape]) -> int:
    return 0 if context is None else weights[0][0] * context[1]


@register_flop_formula(_OPS.diffusion_sampler)
def _diffusion_sampler(
    x: Shape, condition: Any, weights: Sequence[Shape], *others: Any, **_: Any
) -> int:
    steps, guidance = others[1][0], others[-1]
    evaluation = x[1] * weights[0][0] + sum(map(prod, weights[1:]))
    evaluations = steps * (1 if guidance == 0 else 2) * evaluation
    return 2 * x[0] * (evaluations + _context_products(condition, weights))


@register_flop_formula([_OPS.rnn, _OPS.rnn_with_saved])
def _rnn(
    x: Shape, h0: Shape, c0: Any, weight_ih: Shape, weight_hh: Shape, *_: Any, **__: Any
) -> int:
    return 2 * x[0] * x[1] * (prod(weight_ih) + prod(weight_hh))


@register_flop_formula(_OPS.rnn_backward)
def _rnn_backward(
    grad_y: Shape, grad_h_n: Shape, grad_c_n: Any, x: Shape, h0: Shape, c0: Any, weight_ih: Shape,
    weight_hh: Shape, *others: Any, **_: Any,
) -> int:  # fmt: skip
    with_x, _h0, _c0, with_ih, with_hh, *_biases = others[-1]
    from_x, from_h = prod(weight_ih), prod(weight_hh)
    return 2 * x[0] * x[1] * (with_x * from_x + with_ih * from_x + from_h + with_hh * from_h)


@register_flop_formula([_OPS.attention, _OPS.attention_with_lse])
def _attention(q: Shape, k: Shape, v: Shape, *_: Any, **__: Any) -> int:
    return _products(q, k) * (q[3] + v[3])


@register_flop_formula(_OPS.attention_backward)
def _attention_backward(grad_out: Shape, q: Shape, k: Shape, v: Shape, *_: Any, **__: Any) -> int:
    return _products(q, k) * (3 * q[3] + 2 * v[3])  # scores again, then P, v, q and k


@register_flop_formula(_OPS.attention_mask_backward)
def _attention_mask_backward(
    grad_out: Shape, q: Shape, k: Shape, v: Shape, *_: Any, **__: Any
) -> int:
    return _products(q, k) * (q[3] + v[3])


def _products(q: Shape, k: Shape) -> int:
    """Operations for each column that all scores [N, H, L, S] are multiplied with."""
    return 2 * prod(q[:3]) * k[2]


# Taylor mode carries C channels through all layers but the first, in which those of derivatives are
# the same at every point, unless x is the jet of the network's inputs.


@register_flop_formula(_OPS.jet_mlp)
def _jet_mlp(
    x: Shape, weights: Sequence[Shape], biases: Any, activation: str, *plan: Any, **_: Any
) -> int:
    first, rest = _jet_products(x, weights, plan)
    return first + rest


@register_flop_formula(_OPS.jet_mlp_backward)
def _jet_mlp_backward(
    grad: Shape, x: Shape, weights: Sequence[Shape], biases: Any, activation: str, *plan: Any,
    **_: Any,
) -> int:  # fmt: skip
    *plan_, (with_x, with_parameters) = plan
    return _jet_backward(x, weights, plan_, with_x, with_parameters)


@register_flop_formula(_OPS.jet_mlp_jacobian)
def _jet_mlp_jacobian(
    x: Shape, weights: Sequence[Shape], biases: Any, activation: str, *plan: Any, **_: Any
) -> int:
    outputs = (1 + len(decode(*plan))) * weights[-1][0]
    backward = _jet_backward(x, weights, plan, False, True)
    return sum(_jet_products(x, weights, plan)) + outputs * backward


@register_flop_formula(_OPS.jet_mlp_loss)
def _jet_mlp_loss(
    x: Shape, weights: Sequence[Shape], biases: Any, activation: str, derivatives: Any,
    operator_coefficients: Any, *others: Any, **_: Any,
) -> int:  # fmt: skip
    plan, (with_x, with_parameters, _columns) = (derivatives, operator_coefficients), others[-1]
    forward = sum(_jet_products(x, weights, plan))
    if not (with_x or with_parameters):
        return forward
    return forward + _jet_backward(x, weights, plan, with_x, with_parameters)


@register_flop_formula(_OPS.jet_mlp_residual)
def _jet_mlp_residual(
    x: Shape, weights: Sequence[Shape], biases: Any, activation: str, derivatives: Any,
    operator_coefficients: Any, *_: Any, **__: Any,
) -> int:  # fmt: skip
    return sum(_jet_products(x, weights, (derivatives, operator_coefficients)))


@register_flop_formula(_OPS.jet_mlp_residual_backward)
def _jet_mlp_residual_backward(
    grad: Shape, x: Shape, weights: Sequence[Shape], biases: Any, activation: str,
    derivatives: Any, operator_coefficients: Any, *others: Any, **_: Any,
) -> int:  # fmt: skip
    plan, (with_x, with_parameters, _columns) = (derivatives, operator_coefficients), others[-1]
    if not (with_x or with_parameters):
        return 0
    return _jet_backward(x, weights, plan, with_x, with_parameters)


@register_flop_formula(_OPS.jet_mlp_residual_jacobian)
def _jet_mlp_residual_jacobian(
    x: Shape, weights: Sequence[Shape], biases: Any, activation: str, derivatives: Any,
    operator_coefficients: Any, residual: Sequence[int], *_: Any, **__: Any,
) -> int:  # fmt: skip
    plan = derivatives, operator_coefficients
    equations = list(residual[::3]).count(RESIDUAL)
    backward = _jet_backward(x, weights, plan, False, True)
    return sum(_jet_products(x, weights, plan)) + equations * backward


@register_flop_formula(_OPS.jet_mlp_gram)
def _jet_mlp_gram(
    x: Shape, weights: Sequence[Shape], biases: Sequence[Shape], activation: str,
    derivatives: Any, operator_coefficients: Any, residual: Sequence[int], constants: Any,
    coefficients: Shape, *_: Any, **__: Any,
) -> int:  # fmt: skip
    plan = derivatives, operator_coefficients
    jacobian = _jet_mlp_residual_jacobian(x, weights, biases, activation, *plan, residual)
    rows = sum(map(prod, (*weights, *biases, coefficients)))
    columns = list(residual[::3]).count(RESIDUAL) * x[-2]
    return jacobian + rows * (rows + 1) * columns


@register_flop_formula(_OPS.damped_cholesky)
def _damped_cholesky(matrix: Shape, *_: Any, **__: Any) -> int:
    return matrix[0] ** 3 // 3


@register_flop_formula(_OPS.damped_cholesky_solve)
def _damped_cholesky_solve(factor: Shape, *_: Any, **__: Any) -> int:
    return 2 * factor[0] ** 2


@register_flop_formula(_OPS.jet_mlp_path)
def _jet_mlp_path(
    x: Shape, weights: Sequence[Shape], biases: Any, activation: str, derivatives: Any,
    operator_coefficients: Any, *others: Any, **_: Any,
) -> int:  # fmt: skip
    first, rest = _jet_products(x, weights, (derivatives, operator_coefficients))
    order = others[-1][0]
    return (order + 1) * first + (order + 1) * (order + 2) // 2 * rest


def _jet_backward(
    x: Shape, weights: Sequence[Shape], plan: Sequence[Any], with_x: bool, with_parameters: bool
) -> int:
    first, rest = _jet_products(x, weights, plan)
    return rest + with_x * first + with_parameters * (first + rest)


def _jet_products(x: Shape, weights: Sequence[Shape], plan: Sequence[Any]) -> tuple[int, int]:
    """Of the first layer and of the others."""
    channels = 1 + len(make_plan(tuple(decode(*plan))).channels)
    first, rest = prod(weights[0]), sum(map(prod, weights[1:]))
    return 2 * x[-2] * prod(x[:-2]) * first, 2 * x[-2] * channels * rest


# Of the products of matrices; those with a vector are few beside them.


@register_flop_formula(_OPS.kalman_filter)
def _kalman_filter(y: Shape, offset: Any, transition: Shape, *_: Any, **__: Any) -> int:
    n, p = transition[-1], y[2]
    return 2 * y[0] * y[1] * (4 * n**3 + 3 * n**2 * p + 2 * n * p**2)


@register_flop_formula(_OPS.kalman_filter_backward)
def _kalman_filter_backward(
    grads: Any, y: Shape, offset: Any, transition: Shape, *_: Any, **__: Any
) -> int:
    n, p = transition[-1], y[2]
    return 2 * y[0] * y[1] * (5 * n**3 + 6 * n**2 * p + 4 * n * p**2)


@register_flop_formula(_OPS.kalman_smoother)
def _kalman_smoother(transition: Shape, process_noise: Any, mean: Shape, *_: Any, **__: Any) -> int:
    return 2 * mean[0] * (mean[1] - 1) * 8 * mean[2] ** 3


@register_flop_formula(_OPS.kalman_smoother_backward)
def _kalman_smoother_backward(
    grads: Any, transition: Shape, process_noise: Any, mean: Shape, *_: Any, **__: Any
) -> int:
    return 2 * mean[0] * (mean[1] - 1) * 17 * mean[2] ** 3
