"""ops.kalman_filter and kalman_smoother against the joint Gaussian of all states and readings."""

from __future__ import annotations

import math

import pytest
import torch

from pyneural import ops
from tests.ops.by_torch import second_derivatives
from tests.tolerances import FLOAT64, FLOAT64_GRADIENT, assert_close

NAN = math.nan
kernel_filter = torch.ops.pyneural.kalman_filter.default
kernel_smoother = torch.ops.pyneural.kalman_smoother.default


def arguments(N=2, T=5, n=3, p=2, varies=False, offset=True, gaps=True, dtype=torch.float64):
    """In the order of the op: y, offset, Phi, H, Q, R, m, P."""
    steps = (T,) if varies else ()

    def covariance(size, *lead):
        root = torch.randn(*lead, size, size, dtype=dtype)
        return root @ root.mT + 0.1 * torch.eye(size, dtype=dtype)

    y = torch.randn(N, T, p, dtype=dtype)
    if gaps and T > 3:
        y[:, 2, -1] = NAN
        y[-1:, 3] = NAN
    return [
        y,
        torch.randn(N, T, n, dtype=dtype) if offset else None,
        0.5 * torch.randn(*steps, n, n, dtype=dtype),
        torch.randn(*steps, p, n, dtype=dtype),
        covariance(n, *steps),
        covariance(p, *steps),
        torch.randn(N, n, dtype=dtype),
        covariance(n),
    ]


def joint(y, offset, Phi, H, Q, R, m, P):
    """Mean [T n + T p] and covariance of all states and observations of a series."""
    T = len(y)
    at = lambda matrix, t: matrix[t] if matrix.dim() == 3 else matrix  # noqa: E731
    means, rows = [m], [[P]]
    for t in range(1, T):
        means.append(at(Phi, t) @ means[-1] + (0 if offset is None else offset[t]))
        rows.append([at(Phi, t) @ block for block in rows[-1]])
        rows[-1].append(at(Phi, t) @ rows[-2][-1] @ at(Phi, t).mT + at(Q, t))
    x = torch.cat([
        torch.cat([rows[max(s, t)][min(s, t)] if s >= t else rows[t][s].mT for t in range(T)], 1)
        for s in range(T)
    ])  # fmt: skip
    Hs = torch.block_diag(*(at(H, t) for t in range(T)))
    noise = torch.block_diag(*(at(R, t) for t in range(T)))
    mean = torch.cat(means)
    return mean, x, Hs, Hs @ x @ Hs.mT + noise


def conditioned(parts, y, until):
    """Moments of the states given the observations of the first steps, and log p of these."""
    mean, x, H, S = parts
    seen = (~y[:until].isnan()).flatten().nonzero()[:, 0]
    if len(seen) == 0:
        return mean, x, y.new_zeros(())
    H, S = H[seen], S[seen][:, seen]
    readings = y.flatten()[seen]
    gain = torch.linalg.solve(S, H @ x).mT
    log_p = torch.distributions.MultivariateNormal(H @ mean, S).log_prob(readings)
    return mean + gain @ (readings - H @ mean), x - gain @ H @ x, log_p


def exact(y, offset, Phi, H, Q, R, m, P):
    """What the filter returns, then what the smoother returns."""
    T, n = y.shape[1], m.shape[-1]
    Q, R, P = ((matrix + matrix.mT) / 2 for matrix in (Q, R, P))

    def at(found, t):
        return found[0].view(T, n)[t], found[1].view(T, n, T, n)[t, :, t]

    series = []
    for i in range(len(y)):
        parts = joint(y[i], None if offset is None else offset[i], Phi, H, Q, R, m[i], P)
        now = [at(conditioned(parts, y[i], t + 1), t) for t in range(T)]
        before = [at(conditioned(parts, y[i], t), t) for t in range(T)]
        end = conditioned(parts, y[i], T)
        smoothed = [at(end, t) for t in range(T)]
        blocks = end[1].view(T, n, T, n)
        lag = [blocks[t + 1, :, t] for t in range(T - 1)]
        pairs = [
            torch.stack(part)
            for found in (now, before, smoothed)
            for part in zip(*found, strict=True)
        ]
        series.append([end[2], *pairs, torch.stack(lag) if lag else blocks.new_empty(0, n, n)])
    return [torch.stack(part) for part in zip(*series, strict=True)]


def found(*given):
    filtered = kernel_filter(*given)
    return [*filtered, *kernel_smoother(given[2], given[4], *filtered[1:])]


@pytest.mark.parametrize("varies", [False, True])
@pytest.mark.parametrize("offset", [False, True])
@pytest.mark.parametrize(
    ("N", "T", "n", "p"), [(2, 5, 3, 2), (1, 1, 1, 1), (3, 6, 1, 4), (9, 2, 4, 1)]
)
def test_against_the_joint_gaussian(N, T, n, p, offset, varies):
    given = arguments(N, T, n, p, varies, offset)
    for ours, expected in zip(found(*given), exact(*given), strict=True):
        assert_close(ours, expected, FLOAT64_GRADIENT)
    single = [None if tensor is None else tensor.float() for tensor in given]
    for ours, expected in zip(found(*single), exact(*given), strict=True):
        assert ours.dtype == torch.float32
        assert_close(ours.double(), expected, 1e-4)


@pytest.mark.parametrize("varies", [False, True])
@pytest.mark.parametrize("offset", [False, True])
def test_gradients(offset, varies):
    y, *others = arguments(varies=varies, offset=offset)
    gaps = torch.where(y.isnan(), y, 0)
    leaves = [None if t is None else t.clone().requires_grad_() for t in (y.nan_to_num(), *others)]

    def both(y, *others):
        return tuple(found(y + gaps, *others))

    assert torch.autograd.gradcheck(both, leaves)


def test_second_derivatives():
    y, _, *others = arguments(N=1, T=3, n=2, p=1, offset=False)
    leaves = [t.clone().requires_grad_() for t in (y, *others)]
    call = lambda y, *others: tuple(found(y, None, *others))  # noqa: E731
    assert torch.autograd.gradgradcheck(call, leaves)
    likelihood = lambda function: lambda y, *others: function(y, None, *others)[0].sum()  # noqa: E731
    ours, expected = (second_derivatives(likelihood(f), leaves) for f in (kernel_filter, exact))
    for one, other in zip(ours, expected, strict=True):
        assert_close(one, other, FLOAT64_GRADIENT)


def test_only_what_is_wanted():
    given = arguments()
    R = given[5].requires_grad_()
    (grad,) = torch.autograd.grad(kernel_filter(*given)[0].sum(), R)
    assert grad.shape == R.shape
    assert torch.equal(grad, grad.mT)


def test_noncontiguous_and_no_series():
    given = arguments(gaps=False)
    strided = [t if t is None else torch.stack([t, t], -1)[..., 0] for t in given]
    for one, other in zip(found(*strided), found(*given), strict=True):
        assert torch.equal(one, other)
    none = [given[0][:0], given[1][:0], *given[2:6], given[6][:0], given[7]]
    assert [len(tensor) for tensor in found(*none)] == [0] * 8


def test_same_bits_by_any_threads(threads):
    given = arguments(N=40, T=300)
    leaves = [t.nan_to_num().requires_grad_() for t in given]
    results = []
    for count in (1, 2):
        threads(count)
        outputs = found(*leaves)
        grads = torch.autograd.grad([output.sum() for output in outputs], leaves)
        results.append([*outputs, *grads])
    assert all(torch.equal(*pair) for pair in zip(*results, strict=True))


def test_a_direction_without_variance_needs_no_correction():
    """Position and its copy: the predicted covariance is singular."""
    one = torch.ones(2, 2, dtype=torch.float64)
    y = torch.randn(1, 6, 1, dtype=torch.float64)
    model = torch.eye(2, dtype=torch.float64), torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    filtered = ops.kalman_filter(
        y, *model, one, one[:1, :1], torch.zeros_like(y[:, 0]).repeat(1, 2), one
    )
    s, V, _ = ops.kalman_smoother(model[0], one, *filtered[1:])
    assert_close(s[..., 0], s[..., 1], FLOAT64)
    scalar = ops.kalman_filter(y, *[one[:1, :1]] * 4, torch.zeros_like(y[:, 0]), one[:1, :1])
    expected = ops.kalman_smoother(one[:1, :1], one[:1, :1], *scalar[1:])
    assert_close(s[..., :1], expected[0], FLOAT64)
    assert_close(V[..., :1, :1], expected[1], FLOAT64)


def test_opcheck_compile_and_func():
    given = [None if t is None else t.nan_to_num() for t in arguments(N=1, T=3, n=2, p=1)]
    leaves = [t.requires_grad_() for t in given]
    torch.library.opcheck(kernel_filter, tuple(leaves))
    moments = [t.detach() for t in kernel_filter(*leaves)]
    smoother = leaves[2], leaves[4], *(t.requires_grad_() for t in moments[1:])
    torch.library.opcheck(kernel_smoother, smoother)
    grads = [torch.ones_like(t) for t in moments]
    backward = torch.ops.pyneural.kalman_filter_backward.default
    plain = [t.detach() for t in leaves]
    torch.library.opcheck(backward, (grads, *plain, *(m.detach() for m in moments[1:])))

    def likelihood(y):
        return ops.kalman_filter(y, *plain[2:], plain[1])[0].sum()

    expected = likelihood(plain[0])
    compiled = torch.compile(likelihood, backend="aot_eager", fullgraph=True)
    assert_close(compiled(plain[0]), expected, FLOAT64)
    several = torch.stack([plain[0], 2 * plain[0]])
    mapped = torch.func.vmap(torch.func.grad(likelihood))(several)
    for y, grad in zip(several, mapped, strict=True):
        leaf = y.clone().requires_grad_()
        assert_close(grad, torch.autograd.grad(likelihood(leaf), leaf)[0], FLOAT64_GRADIENT)


def with_part(index, value):
    given = arguments()
    given[index] = value
    return given


@pytest.mark.parametrize(
    ("index", "value", "message"),
    [
        (0, torch.ones(2, 5), "y: expected shape .N, T, p."),
        (0, torch.ones(2, 5, 2).half(), "y: expected float32 or float64, got Half"),
        (2, torch.ones(4, 3, 3).double(), r"transition: expected shape \[5, 3, 3\]"),
        (3, torch.ones(2, 4).double(), r"observation: expected shape \[2, 3\]"),
        (5, torch.ones(2, 2), "observation_noise: expected Double like y, got Float"),
        (6, torch.ones(3).double(), r"initial_mean: expected shape \[2, 3\]"),
        (5, torch.full((2, 2), -1e6).double(), "observation_noise: .* singular one at step 0"),
    ],
)
def test_bad_input(index, value, message):
    with pytest.raises(ValueError, match=f"kalman_filter: {message}"):
        kernel_filter(*with_part(index, value))
