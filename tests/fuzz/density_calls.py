"""Good arguments of the ops of flows, diffusion and state-space models, of sizes that are drawn."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from pyneural.ops.activations import NAMES
from tests.fuzz.draw import FULL, OPS, Draw


def spline(draw: Draw) -> list:
    dtype, bins = draw.choice(FULL), draw.size(1)
    leading = draw.choice([(), (draw.size(),), (2, draw.size())])
    columns = (), (bins,), (bins,), (bins - 1,)
    tensors = [draw.normal(dtype, *leading, *c) for c in columns]
    return [*tensors, draw.choice((1.0, 5.0)), draw.choice((1e-3, 0.1)), *draw.bools(1)]


def spline_backward(draw: Draw) -> list:
    x, *others = spline(draw)
    return [draw.normal(x.dtype, *x.shape), draw.normal(x.dtype, *x.shape), x, *others]


def autoregressive(draw: Draw) -> list:
    dtype, rows, features, bins = draw.choice(FULL), draw.size(), draw.size(1), draw.size(1)
    context = draw.maybe(draw.normal(dtype, rows, draw.size()))
    transform = draw.choice(("affine", "spline"))
    outputs = features * (2 if transform == "affine" else 3 * bins - 1)
    inputs = features + (0 if context is None else context.shape[1])
    depth, weights, biases, degrees = draw.choice((0, 1, 2)), [], [], []
    for _ in range(draw.choice((1, 2, 3))):
        hidden = [draw.size() for _ in range(depth)]
        pairs = list(pairwise([inputs, *hidden, outputs]))
        for before, after in pairs:
            weights.append(draw.normal(dtype, after, before))
            biases.append(draw.normal(dtype, after))
        drawn = [draw.choice(range(-1, 4)) for _ in range(features + sum(hidden))]
        degrees.append(torch.tensor(drawn, dtype=torch.int64))
    x = draw.normal(dtype, rows, features)
    options = draw.choice(NAMES), transform, 3.0, 1e-3, draw.choice((False, True))
    return [x, context, weights, biases, degrees, *options]


def autoregressive_backward(draw: Draw) -> list:
    *tensors, activation, transform, bound, slope, inverse = autoregressive(draw)
    options = activation, transform, bound, slope, inverse
    y, ladj, saved = OPS.autoregressive_with_saved(*tensors, *options)
    grads = [draw.normal(t.dtype, *t.shape) for t in (y, ladj)]
    return [*grads, *tensors, saved, *options, draw.bools(3)]


def autoregressive_nll(draw: Draw) -> list:
    *arguments, _ = autoregressive(draw)
    return arguments


def autoregressive_nll_with_gradients(draw: Draw) -> list:
    return [*autoregressive_nll(draw), draw.bools(3)]


def continuous_flow(draw: Draw) -> list:
    dtype, rows, features = draw.choice(FULL), draw.size(), draw.size(1)
    context = draw.maybe(draw.normal(dtype, rows, draw.size()))
    frequencies = [float(k) for k in range(1, draw.choice((0, 1, 3)) + 1)]
    hidden = [draw.size(1) for _ in range(draw.choice((1, 2)))]
    inputs = 2 * len(frequencies) + features + (0 if context is None else context.shape[1])
    pairs = list(pairwise([inputs, *hidden, features]))
    weights = [draw.normal(dtype, after, before) / before**0.5 for before, after in pairs]
    biases = [draw.normal(dtype, after) for _, after in pairs]
    x = draw.normal(dtype, rows, features)
    times = draw.choice(((0.0, 1.0), (1.0, 0.0)))
    options = 1e-5, 1e-6, draw.choice((1, 3)), 1000, draw.choice((False, True))
    return [x, context, weights, biases, frequencies, draw.choice(NAMES), *times, *options]


def continuous_flow_backward(draw: Draw) -> list:
    call = continuous_flow(draw)
    y, ladj = OPS.continuous_flow(*call)
    return [*(draw.normal(t.dtype, *t.shape) for t in (y, ladj)), *call, draw.bools(3)]


def diffusion_sampler(draw: Draw) -> list:
    dtype, rows, features = draw.choice(FULL), draw.size(), draw.size(1)
    condition = draw.maybe(draw.normal(dtype, rows, draw.size()))
    hidden = [draw.size(1) for _ in range(draw.choice((0, 1, 2)))]
    inputs = features + (0 if condition is None else condition.shape[1])
    pairs = list(pairwise([inputs, *hidden, features]))
    weights = [draw.normal(dtype, after, before) / max(before, 1) ** 0.5 for before, after in pairs]
    biases = [draw.normal(dtype, after) for _, after in pairs]
    steps = draw.choice((1, 3))
    shifts = draw.normal(dtype, steps, len(biases[0]))
    coefficients = draw.normal(dtype, steps, 2 + draw.choice((1, 2)))
    guidance = 0.0 if condition is None else draw.choice((0.0, 0.5))
    seed = torch.tensor([draw.random.getrandbits(62)])
    return [
        draw.normal(dtype, rows, features), condition, weights, biases, shifts, coefficients, seed,
        draw.choice(NAMES), guidance,
    ]  # fmt: skip


def kalman_filter(draw: Draw) -> list:
    dtype, series, steps = draw.choice(FULL), draw.size(), draw.size(1)
    n, p = draw.choice((1, 2, 3, 5)), draw.choice((1, 2, 3))

    def covariance(size: int) -> Tensor:
        root = draw.normal(dtype, size, size)
        return root @ root.mT + torch.eye(size, dtype=dtype)

    matrices = [
        draw.normal(dtype, n, n) / n,
        draw.normal(dtype, p, n),
        covariance(n),
        covariance(p),
    ]
    matrices = [m.expand(steps, *m.shape) if draw.bools(1)[0] else m for m in matrices]
    y, offset = draw.normal(dtype, series, steps, p), draw.normal(dtype, series, steps, n)
    return [y, draw.maybe(offset), *matrices, draw.normal(dtype, series, n), covariance(n)]


def kalman_filter_backward(draw: Draw) -> list:
    call = kalman_filter(draw)
    results = OPS.kalman_filter(*call)
    return [[draw.normal(t.dtype, *t.shape) for t in results], *call, *results[1:]]


def kalman_smoother(draw: Draw) -> list:
    call = kalman_filter(draw)
    return [call[2], call[4], *OPS.kalman_filter(*call)[1:]]


def kalman_smoother_backward(draw: Draw) -> list:
    call = kalman_smoother(draw)
    results = OPS.kalman_smoother(*call)
    return [[draw.normal(t.dtype, *t.shape) for t in results], *call, *results[:2]]
