from __future__ import annotations

import math

import pytest
import torch

from pyneural.nn import MLP
from pyneural.pde import SAMPLINGS, Box, Data, Dirichlet, Initial, Neumann, Periodic

BOX = Box(t=(0, 1), x=(-1, 2), y=(0, 1))


class Waves(torch.nn.Module):
    """u = sin(2 pi x / 3 + t), v = x^2 y, with their first derivatives."""

    k = 2 * math.pi / 3

    def forward(self, z):
        return self.jet(z, ())[0]

    def jet(self, z, derivatives):
        t, x, y = z.T
        phase, zero = self.k * x + t, torch.zeros_like(t)
        table = {
            (): (torch.sin(phase), x**2 * y),
            (0,): (torch.cos(phase), zero),
            (1,): (self.k * torch.cos(phase), 2 * x * y),
            (2,): (zero, x**2),
            (1, 1): (-(self.k**2) * torch.sin(phase), 2 * y),
        }
        return tuple(torch.stack(table[tuple(i)], 1) for i in ((), *derivatives))


DRAWING = {"dtype": torch.float64}
SATISFIED = {
    "initial": lambda: Initial(BOX, lambda x: torch.sin(Waves.k * x), 20, output=0, **DRAWING),
    "initial rate": lambda: Initial(
        BOX, lambda x: torch.cos(Waves.k * x), 20, order=1, output=0, **DRAWING
    ),
    "initial, two outputs": lambda: Initial(
        BOX, lambda y, x: torch.stack([torch.sin(Waves.k * x), x**2 * y], 1), 20, **DRAWING
    ),
    "value": lambda: Dirichlet(BOX, lambda x, y: x**2 * y, 21, output=1, **DRAWING),
    "value on one face": lambda: Dirichlet(
        BOX, 0.0, 9, coordinate="y", side="low", output=1, **DRAWING
    ),
    "slope": lambda: Neumann(
        # Outward: -2 x y at x = -1, 2 x y at x = 2, -x^2 at y = 0, x^2 at y = 1.
        BOX,
        lambda x, y: torch.where(
            x == -1, -2 * x * y, torch.where(x == 2, 2 * x * y, torch.where(y == 0, -(x**2), x**2))
        ),
        40,
        output=1,
        **DRAWING,
    ),
    "slope on one face": lambda: Neumann(
        BOX, lambda y: 4 * y, 9, coordinate="x", side="high", output=1, **DRAWING
    ),
    "periodic": lambda: Periodic(BOX, "x", 15, order=2, output=0, **DRAWING),
    "periodic value": lambda: Periodic(BOX, "x", 15, order=0, output=0, **DRAWING),
    "data": lambda: Data(
        BOX.grid(2, 2, 2, **DRAWING), Waves()(BOX.grid(2, 2, 2, **DRAWING)), domain=BOX
    ),
}


@pytest.mark.parametrize("name", SATISFIED)
def test_a_function_that_meets_the_condition_has_no_loss(name):
    condition = SATISFIED[name]()
    assert BOX.contains(condition.points).all()
    assert condition.loss(Waves()) < 1e-24
    other = MLP(3, [6], 2).double()
    loss = condition.loss(other)
    loss.backward()
    assert loss > 1e-4
    assert sum(p.grad.abs().sum() for p in other.parameters() if p.grad is not None) > 0


def test_periodic_tells_a_jump_from_a_kink():
    value, slope = Periodic(BOX, "x", 50, output=1, **DRAWING).residuals(Waves())
    y = value / 3  # x^2 y jumps by (4 - 1) y, its slope by (4 + 2) y
    torch.testing.assert_close(slope, 6 * y)
    assert y.abs().max() > 0.5


def test_loss_is_the_mean_over_points_summed_over_outputs():
    points, values = torch.rand(8, 2), torch.rand(8, 2)
    loss = Data(points, values).loss(lambda x: torch.zeros(len(x), 2))
    torch.testing.assert_close(loss, values.square().sum() / 8)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_points_are_drawn_from_the_generator(sampling):
    def draw(seed):
        g = torch.Generator().manual_seed(seed)
        return Dirichlet(BOX, 0.0, 12, sampling=sampling, generator=g).points

    assert torch.equal(draw(0), draw(0))
    assert not torch.equal(draw(0), draw(1))


def test_given_points_keep_their_dtype_and_order():
    points = torch.tensor([[0.3, 2.0], [0.1, -1.0], [0.2, 2.0]], dtype=torch.float64)
    slope = Neumann(Box(t=(0, 1), x=(-1, 2)), torch.tensor([1.0, 2.0, 3.0]), points)
    assert torch.equal(slope.points, points)
    assert slope.target.dtype == torch.float64
    assert slope.normals[:, 1].tolist() == [1.0, -1.0, 1.0]
    assert slope.float().points.dtype == torch.float32
    assert not slope.state_dict()


ONE = Box(t=(0, 1), x=(-1, 1))


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: Initial(ONE, 0.0, 0), "Initial: points: expected at least 1, got 0"),
        (lambda: Initial(ONE, 0.0, torch.zeros(0, 2)), "at least 1 point"),
        (lambda: Initial(Box(x=(0, 1)), 0.0, 3), "expected a coordinate t"),
        (lambda: Initial(ONE, 0.0, torch.tensor([[0.5, 0.0]])), r"with t = 0, got \[0.5, 0.0\]"),
        (lambda: Initial(ONE, 0.0, torch.tensor([[0.0, 3.0]])), "Initial: points: .*outside"),
        (
            lambda: Initial(ONE, lambda y: y, 3),
            "argument 'y'.*expected one of the coordinates t, x",
        ),
        (lambda: Initial(ONE, lambda x: x[:2], 3), r"expected \[3\] or \[3, O\].*got \[2\]"),
        (
            lambda: Initial(ONE, torch.zeros(4), torch.zeros(3, 2)),
            r"value: expected \[3\].*got \[4, 1\]",
        ),
        (lambda: Initial(ONE, torch.zeros(3), 3), r"Initial: value: .* drawn, got values \[3\], w"),
        (lambda: Dirichlet(ONE, torch.zeros(4, 1), 4), r"Dirichlet: value: .*got values \[4, 1\]"),
        (lambda: Neumann(ONE, [0.0, 1.0], 2), r"Neumann: value: .* give these as points=, or a f"),
        (
            lambda: Dirichlet(ONE, torch.nn.Parameter(torch.zeros(4)), 4),
            r"Dirichlet: value: expected a number or a function for points that are drawn",
        ),
        (lambda: Initial(ONE, lambda x: x / 0, 3), "value: expected finite"),
        (
            lambda: Initial(ONE, torch.zeros(3, 2), torch.zeros(3, 2), output=0),
            r"\[3, 1\].*got \[3, 2\]",
        ),
        (lambda: Dirichlet(ONE, 0.0, 0), "Dirichlet: points: expected at least 1"),
        (lambda: Dirichlet(ONE, 0.0, 3, coordinate="z"), "Dirichlet: coordinate: .*got 'z'"),
        (lambda: Dirichlet(ONE, 0.0, 3, side="left"), "side: expected 'low', 'high' or 'both'"),
        (lambda: Dirichlet(ONE, 0.0, torch.zeros(1, 2)), "with x = -1 or x = 1, got"),
        (lambda: Dirichlet(Box(t=(0, 1)), 0.0, 3), "expected a spatial coordinate"),
        (lambda: Neumann(ONE, 0.0, 0), "Neumann: points"),
        (lambda: Periodic(ONE, "z", 3), "Periodic: coordinate"),
        (lambda: Periodic(ONE, "x", 0), "Periodic: points"),
        (lambda: Data(torch.zeros(0, 2), torch.zeros(0)), r"points: expected \[N, D\]"),
        (lambda: Data(torch.full((1, 2), math.nan), torch.zeros(1)), "points: expected finite"),
        (lambda: Data(torch.zeros(3, 2), torch.zeros(4)), r"value: expected \[3\]"),
        (
            lambda: Data(torch.tensor([[0, 5.0]]), torch.zeros(1), domain=ONE),
            "Data: .*first t=0, x=5",
        ),
        (lambda: Dirichlet(ONE, 0.0, "10"), "Dirichlet: points: expected a whole number, got '10'"),
        (lambda: Periodic(ONE, "x", 2.5), "Periodic: points: expected a whole number, got 2.5"),
        (lambda: Neumann(ONE, 0.0, None), "Neumann: points: expected a whole number, got None"),
        (lambda: Dirichlet(ONE, 0.0, 4, output="u"), "Dirichlet: output: expected a whole number"),
        (lambda: Initial(ONE, 0.0, 4, output=0.0), "Initial: output: expected a whole number, got"),
        (lambda: Dirichlet(ONE, 0.0, 4, output=True), "Dirichlet: output: .* number, got True"),
        (lambda: Dirichlet(ONE, "0", 4), "Dirichlet: value: expected a number, .* got str"),
        (lambda: Neumann(ONE, None, 4), "Neumann: value: expected a number, .* got NoneType"),
        (lambda: Initial(ONE, 1j, 4), "Initial: value: expected a number, .* got complex"),
        (
            lambda: Initial(ONE, lambda x: math.sin(x), 4),
            r"Initial: function: .* takes them for one number .*write torch.sin\(x\) for math.sin",
        ),
        (
            lambda: Dirichlet(ONE, lambda t: 1.0 if t > 0.5 else 0.0, 4),
            r"Dirichlet: function: .* one number .*torch.where\(x > 0, a, b\) for a decision",
        ),
    ],
)
def test_bad_conditions_are_refused_before_training(build, text):
    with pytest.raises(ValueError, match=text):
        build()


def test_a_target_for_other_outputs_is_refused():
    condition = Data(torch.zeros(3, 2), torch.zeros(3, 2))
    with pytest.raises(ValueError, match=r"expected 3 columns.*got 2"):
        condition.loss(lambda x: torch.zeros(len(x), 3))
    for output in (2, -1):
        condition = Dirichlet(ONE, 0.0, 4, output=output)
        with pytest.raises(ValueError, match=f"output: expected 0 to 1.*got {output}"):
            condition.loss(lambda x: torch.zeros(len(x), 2))


def test_measurements_of_one_output_are_not_compared_with_all():
    condition = Data(torch.zeros(3, 2), torch.ones(3))
    with pytest.raises(ValueError, match=r"expected 2 columns.*got 1.*by output="):
        condition.loss(lambda x: torch.zeros(len(x), 2))
    zero = Dirichlet(ONE, 0.0, 4)
    assert zero.loss(lambda x: torch.ones(len(x), 2)) == 2


def test_measurements_as_a_function_of_coordinates():
    points = torch.rand(4, 2)
    data = Data(points, lambda x, t: t - x, domain=ONE)
    torch.testing.assert_close(data.target[:, 0], points[:, 0] - points[:, 1])
    with pytest.raises(ValueError, match=r"'x' of the function: expected none .*; give domain="):
        Data(points, lambda x: x)


def test_unknown_keywords_are_refused():
    for points in (4, torch.tensor([[0.5, 1.0]])):
        with pytest.raises(TypeError, match="Dirichlet: unexpected keyword sampler"):
            Dirichlet(ONE, 0.0, points, sampler="lhs")


class Spied(MLP):
    """Counts calls of the fused loss."""

    calls = 0

    def jet_loss(self, *arguments):
        self.calls += 1
        return super().jet_loss(*arguments)


@pytest.mark.parametrize("name", SATISFIED)
@pytest.mark.parametrize("is_weighted", [False, True])
def test_fused_losses_equal_those_of_the_jets(name, is_weighted):
    condition, network = SATISFIED[name](), MLP(3, [6], 2, input_range=BOX.range).double()
    spied = Spied(3, [6], 2, input_range=BOX.range).double()
    spied.load_state_dict(network.state_dict())
    weights = torch.rand(len(condition.points), dtype=torch.float64) if is_weighted else None
    parts = condition.residuals(network)
    squares = sum(part.square().sum(1) for part in parts)
    expected = (squares if weights is None else weights * squares).mean()
    for way in (network, spied):
        loss = condition.loss(way, weights)
        torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
        found = torch.autograd.grad(loss, way.parameters(), materialize_grads=True)
        wanted = torch.autograd.grad(
            expected, network.parameters(), materialize_grads=True, retain_graph=True
        )
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-10)
    # Subclasses may compute their value in another way, so that it is called for it.
    has_derivatives = any(derivative for derivative, _ in condition.terms())
    assert spied.calls == (has_derivatives and not isinstance(condition, Periodic))
    hooked = MLP(3, [6], 2, input_range=BOX.range).double()
    hooked.load_state_dict(network.state_dict())
    hooked.register_forward_hook(lambda module, x, u: 2 * u)
    if name == "value":
        doubled = (condition.target - 2 * network(condition.points)[:, 1:]).square().mean()
        torch.testing.assert_close(condition.loss(hooked), doubled)


@pytest.mark.parametrize("order", [-1, 5, 1.5])
def test_orders_that_there_are_not_are_refused(order):
    for make in (
        lambda: Initial(BOX, 0.0, 4, order=order),
        lambda: Periodic(BOX, "x", 4, order=order),
    ):
        with pytest.raises(
            ValueError, match=r"(Initial|Periodic): order: expected (0 to 4|a whole)"
        ):
            make()


def test_learned_weights_of_zero_have_gradients():
    network, start = MLP(3, [5], 1).double(), Initial(BOX, 0.5, 4, dtype=torch.float64)
    weights = torch.tensor([0.0, 0.0, 1.0, 2.0], dtype=torch.float64, requires_grad=True)
    start.loss(network, weights).backward()
    torch.testing.assert_close(weights.grad, start.residuals(network)[0][:, 0].square() / 4)
