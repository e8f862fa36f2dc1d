"""ops.mse_loss and nn.MSELoss against torch's."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch.nn import functional as F

from pyneural import nn, ops
from tests.nn.called_ops import CalledOps
from tests.ops.by_torch import second_derivatives
from tests.tolerances import FLOAT64, assert_as_good_as_torch, assert_close

call = torch.ops.pyneural.mse_loss.default


def loss_and_gradients(function, prediction, target):
    leaves = [tensor.detach().requires_grad_() for tensor in (prediction, target)]
    loss = function(*leaves)
    return [loss, *torch.autograd.grad(loss * 3, leaves)]


@pytest.mark.parametrize("shape", [(), (1,), (7,), (4095,), (4097,), (3, 5), (100, 784)])
def test_against_torch(shape):
    a, y = torch.randn(2, *shape, dtype=torch.float64)
    exact = loss_and_gradients(F.mse_loss, a, y)
    for found, expected in zip(loss_and_gradients(call, a, y), exact, strict=True):
        assert found.shape == expected.shape
        assert_close(found, expected, FLOAT64)
    single = loss_and_gradients(call, a.float(), y.float())
    by_torch = loss_and_gradients(F.mse_loss, a.float(), y.float())
    exact = loss_and_gradients(F.mse_loss, a.float().double(), y.float().double())
    for found, torch_found, expected in zip(single, by_torch, exact, strict=True):
        assert found.dtype == torch.float32
        assert_as_good_as_torch(found, torch_found, expected)


def test_of_nothing_and_of_what_is_no_number():
    loss, *gradients = loss_and_gradients(call, torch.ones(0, 3), torch.ones(0, 3))
    assert loss.isnan()
    assert [gradient.shape for gradient in gradients] == [(0, 3)] * 2
    for value in (float("nan"), float("inf")):
        a = torch.zeros(5000)
        a[4999] = value
        assert_same(call(a, torch.zeros(5000)), F.mse_loss(a, torch.zeros(5000)))


def assert_same(a, b):
    assert torch.equal(a.nan_to_num(nan=-1), b.nan_to_num(nan=-1))


def test_not_contiguous():
    a, y = torch.randn(2, 60, 500, dtype=torch.float64)
    for one, other in ((a.t(), y.t()), (a[:, ::2], y[:, 1::2]), (a[:1].expand(9, -1), y[:9])):
        for found, expected in zip(
            loss_and_gradients(call, one, other),
            loss_and_gradients(F.mse_loss, one, other),
            strict=True,
        ):
            assert_close(found, expected, FLOAT64)


def test_same_bits_by_any_threads(threads):
    a, y = torch.randn(2, 100_003)
    found = []
    for count in (1, 2, 3):
        threads(count)
        found.append(loss_and_gradients(call, a, y))
    for other in found[1:]:
        assert all(torch.equal(*pair) for pair in zip(found[0], other, strict=True))


def test_long_sums_keep_their_digits():
    n = 1 << 24
    found = call(torch.full((n,), 0.1), torch.zeros(n))
    assert_close(found, torch.tensor(0.1).double().square(), 1e-6)


def test_gradients():
    a, y = (torch.randn(4, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(call, (a, y), check_batched_grad=True)
    assert torch.autograd.gradgradcheck(call, (a, y))
    for needed in ([True, True], [True, False], [False, True]):
        found, exact = (second_derivatives(f, (a, y), needed) for f in (call, F.mse_loss))
        for one, other in zip(found, exact, strict=True):
            assert_close(one, other, FLOAT64)
    (only,) = torch.autograd.grad(call(a, y.detach()), a)
    assert_close(only, (a - y).detach() / 10, FLOAT64)


def test_of_a_tensor_and_itself():
    a = torch.randn(50, requires_grad=True)
    (gradient,) = torch.autograd.grad(call(a, a), a)
    assert not gradient.any()


def test_what_changed_after_the_forward_is_refused():
    a = torch.randn(5, requires_grad=True)
    b = a * 1
    loss = call(b, torch.zeros(5))
    b.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_opcheck():
    a, y = torch.randn(2, 5, 3)
    torch.library.opcheck(call, (a.requires_grad_(), y))
    backward = torch.ops.pyneural.mse_loss_backward.default
    torch.library.opcheck(backward, (torch.tensor(2.0), a.detach(), y))


def test_compile_func_and_forward_mode():
    a, y = torch.randn(2, 30, dtype=torch.float64)
    compiled = torch.compile(ops.mse_loss, backend="aot_eager", fullgraph=True)
    assert_close(compiled(a, y), F.mse_loss(a, y), FLOAT64)
    found = torch.func.vmap(torch.func.grad(ops.mse_loss))(a.view(3, 10), y.view(3, 10))
    assert_close(found, (a - y).view(3, 10) / 5, FLOAT64)
    _, tangent = torch.func.jvp(lambda a: ops.mse_loss(a, y), (a,), (torch.ones_like(a),))
    assert_close(tangent, 2 * (a - y).mean(), FLOAT64)


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize(
    ("a", "y"),
    [
        (torch.randn(4).bfloat16(), torch.randn(4).bfloat16()),
        (torch.randn(4), torch.randn(4).double()),
        (torch.randn(3, 4), torch.randn(())),
        (torch.randn(3, device="meta"), torch.randn(3, device="meta")),
        (torch.randn(3, 4).t(), torch.randn(3, 4).t()),
    ],
)
def test_others_are_torchs(a, y):
    with CalledOps() as called:
        found = ops.mse_loss(a, y)
    assert "pyneural.mse_loss.default" not in called.names
    assert (found.dtype, found.shape) == (F.mse_loss(a, y).dtype, ())


@pytest.mark.parametrize(
    ("a", "y", "message"),
    [
        (torch.ones(3).half(), torch.ones(3).half(), "prediction: expected float32 .* got Half"),
        (torch.ones(3), torch.ones(2), r"target: expected shape \[3\], got \[2\]"),
        (
            torch.ones(3),
            torch.ones(3).double(),
            "target: expected Float like prediction",
        ),
    ],
)
def test_bad_input(a, y, message):
    with pytest.raises(ValueError, match=f"mse_loss: {message}"):
        call(a, y)


def test_bad_gradient():
    with pytest.raises(ValueError, match="grad_loss: expected Float like prediction, got Double"):
        torch.ops.pyneural.mse_loss_backward(torch.ones(()).double(), torch.ones(3), torch.ones(3))


def test_a_subclass_of_tensors_sees_torchs_function():
    seen = []

    class Logged(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            seen.append(func)
            return super().__torch_function__(func, types, args, kwargs or {})

    ops.mse_loss(torch.ones(3).as_subclass(Logged), torch.zeros(3))
    assert F.mse_loss in seen


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_layer_is_torchs(reduction):
    a, y = torch.randn(2, 8, 3, dtype=torch.float64)
    layer, theirs = nn.MSELoss(reduction=reduction), torch.nn.MSELoss(reduction=reduction)
    assert isinstance(layer, torch.nn.MSELoss)
    assert repr(layer) == repr(theirs)
    for loss in (layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        with CalledOps() as called:
            found = loss(a, y)
        assert_close(found, theirs(a, y), FLOAT64)
        assert ("pyneural.mse_loss.default" in called.names) == (reduction == "mean")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_layer_under_autocast(dtype):
    a, y = torch.randn(2, 8, dtype=dtype)
    with torch.autocast("cpu"), CalledOps() as called:
        found = nn.MSELoss()(a, y)
    assert "pyneural.mse_loss.default" in called.names
    assert_as_good_as_torch(found, F.mse_loss(a, y), F.mse_loss(a.double(), y.double()))
