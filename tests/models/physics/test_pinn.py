"""PINN: loss terms, points, predictions, and what it refuses before training."""

import math
from itertools import pairwise

import pytest
import torch

from pyneural import models, nn, pde
from pyneural.training import LBFGS, Adam, Descent, Task, callbacks
from pyneural.training.solvers.objective import Objective, clear_gradients

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
        (
            {"conditions": list(conditions().values())},
            "PINN: conditions: expected a dict of conditions by name, got list; write",
        ),
        (
            {"conditions": {"x.low": conditions()["initial"]}},
            r"conditions\['x.low'\]: expected a name without dots",
        ),
        (
            {"conditions": {"values": conditions()["initial"]}},
            r"conditions\['values'\]: .*ModuleDict has no attribute of",
        ),
        (
            {"equation": pde.Burgers},
            r"PINN: equation: expected a pde.Equation .*got the class Burgers; .*Burgers\(\)",
        ),
        ({"equation": lambda u: u.t}, "PINN: equation: expected a pde.Equation .* got function"),
        ({"network": torch.tanh}, "PINN: network: expected a torch.nn.Module, got builtin"),
        ({"network": nn.MLP}, "PINN: network: expected a torch.nn.Module, got the class MLP"),
        (
            {"network": torch.nn.Identity()},
            "PINN: network: expected one with parameters to learn, got Identity without any",
        ),
        ({"conditions": {"data": 3}}, r"conditions\['data'\]: expected a pde.Condition.*got int"),
        ({"weights": {"edge": 1}}, "weights: expected names of initial, boundary, residual, got"),
        ({"weights": {"initial": -1}}, r"weights\['initial'\]: expected a finite number >= 0"),
        ({"weights": {"initial": math.inf}}, r"weights\['initial'\]: expected a finite"),
        ({"equation": None}, "PINN: domain: expected a domain, got NoneType"),
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


def trained(model, *phases, **options):
    return model.fit(list(phases), progress=False, **options)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"reference": (OUTSIDE, OUTSIDE[:, 0])},
            ValueError,
            r"PINN.relative_l2: exact: expected \[2, 1\], got \[2\]; give one row a point",
        ),
        ({"reference": OUTSIDE}, ValueError, "PINN.fit: reference: expected points and the sol"),
        ({"reference": (OUTSIDE,)}, ValueError, "solution there, got 1 of them; write reference="),
        (
            {"callbacks": callbacks.AdaptivePoints()},
            TypeError,
            "PINN.fit: callbacks: expected a list of Callback, got AdaptivePoints",
        ),
        ({"phases": Adam}, TypeError, r"phases: expected phases of training, got the class Adam"),
        ({"phases": 1000}, TypeError, r"got 1000; write Adam\(1000\) or LevenbergMarquardt\(100"),
        ({"phases": ["adam"]}, TypeError, "phases: expected phases of training, got 'adam'"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else None,
)
def test_what_cannot_be_fitted_with_is_refused_before_the_first_step(options, error, message):
    model = pinn()
    before = [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(error, match=message):
        model.fit(**({"phases": Adam(2), "progress": False, "steps_per_epoch": 1} | options))
    assert all(map(torch.equal, model.parameters(), before))


def test_fit_has_the_error_and_stops_early_by_it():
    reference = BURGERS.test_grid()
    stop = callbacks.EarlyStopping("error", min_delta=10.0, patience=2)
    model = pinn()
    report = trained(model, Adam(50), steps_per_epoch=5, reference=reference, callbacks=[stop])
    assert report.steps == 15
    assert report.reason.startswith("EarlyStopping: error was best in epoch 1")
    assert report.history["error"][-1] == pytest.approx(model.relative_l2(*reference), rel=1e-12)
    assert report.step_history.terms("residual")[-1] == pytest.approx(
        report.step_history.rows[-1][2]
    )


def test_resampling_every_n_steps_uniform_and_adaptive():
    for adaptive in (False, True):
        model, seen = pinn(), []
        more = [
            callbacks.Resample(4, adaptive=adaptive),
            callbacks.Every(2, lambda run, seen=seen: seen.append(run.model.collocation)),
        ]
        trained(model, Adam(6), LBFGS(4), callbacks=more)
        changes = [not torch.equal(a, b) for a, b in pairwise(seen)]
        assert changes == [True, False, True, False]
        BURGERS.domain.check(model.collocation)
    with pytest.raises(ValueError, match=r"PINN.resample: equation: expected one, got None"):
        trained(
            pinn(equation=None, domain=BURGERS.domain), Adam(1), callbacks=[callbacks.Resample(1)]
        )


def test_lbfgs_forgets_the_points_that_are_gone():
    model = pinn()
    report = trained(model, LBFGS(6), callbacks=[callbacks.Resample(3)])
    with torch.no_grad():
        expected = float(model.losses()["residual"])
    assert report.steps == 6
    # After step 6 the points are new, those of the last loss are gone.
    assert report.step_history.rows[-1][2] != pytest.approx(expected, rel=1e-9)
    solver, other = LBFGS(5).begin(Task(model)), pinn()
    solver.step(None)
    model.resample(adaptive=False)
    other.load_state_dict(model.state_dict())
    solver.objective_changed()
    solver.step(None)
    LBFGS(5).begin(Task(other)).step(None)
    for mine, expected in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, expected)


def test_batches_of_points_see_each_point_once_an_epoch():
    model, seen = pinn(points=50), []
    loss = model.equation.loss

    def spy(u, x):
        seen.append(x)
        return loss(u, x)

    equation = BURGERS.__class__(BURGERS.nu)
    equation.loss = spy
    model.equation = equation
    report = trained(model, Adam(10), batch_size=20)
    assert [len(x) for x in seen] == [20, 20, 10] * 3 + [20]
    first = torch.cat(seen[:3])
    assert sorted(first[:, 0].tolist()) == sorted(model.collocation[:, 0].tolist())
    assert not torch.equal(first, torch.cat(seen[3:6]))
    assert len(report.history) == 4
    for bad in (0, 2.5):
        with pytest.raises(ValueError, match="batch_size: expected a whole number >= 1"):
            trained(pinn(), Adam(1), batch_size=bad)
    with pytest.raises(ValueError, match="batch_size: expected None without an equation"):
        trained(pinn(equation=None, domain=BURGERS.domain), Adam(1), batch_size=5)


def test_weights_are_live():
    model = pinn()
    objective = Objective(model)

    def gradient(weight):
        model.weights["initial"] = weight
        clear_gradients(objective.parameters)
        objective.evaluate(None)
        return torch.cat([p.grad.flatten() for p in model.network.parameters()])

    low, high, higher = gradient(1.0), gradient(2.0), gradient(3.0)
    torch.testing.assert_close(higher - high, high - low)
    assert (high - low).norm() > 0
    model = pinn(weights={"boundary": 5.0})
    schedule = callbacks.LossWeights(lambda run: {"initial": 1.0 + run.steps}, n=2)
    trained(model, Adam(5), callbacks=[schedule])
    assert model.weights == {"initial": 5.0, "boundary": 5.0, "residual": 1.0}


def everything(path=None, pause=-1, **options):
    reference = tuple(part[::100] for part in BURGERS.test_grid())
    model = pinn(generator=torch.Generator().manual_seed(0), adaptive=True)
    more = [
        callbacks.Every(1, lambda run: run.pause("now") if run.steps == pause else None),
        callbacks.Resample(7, adaptive=True),
        callbacks.LossWeights(lambda run: {"initial": 1 + run.steps / 10}, n=3),
        callbacks.EMA(0.9),
        callbacks.EarlyStopping("error", patience=50),
        callbacks.ReduceLROnPlateau("error", patience=1, min_delta=1.0),
    ]
    report = trained(
        model, Adam(10), LBFGS(8), Descent("adam", steps=6), callbacks=more, checkpoint=path,
        every=1e9, steps_per_epoch=4, reference=reference, **options,
    )  # fmt: skip
    return model, report


@pytest.mark.parametrize("batch_size", [None, 20])
def test_fit_with_all_callbacks_is_resumed_bit_by_bit(tmp_path, batch_size):
    whole, expected = everything(batch_size=batch_size)
    for stop in (3, 10, 14, 23):
        path = tmp_path / f"{stop}.safetensors"
        _, report = everything(path, stop, batch_size=batch_size)
        assert (report.reason, report.steps) == ("now", stop)
        torch.rand(3)
        model, report = everything(path, resume=True, batch_size=batch_size)
        assert torch.equal(model.get_extra_state(), whole.get_extra_state())
        for name, value in whole.state_dict().items():
            assert torch.equal(value, model.state_dict()[name]), (stop, name)
        assert repr(report.history.history) == repr(expected.history.history)
        assert report.step_history.rows == expected.step_history.rows


def test_a_bad_coefficient_is_named_with_its_step():
    model = pinn()
    bad = callbacks.Every(3, lambda run: run.model.network.layers[0].weight.data.fill_(math.nan))
    with pytest.raises(FloatingPointError, match=r"'initial'.* nan at step 4 of phase 1 \(Adam\)"):
        trained(model, Adam(10), callbacks=[bad])


def test_weights_alone_in_a_file(tmp_path):
    one, other = pinn(), pinn()
    trained(one, Adam(3))
    one.save(tmp_path / "pinn.safetensors")
    other.load(tmp_path / "pinn.safetensors")
    x = BURGERS.test_grid()[0][:10]
    assert torch.equal(one.predict(x), other.predict(x))
