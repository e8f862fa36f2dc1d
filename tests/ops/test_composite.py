"""What runs on devices without a kernel of ours: the same ops by torch's functions, on the CPU."""

from __future__ import annotations

import pytest
import torch

from pyneural.ops import SparsityPattern
from pyneural.ops.activations import VALUES
from pyneural.ops.rnn import GATES
from tests.ops.networks import Network
from tests.ops.test_attention import arguments as attention_arguments
from tests.ops.test_rnn import arguments as rnn_arguments
from tests.tolerances import FLOAT64_GRADIENT, assert_close

COMPOSITE = torch._C.DispatchKey.CompositeExplicitAutograd
OPS = torch.ops.pyneural


def assert_same(op, *arguments):
    """The composite and the CPU kernel agree; gives what the kernel gave."""
    kernel, composite = op.default(*arguments), op.default._op_dk(COMPOSITE, *arguments)
    tensors = (kernel, composite) if isinstance(kernel, tuple | list) else ((kernel,), (composite,))
    for found, exact in zip(*tensors, strict=True):
        assert_close(found, exact, FLOAT64_GRADIENT)
    return kernel


@pytest.mark.parametrize("activation", VALUES)
def test_dense_and_masked_dense(activation):
    network = Network.random((7, 5), 11)
    x, (weight,), (bias,) = network.parts
    grad_y = torch.randn(11, 5, dtype=torch.float64)
    y = assert_same(OPS.dense, x, weight, bias, activation)
    y, z = assert_same(OPS.dense_with_preactivation, x, weight, bias, activation)
    mask = [True, True, True]
    assert_same(OPS.dense_backward, grad_y, x, weight, z if len(z) else y, activation, mask)

    pattern = SparsityPattern.from_mask(weight > 0)
    edges = weight[weight > 0], pattern.starts, pattern.inputs
    y, z = assert_same(OPS.masked_dense, x, *edges, bias, activation)
    saved = z if len(z) else y
    assert_same(OPS.masked_dense_backward, grad_y, x, *edges, saved, activation, True)


@pytest.mark.parametrize("activation", VALUES)
def test_mlp(activation):
    network = Network.random((3, 9, 4, 2), 11)
    options = activation, activation
    y = assert_same(OPS.mlp, *network.parts, *options)
    grad_y = torch.randn_like(y)
    assert_same(OPS.mlp_backward, grad_y, *network.parts, *options, [True, True])


@pytest.mark.parametrize("with_lengths", [False, True])
@pytest.mark.parametrize("cell", GATES)
def test_rnn(cell, with_lengths):
    tensors, lengths = rnn_arguments(cell, (7, 4, 3, 5))
    given = *tensors, lengths if with_lengths else None
    assert_same(OPS.rnn, *given, cell, True)
    y, h_n, c_n, saved = OPS.rnn_with_saved(*given, cell, True)
    by_composite = OPS.rnn_with_saved.default._op_dk(COMPOSITE, *given, cell, True)[3]
    assert by_composite.shape == saved.shape
    grads = y + 1, h_n + 1, c_n + 1 if cell == "lstm" else None
    assert_same(OPS.rnn_backward, *grads, *given, y, saved, cell, True, [True] * 7)


@pytest.mark.parametrize("how", ["mask", "causal", "dropout"])
def test_attention(how):
    (q, k, v), grad_out = attention_arguments((2, 4, 2, 5, 7, 3, 6))
    mask = torch.rand(2, 1, 5, 7) > 0.5 if how == "mask" else None
    seed, dropout = (torch.tensor([3]), 0.4) if how == "dropout" else (None, 0.0)
    options = mask, seed, how == "causal", dropout, None
    assert_same(OPS.attention, q, k, v, *options)
    out, lse = assert_same(OPS.attention_with_lse, q, k, v, *options)
    given = grad_out, q, k, v, *options[:2], out, lse, *options[2:]
    assert_same(OPS.attention_backward, *given, [True, True, True])
