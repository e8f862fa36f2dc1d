"""The kernels of devices that have none of ours, run on the CPU beside the kernels of the CPU."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from pyneural.ops import SparsityPattern
from pyneural.ops.activations import NAMES
from pyneural.ops.rnn import GATES
from tests.ops.continuous_flows import ContinuousFlow
from tests.ops.diffusion_samplers import DiffusionSampler
from tests.ops.flow_layers import FlowLayer
from tests.ops.networks import Network
from tests.ops.test_attention import arguments as attention_arguments
from tests.ops.test_kalman import arguments as kalman_arguments
from tests.ops.test_rnn import arguments as rnn_arguments
from tests.ops.test_spline import arguments as spline_arguments
from tests.tolerances import FLOAT64_GRADIENT, assert_close

COMPOSITE = torch._C.DispatchKey.CompositeExplicitAutograd
OPS = torch.ops.pyneural


def other_device(op, *arguments):
    """The op's kernel for other devices, called as the dispatcher calls it: below autograd."""
    with torch._C._AutoDispatchBelowAutograd():
        return op.default._op_dk(COMPOSITE, *arguments)


def assert_same(op, *arguments):
    """That kernel and the one of the CPU agree; gives what the latter gave."""
    kernel, other = op.default(*arguments), other_device(op, *arguments)
    tensors = (kernel, other) if isinstance(kernel, tuple | list) else ((kernel,), (other,))
    for exact, found in zip(*tensors, strict=True):
        assert not found.requires_grad
        assert torch.equal(found.isinf(), exact.isinf())  # lse of a row without a key
        found, exact = (t.detach().masked_fill(t.isinf(), 0) for t in (found, exact))
        assert_close(found, exact, FLOAT64_GRADIENT)
    return kernel


@pytest.mark.parametrize("activation", NAMES)
def test_dense_and_masked_dense(activation):
    network = Network.random((7, 5), 11)
    x, (weight,), (bias,) = network.parts
    grad_y = torch.randn(11, 5, dtype=torch.float64)
    mask = [True, True, True]
    for b in (bias, None):
        y = assert_same(OPS.dense, x, weight, b, activation)
        y, z = assert_same(OPS.dense_with_preactivation, x, weight, b, activation)
        saved = z if len(z) else y
        assert_same(OPS.dense_backward, grad_y, x, weight, b, saved, activation, mask)
    assert_same(OPS.dense_backward, grad_y, x, weight, b, saved, activation, [False, True, False])
    batch = x.view(1, 11, 7), weight, None, saved.view(1, 11, 5)
    assert_same(OPS.dense_backward, grad_y[None], *batch, activation, mask)

    pattern = SparsityPattern.from_mask(weight > 0)
    edges = weight[weight > 0], pattern.starts, pattern.inputs
    y, z = assert_same(OPS.masked_dense, x, *edges, bias, activation)
    saved = z if len(z) else y
    for with_x in (True, False):
        given = x, *edges, bias, saved, activation, with_x
        assert_same(OPS.masked_dense_backward, grad_y, *given)


@pytest.mark.parametrize("activation", NAMES)
def test_mlp(activation):
    network = Network.random((3, 9, 4, 2), 11)
    options = activation, "tanh"
    y = assert_same(OPS.mlp, *network.parts, *options)
    grad_y = torch.randn_like(y)
    for mask in ([True, True], [True, False], [False, True]):
        assert_same(OPS.mlp_backward, grad_y, *network.parts, *options, mask)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("transform", ["affine", "spline"])
@pytest.mark.parametrize("context", [0, 2])
def test_autoregressive(context, transform, inverse):
    layer = FlowLayer.random(4, context, (9, 7), 11, [2, 0, 3, 1], transform=transform)
    tensors = layer.x, layer.context, layer.weights, layer.biases, layer.all_degrees
    options = "silu", transform, 4.0, 1e-2, inverse
    y, ladj = assert_same(OPS.autoregressive, *tensors, *options)
    grads = torch.randn_like(y), torch.randn_like(ladj)
    saved = OPS.autoregressive_with_saved(*tensors, *options)[2]
    for mask in ([True, context > 0, True], [True, False, False], [False, False, True]):
        assert_same(OPS.autoregressive_backward, *grads, *tensors, saved, *options, mask)


@pytest.mark.parametrize("with_ladj", [False, True])
@pytest.mark.parametrize("hidden", [(9, 7), (9,)])
@pytest.mark.parametrize("context", [0, 2])
def test_continuous_flow(context, hidden, with_ladj):
    flow = ContinuousFlow.random(4, context, 3, hidden, 11)
    options = 0.0, 1.0, 1e-5, 1e-6, 3, 1000, with_ladj
    results = assert_same(OPS.continuous_flow, *flow.arguments(), *options)
    grads = [torch.randn_like(t) for t in results]
    for mask in ([True, context > 0, True], [True, False, False], [False, False, True]):
        assert_same(OPS.continuous_flow_backward, *grads, *flow.arguments(), *options, mask)


@pytest.mark.parametrize("condition", [0, 2])
def test_diffusion_sampler(condition):
    sampler = DiffusionSampler.random(
        4, condition, (9, 7), 11, memory=2, noise=0.3, guidance=0.5 if condition else 0.0
    )
    assert_same(OPS.diffusion_sampler, *sampler.arguments())


def test_mse_loss_and_dropout():
    a, y = torch.randn(2, 5, 3, dtype=torch.float64)
    assert_same(OPS.mse_loss, a, y)
    assert_same(OPS.mse_loss_backward, torch.tensor(0.7, dtype=torch.float64), a, y)
    for p in (0.0, 0.4, 1.0):
        assert_same(OPS.dropout, a, torch.tensor([5]), p)


@pytest.mark.parametrize(
    ("op", "rates"),
    [
        (OPS.adadelta_, (0.7, 0.8, 1e-3, 0.1)),
        (OPS.adam_, (0.7, 0.8, 0.9, 1e-3, 0.1, False)),
        (OPS.adam_, (0.7, 0.8, 0.9, 1e-3, 0.1, True)),
    ],
    ids=["adadelta", "adam", "adamw"],
)
def test_optimizers(op, rates):
    given = [[torch.rand(4, 3, dtype=torch.float64)] for _ in range(4)]
    steps = [torch.zeros(())]
    copies = [[tensor.clone() for tensor in tensors] for tensors in (*given, steps)]
    op(*given, steps, *rates)
    other_device(op, *copies, *rates)
    for (exact,), (found,) in zip((*given, steps), copies, strict=True):
        assert_close(found, exact, FLOAT64_GRADIENT)


def test_errors_are_those_of_the_kernels():
    x, weight = torch.ones(2, 3), torch.ones(4, 3)
    wrong = [
        (OPS.dense, (x, weight, torch.ones(3), "tanh"), r"dense: bias: expected shape \[4\], got"),
        (OPS.dense, (x, weight, None, "swish"), "dense: activation: expected one of tanh, sin, "),
        (OPS.dense, (x, weight.double(), None, "tanh"), "dense: weight: expected Float like x"),
        (OPS.mlp, (x, [weight], [], "tanh", "tanh"), "mlp: biases: expected 1 as there are"),
        (OPS.mse_loss, (x, weight), r"mse_loss: target: expected shape \[2, 3\], got \[4, 3\]"),
        (OPS.dropout, (x, torch.tensor([1]), 2.0), "dropout: p: expected 0 to 1, got 2"),
    ]
    for op, arguments, text in wrong:
        for call in (op, partial(other_device, op)):
            with pytest.raises(ValueError, match=text):
                call(*arguments)


@pytest.mark.parametrize("with_lengths", [False, True])
@pytest.mark.parametrize("cell", GATES)
def test_rnn(cell, with_lengths):
    tensors, lengths = rnn_arguments(cell, (7, 4, 3, 5))
    given = *tensors, lengths if with_lengths else None
    assert_same(OPS.rnn, *given, cell, True)
    y, h_n, c_n, saved = OPS.rnn_with_saved(*given, cell, True)
    assert_same(OPS.rnn_with_saved, *given, cell, True)
    grads = y + 1, h_n + 1, c_n + 1 if cell == "lstm" else None
    backward = OPS.rnn_backward.default
    given = *grads, *given, y, saved, cell, True, [True] * 7
    for exact, found in zip(backward(*given), backward._op_dk(COMPOSITE, *given), strict=True):
        assert_close(found, exact, FLOAT64_GRADIENT)


@pytest.mark.parametrize("how", ["mask", "causal", "dropout"])
def test_attention(how):
    (q, k, v), grad_out = attention_arguments((2, 4, 2, 5, 7, 3, 6))
    mask = None
    if how == "mask":
        mask = torch.rand(2, 1, 5, 7, generator=torch.Generator().manual_seed(1)) > 0.5
        mask[0, 0, 2] = False
    seed, dropout = (torch.tensor([3]), 0.4) if how == "dropout" else (None, 0.0)
    options = mask, seed, how == "causal", dropout, None
    assert_same(OPS.attention, q, k, v, *options)
    out, lse = assert_same(OPS.attention_with_lse, q, k, v, *options)
    given = grad_out, q, k, v, *options[:2], out, lse, *options[2:]
    assert_same(OPS.attention_backward, *given, [True, True, True])


@pytest.mark.parametrize("inside", [False, True])
def test_attention_has_the_layout_of_the_queries(inside):
    (q, k, v), grad_out = attention_arguments((2, 4, 2, 5, 7, 3, 6))
    if inside:  # [N, L, H, E] in memory
        q, k, v = (t.transpose(1, 2).contiguous().transpose(1, 2) for t in (q, k, v))
    options = None, None, False, 0.0, None
    out, lse = other_device(OPS.attention_with_lse, q, k, v, *options)
    given = grad_out, q, k, v, *options[:2], out, lse, *options[2:]
    grads = other_device(OPS.attention_backward, *given, [True] * 3)
    for found, like in ((out, q), *zip(grads, (q, k, v), strict=True)):
        assert found.transpose(1, 2).is_contiguous() == inside
        assert found.is_contiguous() != inside
        assert found.shape[:3] == like.shape[:3]


@pytest.mark.parametrize("varies", [False, True])
@pytest.mark.parametrize("offset", [False, True])
def test_kalman(offset, varies):
    given = kalman_arguments(varies=varies, offset=offset)
    filtered = assert_same(OPS.kalman_filter, *given)
    grads = [torch.randn_like(tensor) for tensor in filtered]
    assert_same(OPS.kalman_filter_backward, grads, *given, *filtered[1:])
    smoother = given[2], given[4], *filtered[1:]
    smoothed = assert_same(OPS.kalman_smoother, *smoother)
    more = [torch.randn_like(tensor) for tensor in smoothed]
    assert_same(OPS.kalman_smoother_backward, more, *smoother, *smoothed[:2])


@pytest.mark.parametrize("inverse", [False, True])
def test_spline(inverse):
    given = *spline_arguments((11, 2), 6), 3.0, 1e-3, inverse
    y, ladj = assert_same(OPS.rational_quadratic_spline, *given)
    assert_same(OPS.rational_quadratic_spline_backward, y, ladj, *given)
