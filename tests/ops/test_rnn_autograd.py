"""ops.rnn under what differentiates, transforms or checks an op."""

from __future__ import annotations

import pytest
import torch

from tests.ops.derivatives import all_derivatives
from tests.ops.test_rnn import CELLS, arguments, by_op
from tests.tolerances import FLOAT64, FLOAT64_GRADIENT, assert_close


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_gradcheck(cell, reverse):
    tensors, lengths = arguments(cell, (3, 2, 2, 3))
    present = [t.requires_grad_() for t in tensors if t is not None]

    def call(*given):
        given = list(given)
        filled = [None if t is None else given.pop(0) for t in tensors]
        return by_op(*filled, lengths, cell, reverse)[: 3 if cell == "lstm" else 2]

    assert torch.autograd.gradcheck(call, present)
    assert torch.autograd.gradgradcheck(call, present)


@pytest.mark.parametrize("cell", CELLS)
def test_opcheck(cell):
    tensors, lengths = arguments(cell, (4, 3, 2, 5))
    for given in (tensors, [t if t is None else t.requires_grad_() for t in tensors]):
        torch.library.opcheck(torch.ops.pyneural.rnn, (*given, lengths, cell, True))


@pytest.mark.parametrize("cell", CELLS)
def test_opcheck_of_the_backward(cell):
    tensors, lengths = arguments(cell, (4, 3, 2, 5))
    forward = torch.ops.pyneural.rnn_with_saved
    torch.library.opcheck(forward, (*tensors, lengths, cell, False))
    y, h_n, c_n, saved = forward(*tensors, lengths, cell, False)
    grad_c_n = c_n if cell == "lstm" else None
    torch.library.opcheck(
        torch.ops.pyneural.rnn_backward,
        (y, h_n, grad_c_n, *tensors, lengths, y, saved, cell, False, [True] * 7),
    )


TORCH_LAYERS = {
    "tanh": torch.rnn_tanh,
    "relu": torch.rnn_relu,
    "lstm": torch.lstm,
    "gru": torch.gru,
}


def by_torch(x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, lengths, cell, reverse):
    """torch's own recurrent layers, for each sequence alone."""
    biases = [] if bias_ih is None else [bias_ih, bias_hh]
    weights = [weight_ih, weight_hh, *biases]
    ys, ends = [], []
    for n, length in enumerate(lengths):
        row = x[:length, n : n + 1]
        state = h0[None, n : n + 1], *([] if c0 is None else [c0[None, n : n + 1]])
        y, *end = TORCH_LAYERS[cell](
            row.flip(0) if reverse else row,
            state[0] if c0 is None else state,
            *(weights, bool(biases), 1, 0.0, False, False, False),
        )
        y = y.flip(0) if reverse else y
        ys.append(torch.cat([y, y.new_zeros(len(x) - length, 1, y.shape[2])]))
        ends.append([part[0] for part in end])
    return torch.cat(ys, 1), *(torch.cat(parts) for parts in zip(*ends, strict=True))


@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_higher_derivatives(cell, reverse, biases):
    tensors, lengths = arguments(cell, (4, 3, 2, 3), biases=biases)
    present = [tensor for tensor in tensors if tensor is not None]

    def with_all(function):
        def call(*given):
            remaining = iter(given)
            filled = [None if t is None else next(remaining) for t in tensors]
            return function(*filled, lengths, cell, reverse)[: 3 if cell == "lstm" else 2]

        return call

    found, exact = (all_derivatives(with_all(f), present, order=3) for f in (by_op, by_torch))
    for ours, theirs in zip(found, exact, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert_close(one, other, FLOAT64_GRADIENT)


@pytest.mark.parametrize("cell", CELLS)
def test_batched_gradients(cell):
    tensors, lengths = arguments(cell, (4, 3, 2, 5))
    leaves = [t.requires_grad_() for t in tensors if t is not None]
    y = by_op(*tensors, lengths, cell, False)[0]
    grads = torch.randn(3, *y.shape, dtype=torch.float64)
    batched = torch.autograd.grad(y, leaves, grads, is_grads_batched=True, retain_graph=True)
    for i, grad in enumerate(grads):
        single = torch.autograd.grad(y, leaves, grad, retain_graph=True)
        for one, other in zip(batched, single, strict=True):
            assert_close(one[i], other, FLOAT64_GRADIENT)


@pytest.mark.parametrize("cell", CELLS)
def test_compile_func_and_modes(cell):
    tensors, lengths = arguments(cell, (4, 3, 2, 5))
    expected = by_op(*tensors, lengths, cell, False)
    torch.compiler.reset()
    compiled = torch.compile(by_op, fullgraph=True, backend="aot_eager")
    with torch.inference_mode():
        inferred = by_op(*tensors, lengths, cell, False)
    for found in (compiled(*tensors, lengths, cell, False), inferred):
        for one, other in zip(found, expected, strict=True):
            assert_close(one, other, FLOAT64)

    def value(x):
        return by_op(x, *tensors[1:], lengths, cell, False)[0].square().sum()

    x = tensors[0].clone().requires_grad_()
    (grad,) = torch.autograd.grad(value(x), x)
    assert_close(torch.func.grad(value)(tensors[0]), grad, FLOAT64_GRADIENT)
    _, slope = torch.func.jvp(value, (tensors[0],), (torch.ones_like(x),))
    assert_close(slope, grad.sum(), FLOAT64_GRADIENT)


def test_autocast():
    tensors, _ = arguments("lstm", (4, 3, 2, 5), torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        y = by_op(*tensors, None, "lstm", False)[0]
    assert y.dtype == torch.bfloat16
