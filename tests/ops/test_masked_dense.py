"""ops.masked_dense against a dense layer whose absent weights are zero."""

from __future__ import annotations

import pytest
import torch

from pyneural import ops
from pyneural.ops import SparsityPattern
from pyneural.ops.activations import NAMES
from tests.ops import by_torch
from tests.ops.by_torch import second_derivatives
from tests.tolerances import FLOAT64, FLOAT64_GRADIENT, assert_as_good_as_torch, assert_close

# rows, inputs, outputs, share of edges: off every tile, few rows, several tiles, no edges, empty.
SHAPES = [
    (1, 1, 1, 1.0),
    (1, 40, 70, 0.3),
    (4, 33, 9, 0.6),
    (7, 5, 9, 0.4),
    (33, 40, 17, 0.1),
    (65, 3, 30, 0.5),
    (200, 64, 50, 0.9),
    (20, 6, 4, 0.0),
    (0, 6, 4, 0.5),
    (3, 0, 4, 0.5),
    (3, 4, 0, 0.5),
]


def arguments(rows, inputs, outputs, share, dtype=torch.float64):
    generator = torch.Generator().manual_seed(rows + inputs)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    mask = torch.rand(outputs, inputs, generator=generator) < share
    pattern = SparsityPattern.from_mask(mask)
    tensors = [normal(rows, inputs), normal(len(pattern.inputs)), normal(outputs)]
    return tensors, pattern, mask, normal(rows, outputs)


def by_dense(x, values, pattern, bias, activation):
    """A dense layer whose absent weights are zero."""
    edges = zip(pattern.starts[:-1].tolist(), pattern.starts[1:].tolist(), strict=True)
    rows = [o for o, (first, last) in enumerate(edges) for _ in range(first, last)]
    weight = values.new_zeros(len(pattern.starts) - 1, x.shape[-1])
    weight = weight.index_put((torch.tensor(rows, dtype=torch.long), pattern.inputs), values)
    return by_torch.dense(x, weight, bias, activation)


def value_and_gradients(function, tensors, pattern, grad_y, activation):
    leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    x, values, bias = leaves
    y = function(x, values, pattern, bias, activation)
    return [y, *torch.autograd.grad(y, leaves, grad_y, materialize_grads=True)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("activation", ["linear", "tanh", "silu"])
def test_against_a_dense_layer(shape, activation):
    tensors, pattern, mask, grad_y = arguments(*shape)
    x, values, bias = tensors
    weight = torch.zeros(mask.shape, dtype=torch.float64).masked_scatter(mask, values)
    dense = by_torch.dense(x, weight, bias, activation)
    case = tensors, pattern, grad_y, activation
    exact, found = (
        value_and_gradients(by_dense, *case),
        value_and_gradients(ops.masked_dense, *case),
    )
    assert_close(exact[0], dense, FLOAT64)
    for one, other, limit in zip(found, exact, (FLOAT64, *[FLOAT64_GRADIENT] * 3), strict=True):
        assert_close(one, other, limit)


@pytest.mark.parametrize("activation", NAMES)
def test_every_activation_in_float32(activation):
    tensors, pattern, _, grad_y = arguments(70, 30, 20, 0.3, torch.float32)
    wide = [tensor.double() for tensor in tensors]
    exact = value_and_gradients(by_dense, wide, pattern, grad_y.double(), activation)
    theirs = value_and_gradients(by_dense, tensors, pattern, grad_y, activation)
    found = value_and_gradients(ops.masked_dense, tensors, pattern, grad_y, activation)
    for triple in zip(found, theirs, exact, strict=True):
        assert_as_good_as_torch(*triple)


def test_without_bias_and_with_leading_dimensions():
    (x, values, _), pattern, _, _ = arguments(12, 5, 4, 0.5)
    found = ops.masked_dense(x.reshape(2, 6, 5), values, pattern, activation="tanh")
    exact = by_dense(x, values, pattern, None, "tanh").reshape(2, 6, 4)
    assert_close(found, exact, FLOAT64)
    leaf = values.clone().requires_grad_()
    ops.masked_dense(x, leaf, pattern).sum().backward()
    assert_close(leaf.grad, x.sum(0)[pattern.inputs], FLOAT64)


@pytest.mark.parametrize("activation", ["linear", "tanh", "gelu"])
def test_gradcheck(activation):
    (x, values, bias), pattern, _, _ = arguments(4, 3, 5, 0.6)
    leaves = [tensor.requires_grad_() for tensor in (x, values, bias)]

    def function(x, values, bias):
        return ops.masked_dense(x, values, pattern, bias, activation)

    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradgradcheck(function, leaves)


@pytest.mark.parametrize("activation", NAMES)
def test_second_derivatives(activation):
    tensors, pattern, _, _ = arguments(30, 7, 9, 0.4)
    for needed in ([True] * 3, [True, False, False], [False, True, False]):
        found, exact = (
            second_derivatives(
                lambda x, v, b, f=f: f(x, v, pattern, b, activation), tensors, needed
            )
            for f in (ops.masked_dense, by_dense)
        )
        for one, other in zip(found, exact, strict=True):
            assert_close(one, other, FLOAT64_GRADIENT)


@pytest.mark.parametrize("activation", ["tanh", "silu"])
def test_opcheck_and_compile(activation):
    (x, values, bias), pattern, _, grad_y = arguments(8, 6, 5, 0.6)
    edges = pattern.starts, pattern.inputs
    leaves = [tensor.clone().requires_grad_() for tensor in (x, values, bias)]
    torch.library.opcheck(
        torch.ops.pyneural.masked_dense.default, (*leaves[:2], *edges, leaves[2], activation)
    )

    def function(x, values, bias):
        return ops.masked_dense(x, values, pattern, bias, activation)

    y = torch.compile(function, fullgraph=True)(*leaves)
    found = [y, *torch.autograd.grad(y, leaves, grad_y)]
    exact = value_and_gradients(by_dense, (x, values, bias), pattern, grad_y, activation)
    for one, other in zip(found, exact, strict=True):
        assert_close(one, other, FLOAT64)


def test_torch_func():
    (x, values, bias), pattern, _, _ = arguments(4, 3, 2, 0.7)

    def function(t):
        return ops.masked_dense(t, values, pattern, bias, "tanh")

    jacobian = torch.func.vmap(torch.func.jacrev(function))(x)
    assert_close(torch.func.vmap(torch.func.jacfwd(function))(x), jacobian, FLOAT64)
    tangent = torch.ones_like(x)
    assert_close(torch.func.jvp(function, (x,), (tangent,))[1], jacobian.sum(-1), FLOAT64)


WRONG = {
    "half precision": (lambda a: a | {"x": a["x"].half()}, "x: expected float32 or float64, got"),
    "too few inputs": (
        lambda a: a | {"x": a["x"][:, :2]},
        "inputs: expected column indices of x, 0 to 1, got others; x must have as many columns",
    ),
    "too few values": (
        lambda a: a | {"values": a["values"][1:]},
        r"values: expected shape \[\d+\]",
    ),
    "a short bias": (lambda a: a | {"bias": a["bias"][1:]}, r"bias: expected shape \[5\], got"),
    "another dtype": (lambda a: a | {"bias": a["bias"].float()}, "bias: expected Double like x"),
    "an unknown activation": (lambda a: a | {"activation": "swish"}, "activation: expected one of"),
    "starts that fall": (
        lambda a: a | {"pattern": SparsityPattern(-a["pattern"].starts, a["pattern"].inputs)},
        "starts: expected indices that rise from 0 to",
    ),
    "indices of another dtype": (
        lambda a: a | {"pattern": SparsityPattern(a["pattern"].starts.int(), a["pattern"].inputs)},
        "starts: expected a contiguous 1-d int64 tensor on cpu, got Int",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(case):
    (x, values, bias), pattern, _, _ = arguments(4, 30, 5, 0.5)
    given = {
        "x": x,
        "values": values,
        "pattern": pattern,
        "bias": bias,
        "activation": "tanh",
    }
    change, text = WRONG[case]
    with pytest.raises(ValueError, match=f"masked_dense: {text}"):
        ops.masked_dense(**change(given))


def test_wrong_mask():
    with pytest.raises(ValueError, match=r"mask: expected \[outputs, inputs\] of torch.bool, got"):
        SparsityPattern.from_mask(torch.ones(2, 3))
