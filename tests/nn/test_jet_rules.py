"""Every rule of Taylor mode against nested autograd in float64."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch.nn import functional as F

from pyneural import nn
from tests.nn.derivative_oracle import DERIVATIVES, assert_jets

W = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
V = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
ONES = torch.ones(2, dtype=torch.float64)


def any_sign(function):
    return lambda x: function(0.3 * x @ W)


def positive(function):
    return lambda x: function(0.05 * (x @ W).square() + 0.3)


def layer_norm(z):
    """By its definition: torch's own third derivatives are wrong."""
    centred = z - z.mean(-1, keepdim=True)
    return centred / torch.sqrt(centred.square().mean(-1, keepdim=True) + 1e-5)


TORCH = "tanh sin cos exp sigmoid expm1 exp2 sinh cosh erf erfc atan tan asin acos asinh atanh"
TORCH += " square abs neg sign floor deg2rad"
POSITIVE = "log sqrt log1p log2 log10 rsqrt reciprocal lgamma digamma logit"
ACTIVATIONS = "silu gelu softplus mish tanhshrink logsigmoid"
FUNCTIONS = {
    **{name: any_sign(getattr(torch, name)) for name in TORCH.split()},
    **{name: positive(getattr(torch, name)) for name in POSITIVE.split()},
    **{name: any_sign(getattr(F, name)) for name in ACTIVATIONS.split()},
    **{f"power {n}": positive(lambda z, n=n: z**n) for n in (2, 3, 4, 5, 0, 1, -1, -2, 0.5, 1.7)},
    "acosh": lambda x: torch.acosh((x @ W).square() + 1.5),
    "gelu_tanh": any_sign(lambda z: F.gelu(z, approximate="tanh")),
    "softplus with beta": any_sign(lambda z: F.softplus(z, beta=2.5)),
    "cubes of both signs": lambda x: (x - 0.5) ** 3,
    "exponential": any_sign(lambda z: 2.5**z),
    "power of jets": positive(lambda z: z ** (0.5 * z[:, :1])),
    "glu": lambda x: F.glu(x @ V.T),
    "softmax": any_sign(lambda z: F.softmax(z, -1)),
    "log_softmax": any_sign(lambda z: F.log_softmax(z, 1)),
    "logsumexp": any_sign(lambda z: torch.logsumexp(z, 1, keepdim=True)),
    "logaddexp": lambda x: torch.logaddexp(x, x**2),
    "norm": any_sign(lambda z: z / torch.linalg.norm(z, dim=1, keepdim=True)),
    "norm by method": any_sign(lambda z: z / z.norm(dim=-1, keepdim=True)),
    "normalize": any_sign(lambda z: F.normalize(z, dim=-1)),
    "quotient": lambda x: x[:, :1] / (x[:, 1:] ** 2 + 1),
    "reflected quotient": positive(lambda z: 3 / z),
    "quotient by a constant": lambda x: (x @ W) / W[0],
    "sums": lambda x: 1 - x**2 + torch.sub(x**3, x.sin(), alpha=2.0) - W[1] * x.cos(),
    "hypot": lambda x: torch.hypot(x[:, :1], x[:, 1:]),
    "atan2": lambda x: torch.atan2(x - 0.5, x[:, :1] - 0.6),
    "where": lambda x: torch.where(x > 0.5, x**2, torch.sin(x)),
    "where a number": lambda x: torch.where(x > 0.5, x**2, 0.0),
    "clamp": lambda x: (x**2).clamp(0.2, 0.6),
    "maximum": lambda x: torch.maximum(x**2, x.sin()),
    "minimum": lambda x: torch.minimum(x[:, :1] ** 2, 1 - x),
    "addcmul": lambda x: torch.addcmul(x, x, x.sin(), value=0.5),
    "addcdiv": lambda x: torch.addcdiv(x, x.sin(), x + 1, value=0.5),
    "lerp": lambda x: torch.lerp(x, x**2, 0.3),
    "detach": lambda x: x.detach() * x**2,
    "constant": lambda x: torch.ones_like(x),
    "matmul": lambda x: (x[:, :, None] @ (x @ W)[:, None, :]).reshape(5, 9),
    "constant matrix before": lambda x: (V @ x.T).T ** 2,
    "matrix by vector": lambda x: ((x**2) @ W[0])[:, None],
    "addmm": lambda x: torch.addmm(V[:, 0], x.sin(), V.T),
    "bilinear": lambda x: F.bilinear(x, x.sin(), torch.stack([W, W**2]), ONES),
    "einsum": lambda x: torch.einsum("ni,nj,jk->nk", x, torch.sin(x), W),
    "einsum with a matrix": lambda x: torch.einsum("ni,ji->nj", x**2, V),
    "cross": lambda x: torch.linalg.cross(x, (x @ W).sin()),
    "convolution": lambda x: F.conv1d((x**2)[:, None], W[:1, None, :2], W[0, :1]).flatten(1),
    "attention of features": lambda x: F.scaled_dot_product_attention(
        *((x @ w).view(5, 3, 1) for w in (W, W.T, W**2))
    ).reshape(5, 3),
    "both factors are jets": lambda x: torch.matmul(x[:, None], x[:, :, None] ** 2)[:, 0],
}
SHAPES = {
    "columns": lambda x: torch.stack([x[:, 0] * x[:, 1] ** 2 * x[:, 2] ** 2, x[:, 0]], 1),
    "unpacked": lambda x: (lambda t, a, b: torch.stack([t * a**2 * torch.sin(b), a], -1))(*x.T),
    "split": lambda x: (lambda a, b: torch.cat([a * b, b], -1))(*x.split([1, 2], -1)),
    "chunk": lambda x: torch.cat(x.chunk(3, 1)[::-1], 1) ** 2,
    "unbind": lambda x: x.unbind(1)[1][:, None] ** 3 * x,
    "list of columns": lambda x: x[:, [2, 0]] ** 2 * x[:, torch.tensor([1])],
    "ellipsis": lambda x: x[..., 1:] ** 2 * x[..., None, 0],
    "mask of columns": lambda x: x[:, torch.tensor([True, False, True])] ** 2,
    "index_select": lambda x: x.index_select(1, torch.tensor([0, 0, 1])).prod(1, keepdim=True),
    "gather": lambda x: (x**2).gather(1, torch.tensor([[0, 1]]).expand(5, 2)),
    "sum": lambda x: (x @ W).square().sum(1, keepdim=True),
    "sum of coordinates": lambda x: x.sum(1, keepdim=True) ** 3,
    "mean": lambda x: (x @ W).square().mean(-1)[:, None],
    "cumsum": lambda x: (x**3).cumsum(1),
    "flip": lambda x: x.flip(1) ** 2 * x,
    "roll": lambda x: x.roll(1, 1) ** 2 * x,
    "view": lambda x: (x @ V.T).view(5, 2, 2).pow(2).transpose(1, 2).reshape(5, 4),
    "flatten": lambda x: (x @ V.T).unflatten(1, (2, 2)).square().flatten(1),
    "joined to the points": lambda x: torch.tanh((x @ V.T).view(10, 2) @ W[:2, :2]).view(5, 4),
    "repeat": lambda x: (x**2).repeat(1, 2),
    "expand": lambda x: x[:, :1].expand(5, 4) ** 2,
    "pad": lambda x: F.pad(x**2, (1, 1)),
    "to": lambda x: x.to(torch.float64) ** 2,
    "squeeze": lambda x: x[:, 1:2].squeeze(1).square().unsqueeze(-1) * x,
    "permute": lambda x: x[:, None].expand(5, 2, 3).permute(0, 2, 1).square().sum(-1),
}


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def x():
    torch.manual_seed(0)
    return torch.rand(5, 3, dtype=torch.float64) + 0.1


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS.keys())
def test_functions(function, x):
    assert_jets(nn.jet(function, x, DERIVATIVES), function, x)


@pytest.mark.parametrize("function", SHAPES.values(), ids=SHAPES.keys())
def test_shapes(function, x):
    assert_jets(nn.jet(function, x, DERIVATIVES), function, x)


def test_layer_norm_by_its_definition(x):
    weight, bias = W[0], W[1]
    jets = nn.jet(lambda x: F.layer_norm(x @ W, (3,), weight, bias), x, DERIVATIVES)
    assert_jets(jets, lambda x: layer_norm(x @ W) * weight + bias, x)


def test_torchs_third_derivative_of_layer_norm_is_wrong():
    """The reason for the test above: delete both the mode and this where torch has mended it."""
    x = torch.rand(5, 3, dtype=torch.float64)
    with pytest.raises(AssertionError):
        assert_jets(nn.jet(layer_norm, x, [(0, 0, 1)]), lambda x: F.layer_norm(x, (3,), eps=1e-5),
                    x, [(0, 0, 1)])  # fmt: skip


@pytest.mark.parametrize("points", [1, 3])
def test_numbers_of_points_that_are_sizes_of_others(points):
    def function(x):
        hidden = torch.tanh(x @ W).reshape(-1, 3, 1)
        return torch.cat([hidden.flatten(1) * x[:, :1], x.unsqueeze(1).sum(1)], 1)

    x = torch.rand(points, 3, dtype=torch.float64)
    assert_jets(nn.jet(function, x, DERIVATIVES), function, x)


@pytest.mark.parametrize(
    "name",
    ["relu", "leaky_relu", "elu", "relu6", "hardtanh", "selu", "celu", "hardswish", "hardsigmoid"],
)
def test_kinks_have_first_derivatives_only(name, x):
    def function(x):
        return getattr(F, name)(x @ W)

    assert_jets(nn.jet(function, x, [(0,), (1,)]), function, x, [(0,), (1,)])
    with pytest.raises(ValueError, match=f"{name}: expected first derivatives only.*tanh"):
        nn.jet(function, x, [(1, 1)])


def test_in_place(x):
    def alias(x):
        h = x**2
        same = h
        h += 1
        return same * h

    def after_a_layer(x):
        h, moved = F.linear(x, W), x + 0
        moved += 1
        return torch.tanh(h) * moved

    for function in (alias, after_a_layer):
        assert_jets(nn.jet(function, x, DERIVATIVES), function, x)

    def both(x):
        h = F.linear(x, W)
        return h + F.relu(h, inplace=True)

    assert_jets(nn.jet(both, x, [(0,), (1,)]), both, x, [(0,), (1,)])


def test_gradients_reach_the_points(x):
    def function(x):
        return torch.sin(x[:, :1] * x[:, 1:2]) * torch.exp(x @ W)

    x.requires_grad_()
    (ours,) = torch.autograd.grad(nn.jet(function, x, [(1, 1)])[1].sum(), x)
    value = nn.jet(function, x, [(0, 1, 1), (1, 1, 1), (1, 1, 2)])[1:]
    torch.testing.assert_close(ours, torch.stack([v.sum(1) for v in value], 1))


MIXING = {
    "mean of points": lambda x: x - x.mean(0),
    "mean of all": lambda x: x - x.mean(),
    "sum of all": lambda x: x * x.sum(),
    "softmax over points": lambda x: x.softmax(0),
    "points turned": lambda x: x.flip(0) * x,
    "points rolled": lambda x: x.roll(1),
    "points taken": lambda x: x[torch.arange(4, -1, -1)],
    "a point": lambda x: x[0] * x,
    "every second": lambda x: x[::2],
    "some": lambda x: x[:3],
    "Gram matrix": lambda x: x @ (x.T @ x),
    "pairs": lambda x: (x[:, :1] * x[:, 0]).sum(1, keepdim=True),
    "pairs by einsum": lambda x: torch.einsum("ni,mi->nm", x, x),
    "attention": lambda x: F.scaled_dot_product_attention(x, x, x),
    "cumulated": lambda x: x.cumsum(0),
    "joined": lambda x: torch.cat([x, x])[:5],
    "batch norm": lambda x: F.batch_norm(x, None, None, training=True),
    "reshaped": lambda x: x[:, :1].expand(5, 5).T,
}


@pytest.mark.parametrize("function", MIXING.values(), ids=MIXING.keys())
def test_what_mixes_points_is_refused(function, x):
    with pytest.raises(ValueError, match="each point alone"):
        nn.jet(function, x, [(0,)])


@pytest.mark.parametrize(
    "function",
    [lambda x: torch.sort(x, 0)[0], lambda x: x @ torch.cov(x.T), lambda x: x.T.reshape(5, 3)],
)
def test_what_mixes_points_without_a_rule_is_refused(function, x):
    warnings.simplefilter("ignore")
    with pytest.raises(ValueError, match="each point alone"):
        nn.jet(function, x, [(0,)])


@pytest.mark.parametrize(
    ("function", "derivatives", "text"),
    [
        (lambda x: x[:, 0], [(0,)], r"result of the module: expected \[5, O\].*got \[5\]"),
        (lambda x: (x, x), [(0,)], "got tuple"),
        (torch.sin, [(3,)], "at most 4 indices of the 3 columns"),
        (torch.sin, [(0,) * 5], "at most 4 indices"),
        (torch.sin, ["x"], "tuples of input indices"),
    ],
)
def test_errors(function, derivatives, text, x):
    with pytest.raises(ValueError, match=text):
        nn.jet(function, x, derivatives)


def test_powers_with_an_exponent_for_each_element():
    x = torch.tensor([[-1.5], [0.0], [2.0]], dtype=torch.float64)
    exponents = torch.arange(4.0, dtype=torch.float64)
    found = nn.jet(lambda x: x**exponents, x, [(0,), (0, 0)])
    first, second = [0.0, 1, 2, 3], [0.0, 0, 2, 6]
    expected = [x**exponents] + [
        torch.tensor(c, dtype=torch.float64) * x ** (exponents - k).clamp(min=0)
        for k, c in ((1, first), (2, second))
    ]
    torch.testing.assert_close(list(found), expected)
    learned = torch.tensor([1.3, 2.0], dtype=torch.float64, requires_grad=True)
    z = x[2:]
    slope = nn.jet(lambda x: x**learned, z, [(0,)])[1]
    torch.testing.assert_close(slope, learned * z ** (learned - 1))
    (gradient,) = torch.autograd.grad(slope.sum(), learned)
    torch.testing.assert_close(gradient, (z ** (learned - 1) * (1 + learned * z.log()))[0])


def test_columns_that_there_are_not_are_refused(x):
    net = nn.MLP(1, [4], 1).double()
    for columns in ([5], [-4]):
        with pytest.raises((IndexError, RuntimeError)):
            nn.jet(lambda x, columns=columns: net(x[..., columns]), x, [(0,)])
    with pytest.raises((IndexError, RuntimeError)):
        nn.jet(lambda x: x.index_select(1, torch.tensor([3])), x, [(0,)])
    assert_jets(
        nn.jet(lambda x: x[..., [-1, 0]] ** 2, x, DERIVATIVES), lambda x: x[..., [2, 0]] ** 2, x
    )
