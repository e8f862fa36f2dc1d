"""ops.rnn against the same in plain torch."""

from __future__ import annotations

import pytest
import torch

from pyneural import ops
from pyneural.ops import reference
from pyneural.ops.rnn import GATES
from tests.tolerances import FLOAT64, FLOAT64_GRADIENT, assert_as_good_as_torch, assert_close

CELLS = tuple(GATES)
# steps, rows, inputs, hidden: all ones, off every tile, one row, several unit blocks, several
# blocks of steps, several ranks of a thread group, no rows, no inputs.
SHAPES = [
    (1, 1, 1, 1),
    (7, 5, 3, 9),
    (300, 1, 5, 20),
    (9, 13, 70, 130),
    (40, 33, 4, 33),
    (3, 7, 66, 300),
    (4, 0, 3, 5),
    (4, 3, 0, 5),
]


def arguments(cell, shape, dtype=torch.float64, biases=True, seed=0):
    """(x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh), and lengths in any order."""
    steps, rows, inputs, hidden = shape
    generator = torch.Generator().manual_seed(seed)

    def normal(*size, scale=1.0):
        return (scale * torch.randn(*size, generator=generator, dtype=torch.float64)).to(dtype)

    gates, scale = GATES[cell] * hidden, hidden**-0.5
    lengths = torch.randint(1, steps + 1, (rows,), generator=generator)
    tensors = [
        normal(steps, rows, inputs),
        normal(rows, hidden),
        normal(rows, hidden) if cell == "lstm" else None,
        normal(gates, inputs, scale=scale),
        normal(gates, hidden, scale=scale),
        normal(gates) if biases else None,
        normal(gates) if biases else None,
    ]
    return tensors, lengths


def by_op(x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, lengths, cell, reverse):
    state = (h0, c0) if cell == "lstm" else h0
    weights = weight_ih, weight_hh, bias_ih, bias_hh
    y, end = ops.rnn(x, state, weights, cell, lengths, reverse)
    return y, *(end if cell == "lstm" else (end, x.new_zeros(0)))


def values_and_gradients(function, tensors, *rest):
    leaves = [t if t is None else t.detach().clone().requires_grad_() for t in tensors]
    outputs = function(*leaves, *rest)
    factors = [torch.linspace(0.5, 1.5, out.numel(), dtype=torch.float64) for out in outputs]
    scalar = sum(
        (f.to(out).view_as(out) * out).sum() for f, out in zip(factors, outputs, strict=True)
    )
    wanted = [leaf for leaf in leaves if leaf is not None]
    return [*outputs, *torch.autograd.grad(scalar, wanted)]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("with_lengths", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_against_plain_torch(cell, shape, with_lengths, reverse):
    tensors, lengths = arguments(cell, shape)
    case = tensors, lengths if with_lengths else None, cell, reverse
    exact = values_and_gradients(reference.rnn, *case)
    found = values_and_gradients(by_op, *case)
    for index, (one, other) in enumerate(zip(found, exact, strict=True)):
        assert_close(one, other, FLOAT64 if index < 3 else FLOAT64_GRADIENT)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("shape", [(30, 20, 16, 40), (50, 1, 16, 32), (4, 6, 40, 260)], ids=str)
def test_float32(cell, shape):
    tensors, _ = arguments(cell, shape, torch.float32)
    wide = [t if t is None else t.double() for t in tensors]
    rest = None, cell, False
    results = (
        values_and_gradients(by_op, tensors, *rest),
        values_and_gradients(reference.rnn, tensors, *rest),
        values_and_gradients(reference.rnn, wide, *rest),
    )
    for found, by_torch, exact in zip(*results, strict=True):
        assert_as_good_as_torch(found, by_torch, exact)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("cell", CELLS)
def test_reduced_precision_has_a_state_in_float32(cell, dtype):
    tensors, _ = arguments(cell, (40, 5, 8, 24), dtype)
    wide = [t if t is None else t.float() for t in tensors]
    found = by_op(*tensors, None, cell, False)
    exact = by_op(*wide, None, cell, False)
    for one, other in zip(found, exact, strict=True):
        assert one.dtype == dtype
        assert torch.equal(one, other.to(dtype))
    gradients = values_and_gradients(by_op, tensors, None, cell, False)[3:]
    expected = values_and_gradients(by_op, wide, None, cell, False)[3:]
    for one, other in zip(gradients, expected, strict=True):
        assert one.dtype == dtype
        assert (one.float() - other).norm() < 0.02 * other.norm()


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("shape", [(6, 5, 8, 300), (6, 64, 8, 40)], ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_any_number_of_threads(cell, shape, threads):
    """With several thread groups, and with ranks that share the units of a step."""
    tensors, lengths = arguments(cell, shape)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        found = values_and_gradients(by_op, tensors, lengths, cell, False)
        again = values_and_gradients(by_op, tensors, lengths, cell, False)
    finally:
        torch.set_num_threads(before)
    exact = values_and_gradients(reference.rnn, tensors, lengths, cell, False)
    for one, same, other in zip(found, again, exact, strict=True):
        assert torch.equal(one, same)
        assert_close(one, other, FLOAT64_GRADIENT)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_lengths_are_as_if_each_sequence_were_alone(cell, reverse):
    tensors, lengths = arguments(cell, (9, 4, 3, 5))
    x, h0, c0, *weights = tensors
    lengths[0] = 2
    for n, length in enumerate(lengths):
        x[length:, n] = torch.nan
    grads = values_and_gradients(by_op, tensors, lengths, cell, reverse)
    assert all(grad.isfinite().all() for grad in grads)
    y, *ends = by_op(*tensors, lengths, cell, reverse)
    for n, length in enumerate(lengths):
        row = slice(n, n + 1)
        alone = x[:length, row], h0[row], None if c0 is None else c0[row]
        y_alone, *ends_alone = by_op(*alone, *weights, None, cell, reverse)
        assert_close(y[:length, row], y_alone, FLOAT64)
        assert not y[length:, n].any()
        for end, end_alone in zip(ends, ends_alone, strict=True):
            assert_close(end[row] if end.dim() == 2 else end, end_alone, FLOAT64)


@pytest.mark.parametrize("cell", CELLS)
def test_strides_and_missing_biases(cell):
    tensors, _ = arguments(cell, (6, 5, 3, 4), biases=False)
    exact = values_and_gradients(reference.rnn, tensors, None, cell, False)
    x, h0, c0, weight_ih, weight_hh, *none = tensors
    batch_first = x.transpose(0, 1).contiguous().transpose(0, 1)
    every_other = torch.stack([x, x], 3).flatten(2)[..., ::2]
    for odd in (batch_first, every_other):
        odd_h = h0.t().contiguous().t()
        odd_weight = weight_hh.t().contiguous().t()
        found = values_and_gradients(
            by_op, [odd, odd_h, c0, weight_ih, odd_weight, *none], None, cell, False
        )
        for one, other in zip(found, exact, strict=True):
            assert_close(one, other, FLOAT64_GRADIENT)
    one_row = x[:, :1].expand(6, 5, 3)
    found = by_op(one_row, *tensors[1:], None, cell, False)[0]
    assert_close(found, reference.rnn(one_row, *tensors[1:], None, cell, False)[0], FLOAT64)


@pytest.mark.parametrize("cell", CELLS)
def test_only_the_gradients_asked_for(cell):
    tensors, _ = arguments(cell, (4, 3, 2, 5))
    full = values_and_gradients(by_op, tensors, None, cell, False)[3:]
    present = [index for index, tensor in enumerate(tensors) if tensor is not None]
    for place, index in enumerate(present):
        given = [None if t is None else t.detach().clone() for t in tensors]
        given[index].requires_grad_()
        outputs = by_op(*given, None, cell, False)
        scalar = sum(
            (torch.linspace(0.5, 1.5, out.numel(), dtype=out.dtype).view_as(out) * out).sum()
            for out in outputs
        )
        (grad,) = torch.autograd.grad(scalar, given[index])
        assert_close(grad, full[place], FLOAT64)


def weights_of(cell):
    return arguments(cell, (4, 3, 2, 5))[0][3:]


X, H = torch.rand(4, 3, 2, dtype=torch.float64), torch.rand(3, 5, dtype=torch.float64)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ops.rnn(X, H, weights_of("gru")[:3], "gru"), "weights: expected 4"),
        (lambda: ops.rnn(X, H, weights_of("tanh"), "elman"), "cell: expected one of"),
        (lambda: ops.rnn(X, H, [None, *weights_of("tanh")[1:]]), "weight_ih, weight_hh"),
        (lambda: ops.rnn(X, (H, H), weights_of("gru"), "gru"), "h0: expected a tensor"),
        (lambda: ops.rnn(X, H, weights_of("lstm"), "lstm"), "h0: expected a pair"),
        (lambda: ops.rnn(X, (H, H[:2]), weights_of("lstm"), "lstm"), "c0: expected shape"),
        (lambda: ops.rnn(X, H[:2], weights_of("tanh")), "h0: expected shape .N, H. = .3, 5."),
        (lambda: ops.rnn(X, H.float(), weights_of("tanh")), "h0: expected Double like x"),
        (lambda: ops.rnn(X[0], None, weights_of("tanh")), "x: expected shape .T, N, I."),
        (lambda: ops.rnn(X[:0], None, weights_of("tanh")), "at least one step"),
        (lambda: ops.rnn(X.long(), H, weights_of("tanh")), "x: expected float32"),
        (lambda: ops.rnn(X, None, weights_of("gru"), "tanh"), "weight_hh: expected shape"),
        (lambda: ops.rnn(X, None, [torch.rand(0, 2), torch.rand(0, 0), None, None]), "H >= 1"),
        (lambda: ops.rnn(X, None, weights_of("tanh"), lengths=[1, 5, 2]), "lengths.1.: expected 1"),
        (lambda: ops.rnn(X, None, weights_of("tanh"), lengths=[1, 0, 2]), "lengths.1.: expected 1"),
        (lambda: ops.rnn(X, None, weights_of("tanh"), lengths=[1, 2]), "lengths: expected shape"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
