"""Weights of the terms of a PINN: live, scheduled, learned, one for each equation of a system."""

from functools import partial

import pytest
import torch

from pyneural import models, nn, pde
from pyneural.training import LBFGS, Adam, Descent, Task, callbacks
from pyneural.training.solvers.objective import Objective
from tests.pde.expressions import JetOnly

BOX = pde.Box(t=(0, 1), x=(-1, 1))


class System(pde.Equation):
    inputs, outputs, domain = "tx", "uv", BOX

    def residual(self, u, v):
        return u.t - v.x + 0.5 * u.xx, v.t + u * u.x, u.x - v


class Heat(pde.Equation):
    inputs, outputs, domain = "tx", "u", BOX

    def residual(self, u):
        return u.t - u.xx


def network(outputs=1):
    torch.manual_seed(0)
    return nn.MLP(2, [6], outputs).double()


def pinn(equation=None, net=None, **options):
    equation = Heat() if equation is None else equation
    net = network(len(equation.outputs)) if net is None else net
    drawing = {"generator": torch.Generator().manual_seed(0), "dtype": torch.float64}
    conditions = {
        "initial": pde.Initial(BOX, lambda x: x**2, 6, output=0, **drawing),
        "walls": pde.Dirichlet(BOX, 0.0, 6, **drawing),
    }
    generator = torch.Generator().manual_seed(1)
    return models.PINN(
        net, conditions, equation=equation, points=20, generator=generator, **options
    )


def number(value):
    return torch.nn.Parameter(torch.tensor(value, dtype=torch.float64))


def flat(parameters):
    return torch.cat([p.detach().flatten() for p in parameters])


def gradient_of(model, weights):
    """Of the network, by torch.autograd alone from the unweighted terms."""
    terms = model.losses()
    total = sum(weights[name] * term for name, term in terms.items())
    return torch.cat([g.flatten() for g in torch.autograd.grad(total, model.network.parameters())])


@pytest.mark.parametrize("phase", [LBFGS(6), Adam(6, lr=1e-3), Descent("sgd", steps=6)])
def test_a_weight_set_between_steps_is_that_of_the_next_gradient(phase):
    model, seen = pinn(), []
    wanted = {"initial": 1.0, "walls": 1.0, "residual": 1.0}
    solver = phase.begin(Task(model))
    parameters = list(model.network.parameters())
    for _step in range(3):
        before = flat(parameters)
        expected = gradient_of(model, wanted)
        solver.step(None)
        if isinstance(phase, LBFGS):  # a first iteration goes along the gradient
            step = flat(parameters) - before
            seen.append(torch.nn.functional.cosine_similarity(step, -expected, dim=0))
        else:
            found = torch.cat([p.grad.flatten() for p in parameters])
            torch.testing.assert_close(found, expected)
        wanted["initial"] *= 100
        model.weights["initial"] = wanted["initial"]
    assert all(cosine > 1 - 1e-9 for cosine in seen)


def test_functions_of_the_step_are_followed_and_resumed(tmp_path):
    def train(pause=-1, **options):
        weights = {"initial": lambda step: 1 + step, "walls": 3.0, "residual": number(2.0)}
        model, seen = pinn(weights=weights), []

        def look(run):
            seen.append(run.model.weights["initial"])
            if run.steps == 2:
                run.model.weights["walls"] = 7.0
            if run.steps == pause:
                run.pause("now")

        more = [callbacks.Every(1, look)]
        model.fit([Adam(4), LBFGS(3)], callbacks=more, progress=False, **options)
        return model, seen

    whole, seen = train()
    assert seen == [2, 3, 4, 5, 6, 7, 8]
    for stop in (2, 3, 5):
        path = {"checkpoint": tmp_path / f"{stop}.safetensors"}
        train(stop, **path)
        model, rest = train(resume=True, **path)
        assert rest == seen[stop:]
        assert model.weights["walls"] == 7.0
        for name, value in whole.state_dict().items():
            assert torch.equal(value, model.state_dict()[name]), (stop, name)


def test_weights_of_equations_that_were_changed_are_resumed(tmp_path):
    def train(steps, **options):
        model = pinn(System(), weights={"residual": (1, 2, 3)})

        def change(run):
            if run.steps == 2:
                run.model.weights["residual"] = (4, 5, 6)

        more = [callbacks.Every(1, change)]
        model.fit(Adam(steps, final=1.0), callbacks=more, progress=False, **options)
        return model

    path = {"checkpoint": tmp_path / "run.safetensors"}
    train(3, **path)
    model, whole = train(5, resume=True, **path), train(5)
    assert model.weights["residual"] == whole.weights["residual"] == (4, 5, 6)
    assert torch.equal(flat(model.network.parameters()), flat(whole.network.parameters()))


def test_learned_weights_ascend_while_the_network_descends():
    weight, lr = number(2.0), 0.01
    model = pinn(weights={"walls": weight, "initial": 5})
    assert any(p is weight for p in model.parameters())
    before = flat(model.network.parameters())
    terms = {name: term.item() for name, term in model.losses().items()}
    gradient = gradient_of(model, {"walls": 2.0, "initial": 5, "residual": 1})
    sgd = Descent(partial(torch.optim.SGD, lr=lr), steps=1)
    report = model.fit(sgd, progress=False)
    assert weight.item() == pytest.approx(2 + lr * terms["walls"], rel=1e-12)
    torch.testing.assert_close(flat(model.network.parameters()), before - lr * gradient)
    total = weight.item() * terms["walls"] + 5 * terms["initial"] + terms["residual"]
    assert report.phases[0].loss == pytest.approx(total)
    frozen = weight.item()
    model.fit(LBFGS(3), progress=False)
    assert weight.item() == frozen
    assert model.weights["walls"] is weight


@pytest.mark.parametrize("fused", [True, False])
def test_each_equation_of_a_system_has_its_weight(fused):
    system, weight = System(), number(3.0)
    net = network(2) if fused else JetOnly(network(2))
    model = pinn(system, net, weights={"residual": (0.5, weight, lambda step: 1 + step)})
    squares = [r.square().mean() for r in system.residuals(net, model.collocation)]
    found = model.losses()["residual"]
    torch.testing.assert_close(found, 0.5 * squares[0] + 3 * squares[1] + squares[2])
    wanted = [*net.parameters(), weight]
    expected = torch.autograd.grad(0.5 * squares[0] + 3 * squares[1] + squares[2], wanted[:-1])
    *gradients, ascent = torch.autograd.grad(found, wanted)
    torch.testing.assert_close(gradients, list(expected))
    torch.testing.assert_close(ascent, -squares[1].detach())
    model.fit(Descent("sgd", steps=2), progress=False)
    assert model.weights["residual"] == (0.5, weight, 3.0)
    assert weight > 3
    assert list(model.learned_weights.state_dict()) == ["residual[1]"]
    model.weights["residual"] = 2.0
    assert (model.weights["residual"], list(model.learned_weights)) == (2.0, [])
    torch.testing.assert_close(model.losses()["residual"], system.loss(net, model.collocation))


@pytest.mark.parametrize("fused", [True, False])
def test_weights_of_single_points_ascend_each_for_itself(fused):
    """The self-adaptive weights of McClenny and Braga-Neto, arXiv:2009.04544, equation 12."""
    heat, lr = Heat(), 0.01
    net = network() if fused else JetOnly(network())
    own = torch.nn.Parameter(torch.rand(20, dtype=torch.float64) + 0.5)
    fixed = torch.rand(6, dtype=torch.float64)
    model = pinn(heat, net, weights={"residual": own, "walls": fixed})
    before, start = flat(net.parameters()), own.detach().clone()
    squares = heat.residuals(net, model.collocation)[0].square()
    walls = model.conditions["walls"]
    of_walls = (fixed * net(walls.points)[:, 0].square()).mean()
    initial = model.losses()["initial"]
    torch.testing.assert_close(model.losses()["walls"], of_walls)
    total = (start * squares).mean() + of_walls + initial
    gradient = torch.autograd.grad(total, net.parameters())
    model.fit(Descent(partial(torch.optim.SGD, lr=lr), steps=1), progress=False)
    torch.testing.assert_close(own.detach(), start + lr * squares.detach() / 20)
    expected = before - lr * torch.cat([g.flatten() for g in gradient])
    torch.testing.assert_close(flat(net.parameters()), expected)
    assert model.weights["residual"] is own
    assert torch.equal(model.weights["walls"], fixed)
    assert list(model.learned_weights.state_dict()) == ["residual"]
    model.fit(Descent("sgd", steps=3), batch_size=7, progress=False)
    with pytest.raises(
        ValueError, match="resample: expected points that may be drawn anew, got wei"
    ):
        model.resample(adaptive=True)


def test_points_of_single_equations_have_weights_and_they_are_resumed(tmp_path):
    def train(steps, **options):
        each = torch.nn.Parameter(torch.linspace(1, 2, 20, dtype=torch.float64))
        fixed = torch.linspace(0, 1, 20, dtype=torch.float64)
        model = pinn(System(), weights={"residual": (each, 2.0, fixed)})
        model.fit(Adam(steps, final=1.0), progress=False, **options)
        return model, each

    model, each = train(0)
    squares = [r.square() for r in model.equation.residuals(model.network, model.collocation)]
    expected = (each * squares[0]).mean() + 2 * squares[1].mean()
    expected = expected + (torch.linspace(0, 1, 20) * squares[2]).mean()
    torch.testing.assert_close(model.losses()["residual"], expected)
    path = {"checkpoint": tmp_path / "run.safetensors"}
    train(2, **path)
    assert torch.equal(train(5, resume=True, **path)[1], train(5)[1])


def test_weights_of_equations_do_not_take_them_off_the_fused_road(monkeypatch):
    model, calls = pinn(System(), weights={"residual": (1, 2, 3)}), []
    fused = model.network.jet_loss
    monkeypatch.setattr(
        model.network, "jet_loss", lambda *given: calls.append(given) or fused(*given)
    )
    model.losses()
    *conditions, given = calls
    assert len(conditions) == 2  # which are fused as well
    with_one = []
    monkeypatch.setattr(
        model.network, "jet_loss", lambda *given: with_one.append(given) or fused(*given)
    )
    model.equation.loss(model.network, model.collocation)
    assert given[1] == with_one[0][1]  # the same channels


@pytest.mark.parametrize(
    ("name", "weight", "message"),
    [
        ("edge", 1, r"expected names of initial, walls, residual, got 'edge'"),
        ("walls", -1, r"weights\['walls'\]: expected a finite number >= 0, got -1"),
        ("walls", float("nan"), r"weights\['walls'\]: expected a finite number"),
        ("walls", lambda step: -1.0, r"expected a finite number >= 0 at step 0, got -1"),
        ("walls", number(0.0), r"expected a parameter that begins above 0, got 0"),
        ("walls", torch.nn.Parameter(torch.ones(5)), r"expected .* \[\] or \[6\], got \[5\]"),
        ("walls", torch.nn.Parameter(torch.zeros(6)), r"expected a parameter that begins above 0"),
        ("walls", torch.tensor([1.0] * 5 + [-1]), r"expected finite numbers >= 0, got -1"),
        ("residual", (torch.ones(20), torch.ones(19), 1), r"\[\] or \[20\], got \[19\]"),
        ("walls", number(1.0) * 2, r"got a tensor with a gradient; write torch.nn.Parameter"),
        ("walls", (1, 2), r"weights\['walls'\]: expected one, or for a system .* got 2 weights"),
        ("residual", (1, 2), r"one for each of its 3 equations, got 2 weights"),
    ],
)
def test_weights_that_make_no_sense_are_refused_when_they_are_set(name, weight, message):
    model = pinn(System())
    before = dict(model.weights)
    with pytest.raises(ValueError, match=f"PINN: .*{message}"):
        model.weights[name] = weight
    with pytest.raises(ValueError, match=f"PINN: .*{message}"):
        model.weights = {name: weight}
    assert dict(model.weights) == before
    with pytest.raises(ValueError, match=f"PINN: .*{message}"):
        pinn(System(), weights={name: weight})


def test_a_schedule_that_becomes_negative_is_refused_at_its_step():
    model = pinn(weights={"walls": lambda step: 2.0 - step})
    with pytest.raises(ValueError, match=r"weights\['walls'\]: .* at step 3, got -1"):
        model.fit(Adam(5), progress=False)


def test_the_callback_and_learned_weights_go_together(tmp_path):
    def train(steps, **options):
        model = pinn(weights={"walls": number(2.0)})
        more = [callbacks.LossWeights(lambda run: {"initial": 1.0 + run.steps})]
        model.fit(Adam(steps, final=1.0), callbacks=more, progress=False, **options)
        return model

    path = {"checkpoint": tmp_path / "run.safetensors"}
    train(2, **path)
    model, whole = train(5, resume=True, **path), train(5)
    assert model.weights["initial"] == 6
    assert model.weights["walls"].item() == whole.weights["walls"].item() > 2


def test_terms_of_any_model_may_have_learned_weights():
    from pyneural.training import Trainable, Trainer

    class Two(Trainable):
        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(torch.tensor(3.0))
            self.balance = torch.nn.Parameter(torch.tensor(1.0))
            self.term_weights = {"b": self.balance}

        def losses(self, batch):
            return {"a": self.w**2, "b": (self.w - 1) ** 2}

    model = Two()
    assert [p is model.w for p in Objective(model).parameters] == [True]
    Trainer(model, [Descent(partial(torch.optim.SGD, lr=0.1), steps=1)], progress=False).fit()
    assert model.balance.item() == pytest.approx(1 + 0.1 * 4)
    assert model.w.item() == pytest.approx(3 - 0.1 * (6 + 4))


@pytest.mark.parametrize("way", ["adaptive", "callback"])
def test_weights_of_points_that_will_be_drawn_anew_are_refused_before_the_first_step(way):
    adaptive = way == "adaptive"
    model = models.PINN(
        nn.MLP(2, [4], 1), {"start": pde.Initial(BOX, 0.0, 5)}, equation=Heat(), points=10,
        adaptive=adaptive, weights={"residual": torch.rand(10)},
    )  # fmt: skip
    before = [parameter.clone() for parameter in model.parameters()]
    more = [] if adaptive else [callbacks.Resample(5)]
    with pytest.raises(
        ValueError, match=r"PINN.fit: expected points that may be drawn anew, got w"
    ):
        model.fit([Adam(2), Adam(2)], callbacks=more, progress=False)
    assert all(map(torch.equal, before, model.parameters()))
    model.fit(Adam(1), progress=False)  # nothing is drawn
