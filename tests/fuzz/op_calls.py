"""Good arguments of every op, of sizes that are drawn, for tests that then spoil some of them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from pyneural import ops
from pyneural.ops.activations import NAMES, SMOOTH
from pyneural.ops.jet.derivatives import encode
from pyneural.ops.rnn import GATES
from tests.fuzz import density_calls
from tests.fuzz.draw import FULL, OPS, WITH_REDUCED, Draw


def _dense(draw: Draw) -> list:
    dtype, lead = draw.choice(WITH_REDUCED), draw.choice([(), (draw.size(),), (2, draw.size())])
    inputs, outputs = draw.size(), draw.size()
    x, weight = draw.normal(dtype, *lead, inputs), draw.normal(dtype, outputs, inputs)
    return [x, weight, draw.maybe(draw.normal(dtype, outputs)), draw.choice(NAMES)]


def _saved(result: tuple[Tensor, Tensor]) -> Tensor:
    y, z = result
    return z if z.numel() else y


def _dense_backward(draw: Draw) -> list:
    x, weight, bias, activation = _dense(draw)
    y, z = OPS.dense_with_preactivation(x, weight, bias, activation)
    grad_y = draw.normal(x.dtype, *y.shape)
    return [grad_y, x, weight, bias, _saved((y, z)), activation, draw.bools(3)]


def _masked_dense(draw: Draw) -> list:
    dtype, inputs, outputs = draw.choice(FULL), draw.size(), draw.size()
    pattern = ops.SparsityPattern.from_mask(draw.mask(outputs, inputs))
    x, values = draw.normal(dtype, draw.size(), inputs), draw.normal(dtype, len(pattern.inputs))
    bias = draw.maybe(draw.normal(dtype, outputs))
    return [x, values, pattern.starts, pattern.inputs, bias, draw.choice(NAMES)]


def _masked_dense_backward(draw: Draw) -> list:
    *parts, activation = _masked_dense(draw)
    y, z = OPS.masked_dense(*parts, activation)
    grad_y = draw.normal(y.dtype, *y.shape)
    return [grad_y, *parts, _saved((y, z)), activation, *draw.bools(1)]


def _network(draw: Draw, least: int = 0, widest: int = 40) -> list:
    dtype = draw.choice(FULL)
    widths = [min(widest, draw.size(least)) for _ in range(draw.choice((2, 3, 4)))]
    pairs = list(pairwise(widths))
    weights = [draw.normal(dtype, after, before) for before, after in pairs]
    biases = [draw.normal(dtype, after) for _, after in pairs]
    return [draw.normal(dtype, draw.size(), widths[0]), weights, biases]


def _mlp(draw: Draw) -> list:
    return [*_network(draw), draw.choice(NAMES), draw.choice(NAMES)]


def _mlp_backward(draw: Draw) -> list:
    call = _mlp(draw)
    y = OPS.mlp(*call)
    return [draw.normal(y.dtype, *y.shape), *call, draw.bools(2)]


def _jet(draw: Draw) -> list:
    x, weights, biases = _network(draw, least=1, widest=17)
    inputs = range(x.shape[1])
    count = draw.choice((1, 2, 3))
    derivatives = [
        tuple(draw.choice(inputs) for _ in range(draw.choice((1, 2, 3)))) for _ in range(count)
    ]
    if draw.random.random() < 0.3:
        derivatives.append(ops.Laplacian(*inputs[:2]))
    encoded, coefficients = encode("jet_mlp", dict.fromkeys(derivatives))
    if draw.random.random() < 0.3:  # the jet of the network's inputs
        channels = 1 + len(ops.input_channels(dict.fromkeys(derivatives)))
        x = draw.normal(x.dtype, channels, *x.shape)
    return [x, weights, biases, draw.choice(SMOOTH), list(encoded), list(coefficients)]


def _jet_backward(draw: Draw) -> list:
    call = _jet(draw)
    jet = OPS.jet_mlp(*call)
    return [draw.normal(jet.dtype, *jet.shape), *call, draw.bools(2)]


def _jet_residual(draw: Draw) -> list:
    call = _jet(draw)
    x, columns = call[0], None
    if x.dim() == 3 or draw.random.random() < 0.5:
        columns = draw.normal(x.dtype, draw.choice((1, 2)), x.shape[-2])

    def residual(jet, x, c, columns_):
        field = x[0] if columns is None else columns_[0]
        return jet[1, 0] + jet[0, 0] * field - c[0]

    program = ops.record_residual(residual)
    coefficients = draw.normal(x.dtype, draw.choice((1, 2)))
    beside = [list(program.code), list(program.constants), coefficients, columns]
    return [*call, *beside]


def _jet_loss(draw: Draw) -> list:
    return [*_jet_residual(draw), draw.bools(3)]


def _jet_residual_backward(draw: Draw) -> list:
    call = _jet_residual(draw)
    residuals = OPS.jet_mlp_residual(*call)
    return [draw.normal(residuals.dtype, *residuals.shape), *call, draw.bools(3)]


def _jet_path(draw: Draw) -> list:
    call = _jet_residual(draw)
    x, weights, biases, *_, coefficients, _columns = call
    size = sum(p.numel() for p in (*weights, *biases, coefficients))
    return [*call, draw.normal(x.dtype, draw.choice((1, 2, 3, 4)), size)]


def _rnn(draw: Draw) -> list:
    cell, dtype = draw.choice(GATES), draw.choice(WITH_REDUCED)
    steps, rows, inputs, hidden = draw.size(1), draw.size(), draw.size(), draw.size(1)
    gates, scale = GATES[cell] * hidden, hidden**-0.5
    biases = [draw.maybe(draw.normal(dtype, gates)) for _ in range(2)]
    lengths = torch.randint(1, steps + 1, (rows,), generator=draw.generator)
    return [
        draw.normal(dtype, steps, rows, inputs),
        draw.normal(dtype, rows, hidden),
        draw.normal(dtype, rows, hidden) if cell == "lstm" else None,
        draw.normal(dtype, gates, inputs) * scale,
        draw.normal(dtype, gates, hidden) * scale,
        *biases,
        draw.maybe(lengths),
        cell,
        draw.choice((True, False)),
    ]


def _rnn_backward(draw: Draw) -> list:
    call = _rnn(draw)
    y, h_n, c_n, saved = OPS.rnn_with_saved(*call)
    cell = call[-2]
    grads = draw.normal(y.dtype, *y.shape), draw.normal(y.dtype, *h_n.shape)
    grad_c = draw.normal(y.dtype, *c_n.shape) if cell == "lstm" else None
    return [*grads, grad_c, *call[:-2], y, saved, *call[-2:], draw.bools(7)]


def _attention(draw: Draw, float_mask: bool = False) -> list:
    dtype, batch, key_heads = draw.choice(WITH_REDUCED), draw.choice((0, 1, 2)), draw.choice((1, 2))
    heads = key_heads * draw.choice((1, 2, 3))
    queries, keys, width, value_width = (draw.size() for _ in range(4))
    q = draw.normal(dtype, batch, heads, queries, width)
    k = draw.normal(dtype, batch, key_heads, keys, width)
    v = draw.normal(dtype, batch, key_heads, keys, value_width)
    shape = [draw.choice((1, size)) for size in (batch, heads, queries, keys)]
    added = draw.normal(dtype, *shape)
    mask = added if float_mask else draw.choice((None, draw.mask(*shape), added))
    p = draw.choice((0.0, 0.0, 0.3, 1.0))
    seed = torch.tensor([draw.random.getrandbits(40)]) if p > 0 else None
    return [q, k, v, mask, seed, draw.choice((True, False)), p, draw.choice((None, 0.3))]


def _attention_backward(draw: Draw) -> list:
    call = _attention(draw)
    out, lse = OPS.attention_with_lse(*call)
    grad_out = draw.normal(out.dtype, *out.shape)
    return [grad_out, *call[:5], out, lse, *call[5:], draw.bools(3)]


def _attention_mask_backward(draw: Draw) -> list:
    call = _attention(draw, float_mask=True)
    q, v = call[0], call[2]
    return [draw.normal(q.dtype, *q.shape[:3], v.shape[3]), *call]


def _attention_keep(draw: Draw) -> list:
    shape = [draw.size() for _ in range(4)]
    return [torch.tensor([draw.random.getrandbits(40)]), shape, draw.choice((0.1, 0.5, 1.0))]


def _dropout(draw: Draw) -> list:
    x = draw.normal(draw.choice(WITH_REDUCED), draw.size(), draw.size())
    return [x, torch.tensor([draw.random.getrandbits(40)]), draw.choice((0.0, 0.3, 1.0))]


def _mse_loss(draw: Draw) -> list:
    dtype, shape = draw.choice(FULL), (draw.size(), draw.size())
    return [draw.normal(dtype, *shape), draw.normal(dtype, *shape)]


def _mse_loss_backward(draw: Draw) -> list:
    prediction, target = _mse_loss(draw)
    return [draw.normal(prediction.dtype), prediction, target]


def _damped_cholesky(draw: Draw) -> list:
    n = draw.size()
    columns = draw.normal(torch.float64, n, n + 1)
    return [columns @ columns.T, draw.choice((0.0, 0.1, 10.0))]


def _damped_cholesky_solve(draw: Draw) -> list:
    n = draw.size()
    factor = draw.normal(torch.float64, n, n).triu(1) + torch.eye(n, dtype=torch.float64)
    return [factor, draw.normal(torch.float64, n)]


def _adadelta(draw: Draw) -> list:
    dtype = draw.choice(FULL)
    shapes = [(draw.size(), draw.size()) for _ in range(draw.choice((0, 1, 3)))]
    parameters, gradients, squares, changes = (
        [draw.normal(dtype, *shape) for shape in shapes] for _ in range(4)
    )
    squares, changes = ([t.abs() for t in tensors] for tensors in (squares, changes))
    steps = draw.choice(([], [torch.zeros(()) for _ in shapes]))
    return [parameters, gradients, squares, changes, steps, 0.7, 0.9, 1e-3, 0.1]


def _adam(draw: Draw) -> list:
    parameters, gradients, squares, averages, _, *_ = _adadelta(draw)
    steps = [torch.zeros(()) for _ in parameters]
    rates = (0.7, 0.9, 0.99, 1e-3, 0.1)
    return [parameters, gradients, averages, squares, steps, *rates, draw.choice((False, True))]


IN_PLACE = ("adadelta_", "adam_")  # they return nothing
CALLS: dict[str, Callable[[Draw], list]] = {
    "dense": _dense,
    "dense_with_preactivation": _dense,
    "dense_backward": _dense_backward,
    "masked_dense": _masked_dense,
    "masked_dense_backward": _masked_dense_backward,
    "mlp": _mlp,
    "mlp_backward": _mlp_backward,
    "autoregressive": density_calls.autoregressive,
    "autoregressive_with_saved": density_calls.autoregressive,
    "autoregressive_backward": density_calls.autoregressive_backward,
    "autoregressive_nll": density_calls.autoregressive_nll,
    "autoregressive_nll_with_gradients": density_calls.autoregressive_nll_with_gradients,
    "continuous_flow": density_calls.continuous_flow,
    "continuous_flow_backward": density_calls.continuous_flow_backward,
    "diffusion_sampler": density_calls.diffusion_sampler,
    "rnn": _rnn,
    "rnn_with_saved": _rnn,
    "rnn_backward": _rnn_backward,
    "attention": _attention,
    "attention_with_lse": _attention,
    "attention_backward": _attention_backward,
    "attention_mask_backward": _attention_mask_backward,
    "attention_keep": _attention_keep,
    "rational_quadratic_spline": density_calls.spline,
    "rational_quadratic_spline_backward": density_calls.spline_backward,
    "dropout": _dropout,
    "mse_loss": _mse_loss,
    "mse_loss_backward": _mse_loss_backward,
    "adadelta_": _adadelta,
    "adam_": _adam,
    "damped_cholesky": _damped_cholesky,
    "damped_cholesky_solve": _damped_cholesky_solve,
    "kalman_filter": density_calls.kalman_filter,
    "kalman_filter_backward": density_calls.kalman_filter_backward,
    "kalman_smoother": density_calls.kalman_smoother,
    "kalman_smoother_backward": density_calls.kalman_smoother_backward,
    "jet_mlp": _jet,
    "jet_mlp_backward": _jet_backward,
    "jet_mlp_jacobian": _jet,
    "jet_mlp_loss": _jet_loss,
    "jet_mlp_residual": _jet_residual,
    "jet_mlp_residual_backward": _jet_residual_backward,
    "jet_mlp_residual_jacobian": _jet_residual,
    "jet_mlp_gram": _jet_residual,
    "jet_mlp_path": _jet_path,
}


def _public_rnn(x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, lengths, cell, reverse):
    state = h0 if c0 is None else (h0, c0)
    return ops.rnn(x, state, (weight_ih, weight_hh, bias_ih, bias_hh), cell, lengths, reverse)


def _public_attention(q, k, v, mask, seed, is_causal, dropout_p, scale):
    return ops.attention(q, k, v, mask, is_causal, 0.0 if dropout_p else dropout_p, scale, True)


def _weights(q, k, v, mask, seed, is_causal, dropout_p, scale):
    return ops.attention_weights(q, k, mask, is_causal, scale, True)


def _public_masked_dense(x, values, starts, inputs, bias, activation):
    return ops.masked_dense(x, values, ops.SparsityPattern(starts, inputs), bias, activation)


def _public_jet(x, weights, biases, activation, *_):
    return ops.jet_mlp(x, weights, biases, activation, [(0,), (0, 0)])


# Faces of the ops by the name of the op whose arguments they are given.
PUBLIC: dict[str, list[Callable]] = {
    "dense": [ops.dense],
    "mlp": [ops.mlp],
    "masked_dense": [_public_masked_dense],
    "autoregressive": [ops.autoregressive],
    "rnn": [_public_rnn],
    "attention": [_public_attention, _weights],
    "mse_loss": [ops.mse_loss],
    "rational_quadratic_spline": [ops.rational_quadratic_spline],
    "jet_mlp": [_public_jet],
}
