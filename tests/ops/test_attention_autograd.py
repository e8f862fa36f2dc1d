"""ops.attention under what differentiates, transforms or checks an op."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from pyneural import ops
from tests.ops.derivatives import all_derivatives
from tests.ops.test_attention import (
    MASKS,
    arguments,
    assert_all_close,
    grouped,
    mask_of,
    value_and_gradients,
)
from tests.tolerances import FLOAT64, FLOAT64_GRADIENT, assert_close


@pytest.mark.parametrize(("mask", "is_causal"), [MASKS[1], MASKS[2], MASKS[5]])
def test_gradcheck(device, mask, is_causal):
    shape = (1, 2, 1, 3, 4, 2, 2)
    tensors, _ = arguments(shape, device=device, seed=1)
    leaves = [tensor.requires_grad_() for tensor in tensors]
    given = mask_of(mask, shape, device)

    def function(*t):
        return grouped(*t, mask=given, is_causal=is_causal)

    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradgradcheck(function, leaves)


def test_gradcheck_with_dropout(device):
    leaves = [t.requires_grad_() for t in arguments((1, 2, 2, 3, 4, 2, 2), device=device)[0]]

    def function(*t):
        torch.manual_seed(3)
        return ops.attention(*t, dropout_p=0.5)

    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradgradcheck(function, leaves)


def test_gradient_of_a_mask(device):
    tensors, _ = arguments((1, 2, 2, 3, 4, 2, 2), device=device)
    bias = torch.randn(2, 1, 4, dtype=torch.float64, device=device, requires_grad=True)
    leaves = [bias, *(tensor.requires_grad_() for tensor in tensors)]
    function = lambda b, q, k, v: ops.attention(q, k, v, b)  # noqa: E731
    assert torch.autograd.gradcheck(function, leaves)
    assert torch.autograd.gradgradcheck(function, leaves)


def by_torch(q, k, v, mask=None, is_causal=False):
    """torch's own attention in its mathematical form, which has every derivative."""
    if is_causal:  # torch takes no mask beside it
        causal = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril()
        if mask is None or mask.dtype == torch.bool:
            mask = causal if mask is None else mask & causal
        else:
            mask = mask.masked_fill(~causal, -math.inf)
    with sdpa_kernel(SDPBackend.MATH):
        return scaled_dot_product_attention(q, k, v, mask, enable_gqa=True)


def assert_same_derivatives(function, other, tensors, order=3):
    found, exact = (all_derivatives(f, tensors, order) for f in (function, other))
    for level, (ours, theirs) in enumerate(zip(found, exact, strict=True)):
        for index, (one, right) in enumerate(zip(ours, theirs, strict=True)):
            scale = max(float(t.abs().max()) for t in theirs if t.numel())
            error = float((one - right).abs().max()) / scale if one.numel() else 0.0
            assert error <= FLOAT64_GRADIENT, (level, index, error)


@pytest.mark.parametrize(("mask", "is_causal"), MASKS)
def test_higher_derivatives(device, mask, is_causal):
    shape = (2, 4, 2, 5, 7, 3, 2)
    tensors, _ = arguments(shape, device=device)
    given = mask_of(mask, shape, device)
    assert_same_derivatives(
        lambda *t: [grouped(*t, mask=given, is_causal=is_causal)],
        lambda *t: [by_torch(*t, given, is_causal)],
        tensors,
    )


@pytest.mark.parametrize("form", [(2, 4, 5, 7), (4, 1, 7), (1, 1)], ids=str)
def test_higher_derivatives_of_a_mask(device, form):
    tensors, _ = arguments((2, 4, 2, 5, 7, 3, 2), device=device)
    generator = torch.Generator().manual_seed(3)
    mask = torch.randn(form, generator=generator, dtype=torch.float64).to(device)
    assert_same_derivatives(
        lambda mask, *t: [grouped(*t, mask=mask, is_causal=True)],
        lambda mask, *t: [by_torch(*t, mask, is_causal=True)],
        [mask, *tensors],
    )


def test_higher_derivatives_with_dropout(device):
    tensors, _ = arguments((2, 3, 3, 5, 7, 3, 2), device=device)
    seed, p = torch.tensor([7], device=device), 0.4
    keep = torch.ops.pyneural.attention_keep(seed, [2, 3, 5, 7], p).double()

    def by_hand(q, k, v):
        scores = q @ k.mT / 3**0.5
        weights = scores.exp() / scores.exp().sum(-1, keepdim=True)
        return [weights * keep / (1 - p) @ v]

    op = torch.ops.pyneural.attention
    assert_same_derivatives(lambda *t: [op(*t, None, seed, False, p, None)], by_hand, tensors)


def test_batched_gradients(device):
    tensors, _ = arguments((2, 3, 3, 4, 5, 3, 2), device=device)
    leaves = [tensor.requires_grad_() for tensor in tensors]
    out = ops.attention(*leaves, is_causal=True)
    grads = torch.randn(3, *out.shape, dtype=torch.float64, device=device)
    batched = torch.autograd.grad(out, leaves, grads, is_grads_batched=True, retain_graph=True)
    for i, grad in enumerate(grads):
        single = torch.autograd.grad(out, leaves, grad, retain_graph=True)
        for one, other in zip(batched, single, strict=True):
            assert_close(one[i], other, FLOAT64_GRADIENT)


def test_opcheck(device):
    (q, k, v), grad_out = arguments((2, 4, 2, 4, 5, 3, 2), device=device)
    mask = torch.rand(2, 1, 4, 5, device=device) > 0.2
    seed = torch.tensor([7], device=device)
    for options in ((mask, None, False, 0.0, None), (None, seed, True, 0.3, 0.5)):
        leaves = [tensor.clone().requires_grad_() for tensor in (q, k, v)]
        torch.library.opcheck(torch.ops.pyneural.attention.default, (*leaves, *options))
        torch.library.opcheck(torch.ops.pyneural.attention_with_lse.default, (q, k, v, *options))
        out, lse = torch.ops.pyneural.attention_with_lse(q, k, v, *options)
        torch.library.opcheck(
            torch.ops.pyneural.attention_backward.default,
            (grad_out, q, k, v, *options[:2], out, lse, *options[2:], [True, False, True]),
        )
    added = torch.zeros(1, 4, 1, 5, dtype=torch.float64, device=device)
    torch.library.opcheck(
        torch.ops.pyneural.attention_mask_backward.default,
        (grad_out, q, k, v, added, None, True, 0.0, None),
    )
    torch.library.opcheck(torch.ops.pyneural.attention_keep.default, (seed, [2, 1, 4, 5], 0.3))


@pytest.mark.parametrize("inside", [False, True])
def test_compile(device, inside):
    tensors, grad_out = arguments((2, 3, 3, 20, 30, 8, 8), device=device)
    if inside:
        tensors = [t.transpose(1, 2).contiguous().transpose(1, 2) for t in tensors]
    compiled = torch.compile(ops.attention, fullgraph=True)
    exact = value_and_gradients(ops.attention, tensors, grad_out, is_causal=True)
    found = value_and_gradients(compiled, tensors, grad_out, is_causal=True)
    assert_all_close(found, exact)
    assert torch.isfinite(compiled(*tensors, dropout_p=0.5)).all()


def test_torch_func(device):
    (q, k, v), _ = arguments((3, 2, 2, 4, 5, 3, 2), device=device)
    single = lambda t: ops.attention(t, k[0], v[0], is_causal=True)  # noqa: E731
    exact = torch.autograd.functional.jacobian(single, q[0])
    assert_close(torch.func.jacrev(single)(q[0]), exact, FLOAT64_GRADIENT)
    assert_close(torch.func.jacfwd(single)(q[0]), exact, FLOAT64_GRADIENT)
    assert_close(torch.func.vmap(ops.attention)(q, k, v), ops.attention(q, k, v), FLOAT64)
    tangent = torch.ones_like(q[0])
    jvp = torch.func.jvp(single, (q[0],), (tangent,))[1]
    assert_close(jvp, exact.flatten(3).sum(-1), FLOAT64_GRADIENT)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(q[0], tangent)
        found = torch.autograd.forward_ad.unpack_dual(single(dual)).tangent
    assert_close(found, jvp, FLOAT64_GRADIENT)
    leaf = q.clone().requires_grad_()
    ops.attention(leaf, k, v).sum().backward()
    grad = torch.func.grad(lambda t: ops.attention(t, k, v).sum())(q)
    assert_close(grad, leaf.grad, FLOAT64_GRADIENT)


def test_autocast(device):
    tensors, _ = arguments((2, 3, 3, 20, 30, 8, 8), torch.float32, device)
    mask = torch.zeros(20, 30, device=device)
    with torch.autocast(device, dtype=torch.bfloat16):
        found = ops.attention(*tensors, mask)
    low = [tensor.bfloat16() for tensor in tensors]
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, ops.attention(*low))
