"""Conditions that are any residual: boundaries, interfaces, data of derivatives, integrals."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from pyneural import models, nn, pde
from pyneural.training import LBFGS, Adam
from tests.pde.expressions import Autograd, JetOnly, WithColumns, network, points

SQUARE = pde.Box(t=(0, 1), x=(0, 1), y=(-1, 1))
ROD = pde.Box(t=(0, 1), x=(0, 2))
DRAWING = {"dtype": torch.float64}


def number(value=0.3):
    return torch.nn.Parameter(torch.tensor(value, dtype=torch.float64))


def check(condition, expected, net, unknowns=()):
    """Loss and gradients fused and not against those of a residual [N] by nested autograd."""
    wanted = [*net.parameters(), *unknowns]
    options = {"materialize_grads": True, "retain_graph": True}
    parts = expected if isinstance(expected, tuple) else (expected,)
    loss = sum(part.square().mean() for part in parts)
    gradients = torch.autograd.grad(loss, wanted, **options)
    fused = WithColumns(net)
    for way in (net, JetOnly(net), fused):
        found = condition.loss(way)
        torch.testing.assert_close(found, loss, rtol=1e-9, atol=1e-12)
        mine = torch.autograd.grad(found, wanted, **options)
        torch.testing.assert_close(mine, gradients, rtol=1e-7, atol=1e-9)
    residuals = condition.residuals(net)
    torch.testing.assert_close(residuals, [part[:, None] for part in parts], rtol=1e-9, atol=1e-10)
    return fused


def test_robin_on_every_side():
    net = network()
    condition = pde.Operator(
        lambda u, t, nx, ny: u.n + 2 * (u - t) + 0 * (nx + ny),
        24,
        domain=SQUARE,
        outputs="uv",
        **DRAWING,
    )
    d = Autograd(net, condition.points)
    n = condition.normals
    assert set(map(tuple, n.tolist())) == {(0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1)}
    x, y = d.x.detach()[:, 1], d.x.detach()[:, 2]
    torch.testing.assert_close(n[:, 1], (x == 1).double() - (x == 0).double())
    torch.testing.assert_close(n[:, 2], (y == 1).double() - (y == -1).double())
    assert check(condition, n[:, 1] * d(d.u, 1) + n[:, 2] * d(d.u, 2) + 2 * (d.u - d.t), net).calls


def test_flux_and_stress_on_a_curve():
    disk = pde.Disk(x=0, y=0, radius=2)
    net = network(2)
    condition = pde.Operator(
        lambda u, v, nx, ny, x: (((1 + x**2) * u.x * nx + u.y * ny), (u * v).n),
        20, domain=disk, outputs="uv", **DRAWING,
    )  # fmt: skip
    z = condition.points
    d = Autograd(net, z)
    d.u_x, d.u_y = d(d.u, 0), d(d.u, 1)
    n = z / 2
    uv = d.u * d.v
    expected = (1 + z[:, 0] ** 2) * d.u_x * n[:, 0] + d.u_y * n[:, 1]
    check(condition, (expected, d(uv, 0) * n[:, 0] + d(uv, 1) * n[:, 1]), net)


def test_higher_derivatives_at_an_end_and_values_at_each_point():
    net = network(2, 1)
    ends = ROD.sample_boundary(7, part="x_high", **DRAWING)
    d = Autograd(net, ends)
    check(
        pde.Operator(lambda u: (u.xx, u.xxx), ends, inputs="tx"),
        (d(d.u, 1, 1), d(d.u, 1, 1, 1)),
        net,
    )
    values = torch.rand(7, dtype=torch.float64)
    measured = pde.Operator(lambda u: u.x, ends, inputs="tx", value=values)
    check(measured, d(d.u, 1) - values, net)
    function = pde.Operator(lambda u: u.x, ends, domain=ROD, value=lambda t: torch.sin(t))
    check(function, d(d.u, 1) - torch.sin(d.t), net)
    both = torch.rand(7, 2, dtype=torch.float64)
    two = pde.Operator(lambda u: (u.x, u.t), ends, domain=ROD, value=both)
    check(two, (d(d.u, 1) - both[:, 0], d(d.u, 0) - both[:, 1]), net)


class Heat(pde.Equation):
    inputs, outputs = "tx", "u"

    def __init__(self, k):
        super().__init__()
        self.k = k

    def residual(self, u, x):
        return u.t - (self.k * (1 + x) * u.x).x


def test_an_equation_at_given_points():
    k, net, z = number(), network(2, 1), points(9, 2)
    condition = pde.Operator(Heat(k), z)
    assert [p is k for p in condition.parameters()] == [True]
    d = Autograd(net, z)
    check(condition, d(d.u, 0) - d(k * (1 + d.x1) * d(d.u, 1), 1), net, [k])


def test_unknowns_are_learned_and_are_in_the_condition():
    h, net = number(), network(2, 1)
    condition = pde.Operator(lambda u: u.n + h * u, 8, domain=ROD, part="x_high", **DRAWING)
    assert [p is h for p in condition.parameters()] == [True]
    d = Autograd(net, condition.points)
    check(condition, d(d.u, 1) + h * d.u, net, [h])
    value = number()
    condition = pde.Operator(lambda u: u.x, 8, domain=ROD, value=lambda t: value * t, **DRAWING)
    assert [p is value for p in condition.parameters()] == [True]
    d = Autograd(net, condition.points)
    check(condition, d(d.u, 1) - value * d.t, net, [value])
    with pytest.raises(TypeError, match="deepcopy: expected functions without parameters"):
        copy.deepcopy(condition)
    plain = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    with pytest.raises(
        ValueError, match=r"Operator: residual: expected unknowns that are torch.nn.P"
    ):
        pde.Operator(lambda u: u.x - plain, 5, domain=ROD)


def test_two_sides_of_an_interface():
    net = network(2, 2)  # two networks as two outputs
    z = points(9, 2)
    normals = torch.nn.functional.normalize(torch.rand(9, 2, dtype=torch.float64), dim=1)
    condition = pde.Operator(
        lambda u, v: (u - v, u.n - 5 * v.n), z, inputs="xy", outputs="uv", normals=normals
    )
    d = Autograd(net, z)
    u, v = net(d.x).unbind(1)
    slopes = (d(u, 0) - 5 * d(v, 0)) * normals[:, 0] + (d(u, 1) - 5 * d(v, 1)) * normals[:, 1]
    check(condition, (u - v, slopes), net)


def test_pairs_of_points():
    net, left, right = network(2, 1), points(9, 2), points(9, 2)
    condition = pde.Operator(
        lambda u, x, right: (u.x - right.u.x) * (right.t + x) + (u**2).x,
        left,
        inputs="tx",
        pairs={"right": right},
    )
    a, b = Autograd(net, left), Autograd(net, right)
    expected = (a(a.u, 1) - b(b.u, 1)) * (b.t + a.x1) + a(a.u**2, 1)
    check(condition, expected, net)


def test_an_integral_in_a_residual():
    net, z = network(1, 1), points(9, 1)
    s = torch.linspace(0, 1, 5, dtype=torch.float64)[None, :, None] * z[:, None, :]
    weights = torch.rand(9, 5, dtype=torch.float64)
    condition = pde.Operator(
        lambda u, x, s: u.x + u - (weights * torch.exp(s.x - x[:, None]) * s.u).sum(1),
        z, inputs="x", pairs={"s": s},
    )  # fmt: skip
    x = z.clone().requires_grad_()
    u = net(x)[:, 0]
    (u_x,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    kernel = torch.exp(s[..., 0] - x)
    check(condition, u_x[:, 0] + u - (weights * kernel * net(s)[..., 0]).sum(1), net)


def test_integrals_at_each_time():
    net = network(2, 1)
    t = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    x, w = torch.rand(6, dtype=torch.float64), torch.rand(6, dtype=torch.float64)
    z = torch.stack(torch.meshgrid(t, x, indexing="ij"), 2)
    condition = pde.Operator(
        lambda u, x: u.x**2 + x, z, domain=ROD, quadrature=w, value=lambda t: t**2
    )
    d = Autograd(net, z.view(-1, 2))
    integrals = ((d(d.u, 1) ** 2 + d.x1).view(3, 6) * w).sum(1)
    check(condition, integrals - t**2, net)
    assert condition.count == 3
    mean = pde.Operator(
        lambda u: u, x[:, None], inputs="x", quadrature=torch.full((6,), 1 / 6), value=2
    )
    line = network(1, 1)
    torch.testing.assert_close(mean.loss(line), (line(x[:, None]).mean() - 2) ** 2)
    with pytest.raises(
        ValueError, match="value: expected a function of coordinates that the points"
    ):
        pde.Operator(lambda u: u, z, domain=ROD, quadrature=w, value=lambda x: x)


def test_weights_of_single_points():
    net, z = network(2, 1), points(9, 2)
    weights = torch.nn.Parameter(torch.rand(9, dtype=torch.float64) + 0.1)
    with torch.no_grad():
        weights[3] = 0
    d = Autograd(net, z)
    for condition, residual in (
        (pde.Operator(lambda u: u.x - u**2, z, inputs="tx"), d(d.u, 1) - d.u**2),
        (pde.Data(z, d.t.detach()), d.u - d.t),
    ):
        expected = (weights * residual.square()).mean()
        for way in (net, WithColumns(net)):
            torch.testing.assert_close(condition.loss(way, weights.detach()), expected)
    positive = torch.nn.Parameter(weights.detach() + 0.5)
    (gradient,) = torch.autograd.grad(condition.loss(net, positive), positive)
    torch.testing.assert_close(gradient, residual.square() / 9)


INSIDE = points(3, 2) / 2
ON_TX = {"inputs": "tx"}
REFUSED = {
    "names": (lambda u: u, INSIDE, {}, "inputs: expected names, got none"),
    "two": (lambda u, v: u, 3, {"domain": ROD}, r"one output as argument, or .*, got u, v"),
    "argument": (
        lambda w: w,
        3,
        {"domain": ROD, "outputs": "uv"},
        "arguments among u, v, t, x, nt, nx, got 'w'",
    ),
    "doubled": (lambda u: u, 3, {"domain": ROD, "outputs": "ut"}, "that all differ, got t"),
    "no domain": (lambda u: u, 3, {"inputs": "x"}, "domain: expected one to draw points on"),
    "outside": (lambda u: u, INSIDE + 9, {"domain": ROD}, "Operator: points: expected points in"),
    "no normals": (lambda u: u.n, INSIDE, ON_TX, "expected points with normals"),
    "no normals inside": (lambda u, nx: nx, INSIDE, {"domain": ROD}, "expected points with norm"),
    "off the part": (
        lambda u: u.n,
        INSIDE,
        {"domain": ROD, "part": "x_high"},
        "Operator: points: expected points with x = 2",
    ),
    "normals": (lambda u: u, INSIDE, ON_TX | {"normals": INSIDE[0]}, r"normals: expected \[3, 2\]"),
    "shape": (lambda u: u, points(3, 3), ON_TX, r"points: expected \[N, 2\], got \[3, 3\]"),
    "quadrature": (
        lambda u: u,
        INSIDE,
        ON_TX | {"quadrature": torch.ones(4)},
        r"quadrature: expected \[3\] or \[1, 3\], got \[4\]",
    ),
    "pairs": (
        lambda u, s: u,
        INSIDE,
        ON_TX | {"pairs": {"s": points(4, 2)}},
        r"pairs\['s'\]: expected \[3, 2\] or \[3, Q, 2\], got \[4, 2\]",
    ),
    "values": (
        lambda u: u,
        3,
        {"domain": ROD, "value": torch.ones(3)},
        "expected a number or a function for points that are drawn",
    ),
    "columns": (
        lambda u: u,
        INSIDE,
        ON_TX | {"value": torch.ones(3, 2)},
        "value: expected 1 or 1 columns",
    ),
    "derivative": (lambda u: u.zz, 3, {"domain": ROD}, "u.zz: expected a derivative in t, x"),
    "pair's name": (
        lambda u, s: s.w,
        INSIDE,
        ON_TX | {"pairs": {"s": INSIDE}},
        "s.w: expected one of u, t, x",
    ),
    "two sets": (
        lambda u, s: (2 * (u - s.u)).x,
        INSIDE,
        ON_TX | {"pairs": {"s": INSIDE}},
        "expected an expression at one set of points, got one of several",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_makes_no_sense_is_refused_at_construction(name):
    residual, where, options, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        pde.Operator(residual, where, **options)


def test_a_network_with_more_outputs_needs_their_names():
    condition = pde.Operator(lambda u: u.x, 5, domain=ROD)
    with pytest.raises(
        ValueError, match=r"Operator: network: expected 1 outputs \(u\), got 2; name all"
    ):
        condition.loss(nn.MLP(2, [4], 2))


def test_robin_rod_is_solved_with_its_unknown():
    """u_xx = 0, u_x = 1 at 0, u_x + h u = 3 at 1; the mean 1 of u tells u = x + 1/2, h = 4/3."""
    rod, h = pde.Box(x=(0, 1)), number(0.1)

    class Straight(pde.Equation):
        inputs, outputs, domain = "x", "u", rod

        def residual(self, u):
            return u.xx

    conditions = {
        "left": pde.Operator(lambda u: u.n, 1, domain=rod, part="x_low", value=-1.0, **DRAWING),
        "right": pde.Operator(lambda u: u.n + h * u - 3, 1, domain=rod, part="x_high", **DRAWING),
        "mean": pde.Operator(
            lambda u: u,
            rod.grid(11, **DRAWING),
            domain=rod,
            quadrature=torch.full((11,), 1 / 11),
            value=1.0,
        ),
    }
    torch.manual_seed(0)
    net = nn.MLP(1, [6], 1).double()
    model = models.PINN(net, conditions, equation=Straight(), points=20)
    assert any(p is h for p in model.parameters())
    model.fit([Adam(20), LBFGS(200)], progress=False)
    x = rod.grid(5, **DRAWING)
    torch.testing.assert_close(net(x), x + 0.5, rtol=0, atol=1e-4)
    assert math.isclose(h.item(), 4 / 3, abs_tol=1e-3)


def test_all_other_inputs_of_a_residual():
    class Source(pde.Equation):
        inputs, outputs = "tx", "u"

        def residual(self, u, **x):
            return u.t - sum(torch.sin(value) for value in x.values())

    net, z = network(2, 1), points(9, 2)
    d = Autograd(net, z)
    check(pde.Operator(Source(), z), d(d.u, 0) - torch.sin(d.t) - torch.sin(d.x1), net)
    sums = pde.Operator(lambda u, **x: u - sum(x.values()), z, inputs="tx")
    check(sums, d.u - d.t - d.x1, net)
    with pytest.raises(ValueError, match=r"value: expected a function of coordinates that the poi"):
        pde.Operator(
            lambda u: u, z, inputs="tx", quadrature=torch.ones(9), value=lambda **c: c["x"]
        )


def test_names_that_mean_two_things_are_refused():
    plate = pde.Box(x=(0, 1), n=(0, 1))
    with pytest.raises(
        ValueError, match=r"\.n: expected .* read in one way.*x, n; rename an input"
    ):
        pde.Operator(lambda u: u.n, 4, domain=plate)
    net, z = network(2, 1), points(5, 2)
    d = Autograd(net, z)
    check(pde.Operator(lambda u: u.n, z, inputs="xn"), d(d.u, 1), net)


def test_arguments_with_a_default_keep_it():
    net, z = network(2, 1), points(6, 2)
    d = Autograd(net, z)
    for h in (2.0, 3.0):
        robin = pde.Operator(lambda u, h=h: u.x + h * u, z, inputs="tx")
        check(robin, d(d.u, 1) + h * d.u, net)

    class Decay(pde.Equation):
        inputs, outputs = "tx", "u"

        def residual(self, u, x=None, rate=1.5):
            return u.t + rate * u * x

    check(pde.Operator(Decay(), z), d(d.u, 0) + 1.5 * d.u * d.x1, net)
