"""A few small calls of every CUDA kernel path, for compute-sanitizer: seconds, not minutes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch

from pyneural import ops

# Width and depth: fused in shared memory, off every tile, and layer by layer.
SHAPES = [(3, 20, 70), (2, 33, 129), (2, 256, 64), (1, 300, 40)]
DERIVATIVES = [(0,), (1,), (1, 1), (0, 1), ops.Laplacian(0, 1)]


def main() -> None:
    jet()
    gram()
    dense()
    mlp()
    rnn()
    attention()
    spline()
    autoregressive()
    diffusion_sampler()
    masked_dense()
    elementwise()
    torch.cuda.synchronize()


def mlp() -> None:
    """The whole network's: in shared memory, and in global memory where it does not fit."""
    for dtype in (torch.float32, torch.float64):
        for depth, width, rows in ((3, 20, 300), (4, 64, 130), (6, 128, 40)):
            sizes = [3, *[width] * depth, 2]
            weights, biases = (
                [torch.randn(size, dtype=dtype, device="cuda", requires_grad=True) for size in of]
                for of in (
                    [(o, i) for i, o in itertools.pairwise(sizes)],
                    [(o,) for o in sizes[1:]],
                )
            )
            x = torch.randn(rows, 3, dtype=dtype, device="cuda", requires_grad=True)
            y = ops.mlp(x, weights, biases, "sin", "sigmoid")
            gradients = torch.autograd.grad(y.square().mean(), [x, *weights, *biases])
            check(f"{dtype} mlp {depth} x {width}", gradients)


def rnn() -> None:
    """The recurrence's: one block, clusters, more; weights in shared memory and beyond it."""
    cells = ("tanh", 1), ("gru", 3), ("lstm", 4)
    for dtype, (cell, gates) in itertools.product((torch.float32, torch.bfloat16), cells):
        for rows, hidden in ((1, 5), (70, 40), (33, 129), (9, 512), (3, 2000)):
            x, h, *weights = (
                torch.randn(size, device="cuda", dtype=dtype).div(hidden**0.5).requires_grad_()
                for size in (
                    (4, rows, 3),
                    (rows, hidden),
                    (gates * hidden, 3),
                    (gates * hidden, hidden),
                )
            )
            state = (h, h) if cell == "lstm" else h
            y, _ = ops.rnn(x, state, [*weights, None, None], cell)
            gradients = torch.autograd.grad(y.square().mean(), [x, h, *weights])
            check(f"{dtype} {cell} {rows} x {hidden}", gradients)


def attention() -> None:
    """Attention's: every type and width of a tile, masks, dropout, rows that no vector fits."""
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        for queries, keys, width in ((70, 150, 33), (130, 65, 64), (40, 40, 128), (20, 30, 200)):
            q, k, v = (
                torch.randn(1, heads, rows, width, dtype=dtype, device="cuda", requires_grad=True)
                for heads, rows in ((2, queries), (1, keys), (1, keys))
            )
            mask = torch.rand(queries, keys, device="cuda") > 0.3
            mask[:, -20:] = False
            for options in ({"is_causal": True}, {"mask": mask, "dropout_p": 0.2}):
                out = ops.attention(q, k, v, enable_gqa=True, **options)
                gradients = torch.autograd.grad(out.float().square().mean(), [q, k, v])
                check(f"{dtype} attention {queries} x {keys} x {width}", gradients)


def spline() -> None:
    """The spline's: few bins, and so many that few points fit into shared memory."""
    for dtype in (torch.float32, torch.float64):
        for points, bins in ((1, 2), (300, 8), (40, 500)):
            tensors = [
                torch.randn(*size, dtype=dtype, device="cuda", requires_grad=True)
                for size in ((points,), (points, bins), (points, bins), (points, bins - 1))
            ]
            for inverse in (False, True):
                y, ladj = ops.rational_quadratic_spline(*tensors, inverse=inverse)
                gradients = torch.autograd.grad((y * ladj).mean(), tensors)
                check(f"{dtype} spline of {bins} bins", gradients)


def autoregressive() -> None:
    """Flow layers': units in shared memory and in global memory, by order and by coupling."""
    for dtype in (torch.float32, torch.float64):
        for features, width, rows in ((3, 20, 130), (7, 128, 70), (40, 300, 10)):
            stays = torch.arange(features, device="cuda") % 2 == 0
            for staying in (0, int(stays.sum())):
                hidden = [width, width]
                degrees = ops.autoregressive_degrees(torch.arange(features), hidden).cuda()
                if staying:
                    degrees = ops.coupling_degrees(stays, hidden)
                seen, transformed = staying or features, features - staying
                sizes = [seen, *hidden, 23 * transformed]
                weights = [
                    torch.randn(o, i, dtype=dtype, device="cuda").div(i**0.5).requires_grad_()
                    for i, o in itertools.pairwise(sizes)
                ]
                biases = [
                    torch.zeros(o, dtype=dtype, device="cuda", requires_grad=True)
                    for o in sizes[1:]
                ]
                x = torch.randn(rows, features, dtype=dtype, device="cuda", requires_grad=True)
                for inverse in (False, True):
                    y, ladj = ops.autoregressive(
                        x, None, weights, biases, degrees, "silu", "spline", inverse=inverse
                    )
                    loss = y.square().mean() - ladj.mean()
                    gradients = torch.autograd.grad(loss, [x, *weights, *biases])
                    check(f"{dtype} flow layer {features} x {width}", gradients)


def diffusion_sampler() -> None:
    """The sampler's: layers in shared memory and in global memory, with and without a condition."""
    for dtype in (torch.float32, torch.float64):
        for features, width, rows in ((2, 128, 130), (7, 256, 40), (33, 700, 10)):
            for columns in (0, 3):
                sizes = [features + columns, width, width, features]
                weights = [
                    torch.randn(o, i, dtype=dtype, device="cuda").div(i**0.5)
                    for i, o in itertools.pairwise(sizes)
                ]
                biases = [torch.zeros(o, dtype=dtype, device="cuda") for o in sizes[1:]]
                x = torch.randn(rows, features, dtype=dtype, device="cuda")
                condition = x.new_ones(rows, columns) if columns else None
                shifts, coefficients = x.new_ones(5, width), x.new_full((5, 4), 0.3)
                y = ops.diffusion_sampler(
                    x, condition, weights, biases, shifts, coefficients, guidance=columns / 3
                )
                check(f"{dtype} sampler {features} x {width}", [y])


def masked_dense() -> None:
    """The sparsely connected layer's: whole and cut tiles, split sums, sums of edges alone."""
    for dtype in (torch.float32, torch.float64):
        for rows, inputs, outputs in ((1, 1, 1), (130, 70, 33), (2048, 64, 140)):
            mask = torch.rand(outputs, inputs, device="cuda") < 0.5
            mask[0, 0] = True
            pattern = ops.SparsityPattern.from_mask(mask)
            x, values, bias = (
                torch.randn(size, dtype=dtype, device="cuda", requires_grad=True)
                for size in ((rows, inputs), len(pattern.inputs), outputs)
            )
            y = ops.masked_dense(x, values, pattern, bias, "silu")
            gradients = torch.autograd.grad(y.square().mean(), [x, values, bias])
            check(f"{dtype} masked_dense {rows} x {inputs} x {outputs}", gradients)


def elementwise() -> None:
    """Dropout, the mean squared error and Adadelta: whole and cut tiles, several launches."""
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        x = torch.randn(1000, 33, dtype=dtype, device="cuda", requires_grad=True)
        y = ops.dropout(x, 0.3)
        check(f"{dtype} dropout", torch.autograd.grad(y.float().square().mean(), x))
    for dtype in (torch.float32, torch.float64):
        for size in (1, 5000, 2_000_003):
            a, y = (torch.randn(size, dtype=dtype, device="cuda") for _ in range(2))
            gradient = torch.autograd.grad(ops.mse_loss(a.requires_grad_(), y), a)
            check(f"{dtype} mse_loss {size}", gradient)
        tensors = [[torch.rand(n, dtype=dtype, device="cuda") for n in range(100)] for _ in "wgsu"]
        ops.adadelta_(*tensors, learning_rate=1.0)
        check(f"{dtype} adadelta", tensors[0])


def check(name: str, gradients: Sequence[torch.Tensor]) -> None:
    """Prints whether all is finite; exits where it is not."""
    finite = all(bool(gradient.isfinite().all()) for gradient in gradients)
    print(f"{name}: finite gradients {finite}")
    if not finite:
        raise SystemExit(1)


def jet() -> None:
    """The jet's forward and backward."""
    for dtype in (torch.float32, torch.float64):
        for depth, width, points in SHAPES:
            sizes = [2, *[width] * depth, 1]
            weights = [
                torch.randn(o, i, dtype=dtype, device="cuda").div(i**0.5).requires_grad_()
                for i, o in itertools.pairwise(sizes)
            ]
            biases = [
                torch.zeros(o, dtype=dtype, device="cuda", requires_grad=True) for o in sizes[1:]
            ]
            x = torch.rand(points, 2, dtype=dtype, device="cuda", requires_grad=True)
            inputs = len(ops.input_channels(DERIVATIVES))
            of_inputs = torch.rand(
                1 + inputs, *x.shape, dtype=dtype, device="cuda"
            ).requires_grad_()
            for name, given in (("jet", x), ("jet of inputs", of_inputs)):
                channels = ops.jet_mlp(given, weights, biases, "tanh", DERIVATIVES)
                loss = sum(channel.square().mean() for channel in channels)
                gradients = torch.autograd.grad(loss, [given, *weights, *biases])
                check(f"{dtype} {name} {depth} x {width}", gradients)


def gram() -> None:
    """Residuals' Jacobian and Gram matrix: several panels, parts and blocks of points."""
    program = ops.record_residual(
        lambda jet, x, c, r: (jet[1, 0] * r[0] - c[0] * jet[2, 0], x[0] * jet[0, 0].sin())
    )
    for dtype in (torch.float32, torch.float64):
        for depth, width, points in ((3, 20, 5000), (1, 9, 70), (2, 30, 129)):
            sizes = [2, *[width] * depth, 1]
            weights = [
                torch.randn(o, i, dtype=dtype, device="cuda").div(i**0.5)
                for i, o in itertools.pairwise(sizes)
            ]
            biases = [torch.zeros(o, dtype=dtype, device="cuda") for o in sizes[1:]]
            x = torch.rand(points, 2, dtype=dtype, device="cuda")
            rest = program, x.new_ones(1), x.new_ones(1, points)
            network = x, weights, biases, "tanh", [(0,), (1, 1)]
            found = ops.jet_mlp_gram(*network, *rest)
            check(f"{dtype} gram {depth} x {width}", found)
            check(
                f"{dtype} jacobian {depth} x {width}",
                ops.jet_mlp_residual_jacobian(*network, *rest),
            )


def dense() -> None:
    """The dense layer's: on tensor cores and without, over whole and cut tiles, split sums."""
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        for rows, inputs, outputs in ((1, 1, 1), (130, 70, 33), (2048, 64, 40)):
            x, weight, bias = (
                torch.randn(size, dtype=dtype, device="cuda", requires_grad=True)
                for size in ((rows, inputs), (outputs, inputs), (outputs,))
            )
            y = ops.dense(x, weight, bias, "silu")
            gradients = torch.autograd.grad(y.float().square().mean(), [x, weight, bias])
            check(f"{dtype} dense {rows} x {inputs} x {outputs}", gradients)


if __name__ == "__main__":
    main()
