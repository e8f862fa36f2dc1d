"""PINN: loss terms, points, predictions, and what it refuses before training."""

import math

import pytest
import torch

from pyneural import models, nn, pde

BURGERS = pde.Burgers()


def network(dtype=torch.float64, outputs=1):
    torch.manual_seed(0)
    return nn.MLP(2, [8, 8], outputs, input_range=BURGERS.domain.range).to(dtype)


def conditions(dtype=torch.float64, count=20):
    return BURGERS.conditions(count, generator=torch.Generator().manual_seed(0), dtype=dtype)


def pinn(**options):
    options = {"equation": BURGERS, "points": 50} | options
    return models.PINN(network(), conditions(), **options)


def test_terms_are_those_of_conditions_and_equation():
    model = pinn()
    terms = model.losses()
    assert list(terms) == ["initial", "boundary", "residual"] == list(model.weights)
    net = model.network
    assert torch.equal(terms["initial"], model.conditions["initial"].loss(net))
    expected = BURGERS.residuals(net, model.collocation)[0].square().mean()
    torch.testing.assert_close(terms["residual"], expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_reach_every_parameter(dtype):
    model = models.PINN(network(dtype), conditions(dtype), equation=BURGERS, points=50)
    sum(model.losses().values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_coefficient_of_the_equation_is_a_parameter():
    equation = pde.Burgers(torch.nn.Parameter(torch.tensor(0.1, dtype=torch.float64)))
    model = pinn(equation=equation)
    model.losses()["residual"].backward()
    assert equation.nu in set(model.parameters())
    assert equation.nu.grad.abs() > 0


def test_without_equation_it_is_a_network_on_data():
    model = pinn(equation=None, domain=BURGERS.domain)
    assert list(model.losses()) == ["initial", "boundary"]
    assert "collocation" not in model.state_dict()


def test_hard_conditions_need_no_others():
    hard = BURGERS.hard(network())
    model = models.PINN(hard, {}, equation=BURGERS, points=50)
    assert list(model.losses()) == ["residual"]
    assert model.predict(torch.tensor([[0.0, 0.5]])).item() == pytest.approx(-1.0)


def test_one_generator_makes_the_points():
    def points(seed):
        return pinn(generator=torch.Generator().manual_seed(seed)).collocation

    assert torch.equal(points(1), points(1))
    assert not torch.equal(points(1), points(2))


def test_adaptive_points_follow_the_residual():
    model = pinn(points=400, adaptive=True, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.mul_(3)  # makes a residual with peaks

    def mean_residual(x):
        return float(BURGERS.residuals(model.network, x)[0].detach().abs().mean())

    before = mean_residual(model.collocation)
    model.begin_phase(1)
    assert model.collocation.shape == (400, 2)
    BURGERS.domain.check(model.collocation)
    assert mean_residual(model.collocation) > 1.2 * before


def test_state_dict_moves_points_and_generator():
    one, other = pinn(adaptive=True), pinn(adaptive=True)
    one.begin_phase(1)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.collocation, other.collocation)
    one.begin_phase(2)
    other.begin_phase(2)
    assert torch.equal(one.collocation, other.collocation)


def test_relative_l2():
    model = pinn()
    x, exact = BURGERS.test_grid()
    expected = (model.network(x).detach() - exact).norm() / exact.norm()
    assert model.relative_l2(x, exact) == pytest.approx(float(expected), rel=1e-12)
    assert model.relative_l2(x, 2 * model.predict(x)) == pytest.approx(0.5)
    with pytest.raises(ValueError, match=r"exact: expected \[25600, 1\], got \[25600\]"):
        model.relative_l2(x, exact[:, 0])
    with pytest.raises(ValueError, match="not zero everywhere"):
        model.relative_l2(x, exact * 0)


OUTSIDE = torch.tensor([[0.5, 0.0], [0.5, 1.5]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"conditions": {}}, r"PINN: conditions: expected at least one, got none; .*give initial"),
        (
            {"conditions": {"data": pde.Data(OUTSIDE, OUTSIDE[:, 0])}},
            r"PINN: conditions\['data'\]: expected points in Box.* got 1 of 2 outside, .* x=1.5",
        ),
        ({"points": OUTSIDE}, r"PINN: points: expected points in Box.* got 1 of 2 outside"),
        ({"points": OUTSIDE[:0]}, r"PINN: points: expected at least 1 point, got none"),
        ({"points": OUTSIDE[:, :1]}, r"PINN: points: expected .*\[N, 2\]"),
        ({"points": 0}, "at least 1 point, got 0"),
        (
            {"conditions": conditions(torch.float32)},
            r"conditions\['initial'\]: expected dtype torch.float64 like the network, got "
            r"torch.float32; give dtype=torch.float64",
        ),
        ({"points": OUTSIDE.float()}, "points: expected dtype torch.float64 like the network"),
        ({"points": OUTSIDE.to("meta")}, "points: expected device cpu like the network, got meta"),
        ({"conditions": {"residual": conditions()["initial"]}}, "a name other than 'residual'"),
        ({"conditions": {"data": 3}}, r"conditions\['data'\]: expected a pde.Condition.*got int"),
        ({"weights": {"edge": 1}}, "weights: expected names of initial, boundary, residual, got"),
        ({"weights": {"initial": -1}}, r"weights\['initial'\]: expected a finite number >= 0"),
        ({"weights": {"initial": math.inf}}, r"weights\['initial'\]: expected a finite"),
        ({"equation": None}, "PINN: domain: expected a pde.Box, got NoneType"),
        (
            {"network": network(outputs=2)},
            "expected 2 columns, one per output of the network, got 1",
        ),
        (
            {"network": network(torch.float16), "conditions": conditions(torch.float16)},
            "x: expected float32 or float64, got",
        ),
        ({"sampling": "grid"}, "sampling: expected one of uniform, lhs, sobol, got 'grid'"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value[:40],
)
def test_bad_input_is_refused_before_training(options, message):
    options = {"network": network(), "conditions": conditions(), "equation": BURGERS} | options
    with pytest.raises(ValueError, match=message):
        models.PINN(options.pop("network"), options.pop("conditions"), **options)
