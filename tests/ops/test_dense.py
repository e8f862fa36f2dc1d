"""ops.dense against plain torch, and under everything that transforms or checks an op."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pyneural import ops
from pyneural.ops.activations import NAMES as ACTIVATIONS
from tests.ops import by_torch
from tests.ops.by_torch import second_derivatives
from tests.tolerances import (
    FLOAT64,
    FLOAT64_GRADIENT,
    assert_as_good_as_torch,
    assert_close,
)

# Off every tile boundary; one row; few rows; several blocks and segments of rows; empty.
SHAPES = [
    (1, 1, 1),
    (1, 37, 5),
    (7, 3, 70),
    (12, 33, 65),
    (13, 64, 64),
    (130, 100, 33),
    (1100, 20, 1),
    (3000, 2, 130),
    (600, 300, 20),
    (9000, 300, 1),
    (0, 4, 3),
    (3, 0, 4),
    (3, 4, 0),
]


def arguments(rows, inputs, outputs, dtype=torch.float64, device="cpu", seed=0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(device, dtype)

    weight = normal(outputs, inputs) * max(inputs, 1) ** -0.5
    return [normal(rows, inputs), weight, normal(outputs)], normal(rows, outputs)


def value_and_gradients(function, tensors, grad_y, activation):
    leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    y = function(*leaves, activation)
    return [y, *torch.autograd.grad(y, leaves, grad_y, materialize_grads=True)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("activation", ["linear", "tanh", "gelu"])
@pytest.mark.parametrize("used", [1, 3])
def test_against_torch(device, threads, shape, activation, used):
    threads(used)
    tensors, grad_y = arguments(*shape, device=device)
    exact = value_and_gradients(by_torch.dense, tensors, grad_y, activation)
    found = value_and_gradients(ops.dense, tensors, grad_y, activation)
    for one, other, limit in zip(found, exact, (FLOAT64, *[FLOAT64_GRADIENT] * 3), strict=True):
        assert_close(one, other, limit)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(device, activation):
    tensors, grad_y = arguments(50, 9, 20, device=device)
    exact = value_and_gradients(by_torch.dense, tensors, grad_y, activation)
    found = value_and_gradients(ops.dense, tensors, grad_y, activation)
    for one, other in zip(found, exact, strict=True):
        assert_close(one, other, FLOAT64_GRADIENT)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("shape", [(5, 70, 33), (300, 64, 40)], ids=str)
@pytest.mark.parametrize("activation", ["linear", "relu", "tanh", "silu"])
def test_low_precision_is_as_good_as_torch(device, dtype, shape, activation):
    tensors, grad_y = arguments(*shape, dtype, device)
    wide = [tensor.double() for tensor in tensors]
    exact = value_and_gradients(by_torch.dense, wide, grad_y.double(), activation)
    theirs = value_and_gradients(by_torch.dense, tensors, grad_y, activation)
    found = value_and_gradients(ops.dense, tensors, grad_y, activation)
    for one, other, right in zip(found, theirs, exact, strict=True):
        assert one.dtype == dtype
        assert_as_good_as_torch(one, other, right)


@pytest.mark.parametrize("shape", [(60_000, 64, 1), (60_000, 64, 10), (200_000, 16, 64)], ids=str)
def test_sums_of_one_sign_keep_their_digits(device, threads, shape):
    """Terms of one sign: a sum that adds them one by one rounds ever more coarsely."""
    threads(1)
    rows, inputs, outputs = shape
    x = torch.full((rows, inputs), 0.1, device=device)
    grad_y = torch.full((rows, outputs), 1 / rows, device=device)
    weight = torch.randn(outputs, inputs, device=device)
    tensors = [x, weight, torch.zeros(outputs, device=device)]
    found = value_and_gradients(ops.dense, tensors, grad_y, "linear")
    of_weight = rows * x[0, 0].double() * grad_y[0, 0].double()
    for gradient, exact in zip(found[2:], (of_weight, 1), strict=True):
        assert (gradient / exact - 1).abs().max() < 2e-5


def test_leading_dimensions_and_no_bias(device):
    (x, weight, _), _ = arguments(12, 5, 4, device=device)
    for shape in ((5,), (3, 4, 5), (2, 0, 5)):
        part = x.flatten()[: torch.Size(shape).numel()].reshape(shape)
        found = ops.dense(part, weight, activation="tanh")
        assert found.shape == (*shape[:-1], 4)
        assert_close(found, by_torch.dense(part, weight, None, "tanh"), FLOAT64)


def test_not_contiguous(device):
    (x, weight, bias), grad_y = arguments(9, 6, 8, device=device)
    ways = [x.T.contiguous().T, weight.T.contiguous().T, bias.repeat_interleave(2)[::2]]
    assert not any(tensor.is_contiguous() for tensor in ways)
    strided_grad = grad_y.T.contiguous().T
    exact = value_and_gradients(ops.dense, [x, weight, bias], grad_y, "sin")
    leaves = [tensor.requires_grad_() for tensor in ways]
    y = ops.dense(*leaves, "sin")
    for one, other in zip([y, *torch.autograd.grad(y, leaves, strided_grad)], exact, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("needed", range(3))
def test_only_the_gradient_asked_for(device, needed):
    tensors, grad_y = arguments(20, 6, 8, device=device)
    every = value_and_gradients(ops.dense, tensors, grad_y, "silu")
    tensors[needed].requires_grad_()
    y = ops.dense(*tensors, "silu")
    assert torch.equal(torch.autograd.grad(y, tensors[needed], grad_y)[0], every[1 + needed])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradcheck(device, activation):
    tensors, _ = arguments(4, 3, 5, device=device, seed=1)
    leaves = [tensor.requires_grad_() for tensor in tensors]
    function = lambda *t: ops.dense(*t, activation)  # noqa: E731
    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradgradcheck(function, leaves)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_second_derivatives(device, activation):
    tensors, _ = arguments(30, 7, 9, device=device)
    for needed in ([True] * 3, [True, False, False], [False, True, True], [False, False, True]):
        found, exact = (
            second_derivatives(lambda *t, f=f: f(*t, activation), tensors, needed)
            for f in (ops.dense, by_torch.dense)
        )
        for one, other in zip(found, exact, strict=True):
            assert_close(one, other, FLOAT64_GRADIENT)
    found, exact = (
        second_derivatives(lambda x, w, f=f: f(x, w, None, activation), tensors[:2])
        for f in (ops.dense, by_torch.dense)
    )
    for one, other in zip(found, exact, strict=True):
        assert_close(one, other, FLOAT64_GRADIENT)


@pytest.mark.parametrize("activation", ["linear", "tanh", "gelu_tanh"])
def test_third_derivative(device, activation):
    (x, weight, bias), _ = arguments(1, 1, 1, device=device)

    def third(function):
        t = x.clone().requires_grad_()
        y = function(t, weight, bias, activation) * t**3
        for _ in range(3):
            (y,) = torch.autograd.grad(y.sum(), t, create_graph=True)
        return y

    assert_close(third(ops.dense), third(by_torch.dense), FLOAT64_GRADIENT)


@pytest.mark.parametrize("create_graph", [False, True])
def test_batched_gradients(device, create_graph):
    (x, weight, bias), _ = arguments(6, 3, 4, device=device)
    x.requires_grad_()
    y = ops.dense(x, weight, bias, "gelu")
    directions = torch.randn(5, *y.shape, dtype=torch.float64, device=device)
    options = {"retain_graph": True, "create_graph": create_graph}
    (found,) = torch.autograd.grad(y, x, directions, is_grads_batched=True, **options)
    exact = torch.stack([torch.autograd.grad(y, x, d, retain_graph=True)[0] for d in directions])
    assert found.requires_grad == create_graph
    assert_close(found, exact, FLOAT64)


@pytest.mark.parametrize("activation", ["tanh", "silu", "linear"])
def test_opcheck(device, activation):
    (x, weight, bias), grad_y = arguments(4, 3, 5, device=device)
    leaves = [tensor.clone().requires_grad_() for tensor in (x, weight, bias)]
    torch.library.opcheck(torch.ops.pyneural.dense.default, (*leaves, activation))
    torch.library.opcheck(
        torch.ops.pyneural.dense_with_preactivation.default, (x, weight, bias, activation)
    )
    saved = by_torch.dense(x, weight, bias, "linear" if activation == "silu" else activation)
    torch.library.opcheck(
        torch.ops.pyneural.dense_backward.default,
        (grad_y, x, weight, bias, saved, activation, [True, False, True]),
    )
    needing = [tensor.requires_grad_() for tensor in (grad_y, x, weight, bias)]
    torch.library.opcheck(
        torch.ops.pyneural.dense_backward.default,
        (*needing, saved, activation, [True, True, True]),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )


@pytest.mark.parametrize("activation", ["tanh", "gelu"])
def test_compile(device, activation):
    tensors, grad_y = arguments(30, 6, 8, device=device)
    compiled = torch.compile(ops.dense, fullgraph=True)
    exact = value_and_gradients(ops.dense, tensors, grad_y, activation)
    for one, other in zip(
        value_and_gradients(compiled, tensors, grad_y, activation), exact, strict=True
    ):
        assert_close(one, other, FLOAT64)


def test_torch_func(device):
    (x, weight, bias), _ = arguments(6, 3, 2, device=device)
    single = lambda t: ops.dense(t, weight, bias, "tanh")  # noqa: E731
    exact = torch.autograd.functional.jacobian(lambda t: single(t).sum(0), x).movedim(0, 1)
    assert_close(torch.func.vmap(torch.func.jacrev(single))(x), exact, FLOAT64)
    assert_close(torch.func.vmap(torch.func.jacfwd(single))(x), exact, FLOAT64)
    tangent = torch.ones_like(x)
    assert_close(torch.func.jvp(single, (x,), (tangent,))[1], exact.sum(-1), FLOAT64)
    value = torch.func.grad(lambda w: ops.dense(x, w, bias, "tanh").sum())(weight)
    leaf = weight.clone().requires_grad_()
    ops.dense(x, leaf, bias, "tanh").sum().backward()
    assert_close(value, leaf.grad, FLOAT64)


def test_autocast(device):
    (x, weight, bias), _ = arguments(20, 6, 8, torch.float32, device)
    with torch.autocast(device, dtype=torch.bfloat16):
        found = ops.dense(x, weight, bias, "relu")
        theirs = by_torch.dense(x, weight, bias, "relu")
    assert found.dtype == theirs.dtype == torch.bfloat16
    assert_as_good_as_torch(found, theirs, by_torch.dense(x, weight, bias, "relu"))


def test_same_bits_on_every_run_and_any_threads(threads):
    tensors, grad_y = arguments(2000, 40, 200, torch.float32)
    runs = []
    for count in (1, 2, 2):
        threads(count)
        runs.append(value_and_gradients(ops.dense, tensors, grad_y, "tanh"))
    assert all(torch.equal(a, b) for a, b in zip(runs[1], runs[2], strict=True))
    for a, b in zip(runs[0][:3], runs[1][:3], strict=True):
        assert torch.equal(a, b)


def test_inference_mode(device):
    (x, weight, bias), _ = arguments(5, 6, 8, device=device)
    with torch.inference_mode():
        found = ops.dense(x, weight, bias, "elu")
    assert_close(found, by_torch.dense(x, weight, bias, "elu"), FLOAT64)


WRONG = {
    "whole numbers": (
        lambda x, w, b: (x.int(), w, b, "tanh"),
        "dense: x: expected float32, float64, bfloat16 or float16, got Int; convert it with",
    ),
    "other inputs": (
        lambda x, w, b: (x[:, :2], w, b, "tanh"),
        r"dense: x: expected \[..., 3\] for a weight \[5, 3\], got \[4, 2\]; the last dimension",
    ),
    "no dimension": (
        lambda x, w, b: (x[0, 0], w, b, "tanh"),
        r"dense: x: expected \[..., 3\] for a weight \[5, 3\], got \[\]",
    ),
    "a vector of weights": (
        lambda x, w, b: (x, w[0], b, "tanh"),
        r"dense: weight: expected shape \[outputs, inputs\], got \[3\]; give it as torch",
    ),
    "a short bias": (
        lambda x, w, b: (x, w, b[:2], "tanh"),
        r"dense: bias: expected shape \[5\], got \[2\]; it must fit x, \[4, 3\], and the weight",
    ),
    "another dtype": (
        lambda x, w, b: (x, w.double(), b, "tanh"),
        r"dense: weight: expected Float like x, got Double; convert .* with \.to\(dtype\)",
    ),
    "another activation": (
        lambda x, w, b: (x, w, b, "swish"),
        'dense: activation: expected one of tanh, sin, .* or elu, got "swish"; choose one',
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(device, case):
    (x, weight, bias), _ = arguments(4, 3, 5, torch.float32, device)
    change, text = WRONG[case]
    with pytest.raises(ValueError, match=text):
        ops.dense(*change(x, weight, bias))


def test_wrong_gradient(device):
    (x, weight, bias), grad_y = arguments(4, 3, 5, device=device)
    y: Tensor = by_torch.dense(x, weight, bias, "tanh")
    options = "tanh", [True, True, True]
    with pytest.raises(ValueError, match=r"dense_backward: grad_y: expected shape \[4, 5\], got"):
        torch.ops.pyneural.dense_backward(grad_y[:3], x, weight, bias, y, *options)
    with pytest.raises(ValueError, match=r"dense_backward: saved: expected shape \[4, 5\], got"):
        torch.ops.pyneural.dense_backward(grad_y, x, weight, bias, y[:, :4], *options)
