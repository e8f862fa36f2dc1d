"""Callbacks that balance the weights of a PINN, against the published equations in plain torch."""

import math
from functools import partial

import pytest
import torch

from pyneural import models, nn, pde
from pyneural.models.physics.tangent_kernel import kernel_means
from pyneural.training import LBFGS, SPRING, Adam, Descent, Trainable, Trainer, callbacks
from pyneural.training.callbacks import GradientNormWeights, NTKWeights, ReLoBRaLo
from tests.models.physics.balancing_problems import BOX, Diffusion, Plain, Waves, make

KINDS = [GradientNormWeights, NTKWeights, ReLoBRaLo]


def train(model, balance, steps=4, **options):
    """Weights after each step, and the states of the network before each."""
    states, seen = [], []

    def keep(run):
        states.append({n: v.clone() for n, v in run.model.network.state_dict().items()})
        seen.append({n: tuple_of(w) for n, w in run.model.weights.items()})

    states.append({n: v.clone() for n, v in model.network.state_dict().items()})
    more = [balance, callbacks.Every(1, keep)]
    phase = Descent(partial(torch.optim.Adam, lr=0.02), steps=steps)
    model.fit(phase, callbacks=more, progress=False, **options)
    return seen, states


def tuple_of(weight):
    return weight if isinstance(weight, tuple) else (weight,)


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, weights in expected.items():
        assert found[name] == pytest.approx(weights, rel=1e-9), name


@pytest.mark.parametrize("equation", [Diffusion, Waves])
def test_gradient_norms_are_those_of_the_paper(equation):
    alpha, model = 0.3, make(equation, seed=3)
    seen, states = train(model, GradientNormWeights(every=2, alpha=alpha))
    parts = 3 if equation is Waves else 1
    expected = dict.fromkeys(("initial", "ring", "flux"), (1.0,)) | {"residual": (1.0,) * parts}
    for step, weights in enumerate(seen):
        if step % 2 == 0:
            gradients = Plain(model, states[step]).gradients()
            largest = [g.abs().max() for g in gradients.pop("residual")]
            reference = max(largest)
            new = {
                name: (reference / (expected[name][0] * g).abs().mean(),)
                for name, (g,) in gradients.items()
            }
            new["residual"] = tuple(reference / size for size in largest)
            expected = {
                name: tuple(
                    float((1 - alpha) * before + alpha * w)
                    for before, w in zip(expected[name], new[name], strict=True)
                )
                for name in expected
            }
        assert_same(weights, expected)
    if equation is Diffusion:
        assert seen[-1]["residual"] == (1.0,)
    else:
        assert min(seen[-1]["residual"]) < 0.9 * max(seen[-1]["residual"])


@pytest.mark.parametrize("equation", [Diffusion, Waves])
def test_kernel_weights_are_those_of_the_paper(equation):
    model = make(equation, seed=4)
    seen, states = train(model, NTKWeights(every=3))
    for step, weights in enumerate(seen):
        traces = Plain(model, states[step - step % 3]).kernel_traces()
        total = sum(trace for parts in traces.values() for trace in parts)
        assert_same(weights, {n: tuple(total / trace for trace in p) for n, p in traces.items()})


def test_kernel_weights_of_equally_many_points_are_ratios_of_traces():
    points = BOX.sample(7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    model = make(seed=5)
    data = {"data": pde.Data(points, points[:, 0])}
    model = models.PINN(model.network, data, equation=Diffusion(), points=points)
    seen, _ = train(model, NTKWeights(), steps=1)
    fresh = nn.MLP(2, [7, 5], 1, input_range=BOX.range).double().as_torch()
    fresh.load_state_dict(make(seed=5).network.state_dict())
    value = torch.func.functional_call
    parameters = dict(fresh.named_parameters())

    def u(theta, x):
        return value(fresh, theta, (x[None],))[0, 0]

    def r(theta, x):
        slope = torch.func.grad(u, 1)
        curvature = torch.func.grad(lambda y: slope(theta, y)[1])
        return slope(theta, x)[0] - 0.3 * curvature(x)[1] + u(theta, x) ** 3

    traces = {}
    for name, function in (("data", u), ("residual", r)):
        rows = [torch.func.grad(function)(parameters, x) for x in points]
        traces[name] = sum(float(g.square().sum()) for row in rows for g in row.values())
    total = sum(traces.values())
    assert_same(seen[0], {name: (total / trace,) for name, trace in traces.items()})


@pytest.mark.parametrize("rho", [0.0, 1.0, 0.5])
@pytest.mark.parametrize("equation", [Diffusion, Waves])
def test_relative_loss_balancing_is_that_of_the_paper(rho, equation):
    alpha, temperature, model = 0.7, 0.5, make(equation, seed=6)
    seen, states = train(model, ReLoBRaLo(alpha, rho, temperature, seed=11), steps=6)
    draws = torch.Generator().manual_seed(11)

    def flat(state):
        parts = Plain(model, state).losses().values()
        return torch.stack([loss.detach() for part in parts for loss in part])

    losses = [flat(state) for state in states]
    weights = torch.ones_like(losses[0])
    for step, found in enumerate(seen):
        if step:

            def relative(then, now=losses[step]):
                e = torch.exp(now / (temperature * then))
                return len(e) * e / e.sum()

            keeps = float(torch.rand((), generator=draws) < rho)
            past = keeps * weights + (1 - keeps) * relative(losses[0])
            weights = alpha * past + (1 - alpha) * relative(losses[step - 1])
        flat_found = [w for part in found.values() for w in part]
        assert flat_found == pytest.approx(weights.tolist(), rel=1e-9)


def hard(network):
    return pde.Hard(network, "tx", lambda x: x, lambda t, x: t * (1 - x**2))


class Mixed(pde.Equation):
    """Not point by point, so that no Jacobian of single points will do."""

    inputs, outputs, domain = "tx", "u", BOX

    def residual(self, u):
        return u.t - u.mean() * u.x


def kernel_by_rows(network, residual):
    rows = []
    for r in residual:
        found = torch.autograd.grad(r, list(network.parameters()), retain_graph=True)
        rows.append(sum(float(g.square().sum()) for g in found))
    return sum(rows) / len(rows)


@pytest.mark.parametrize("case", ["hard", "mixed", "frozen", "years", "chunks", "no bias"])
def test_kernels_of_other_networks_are_exact(case, monkeypatch):
    equation = Mixed() if case == "mixed" else Diffusion()
    torch.manual_seed(1)
    low = 2020.0 if case == "years" else 0.0
    network = nn.MLP(2, [6, 4], 1, input_range=([low, -1], [low + 1, 1])).double()
    points = torch.rand(10, 2, dtype=torch.float64) + torch.tensor([low, 0.0])
    if case == "no bias":
        network.layers[0] = torch.nn.Linear(2, 6, bias=False).double()
    u = hard(network) if case == "hard" else network
    expected = kernel_by_rows(network, equation.residuals(u, points)[0])
    if case == "frozen":
        frozen = network.layers[1].weight
        rows = equation.residuals(u, points)[0]
        lost = [torch.autograd.grad(r, frozen, retain_graph=True)[0] for r in rows]
        expected -= sum(float(g.square().sum()) for g in lost) / len(lost)
        frozen.requires_grad_(False)
    if case == "chunks":
        monkeypatch.setattr("pyneural.models.physics.tangent_kernel._ELEMENTS", 500)
    (found,) = kernel_means(u, lambda net: equation.residuals(net, points))
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("batch_size", [None, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_a_balanced_training_is_resumed_with_the_same_bits(kind, batch_size, tmp_path):
    def run(pause=-1, **options):
        model = make(Waves, weights={"flux": 3.0, "ring": 0.0})
        balance = ReLoBRaLo(0.9, 0.5) if kind is ReLoBRaLo else kind(every=2)
        more = [balance, callbacks.Resample(3), callbacks.Every(1, partial(stop, pause))]
        model.fit(
            [Adam(5), LBFGS(3)], callbacks=more, progress=False, batch_size=batch_size, **options
        )
        return model

    def stop(pause, run):
        if run.steps == pause:
            run.pause("now")

    whole = run()
    assert whole.weights["ring"] == 0
    assert whole.weights["flux"] != 3
    for pause in (1, 3, 6):
        path = {"checkpoint": tmp_path / f"{pause}.safetensors"}
        run(pause, **path)
        model = run(resume=True, **path)
        assert dict(model.weights) == dict(whole.weights)
        for name, value in whole.state_dict().items():
            assert torch.equal(value, model.state_dict()[name]), (pause, name)


@pytest.mark.parametrize("kind", KINDS)
def test_l_bfgs_keeps_the_weights_that_adam_has_reached(kind):
    model, seen = make(), []
    more = [kind(every=1), callbacks.Every(1, lambda run: seen.append(dict(run.model.weights)))]
    model.fit([Adam(3), LBFGS(4)], callbacks=more, progress=False)
    assert seen[0] != seen[2]
    assert all(weights == seen[2] for weights in seen[3:])


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_balanced_is_refused(kind):
    name = kind.__name__
    with pytest.raises(ValueError, match=f"{name}: phases: .* got SPRING; begin with Adam"):
        make().fit(SPRING(3), batch_size=10, callbacks=[kind()], progress=False)
    with pytest.raises(ValueError, match=f"{name}: phases: .* got L-BFGS; begin with Adam"):
        make().fit(LBFGS(3), callbacks=[kind()], progress=False)
    learned = torch.nn.Parameter(torch.ones((), dtype=torch.float64))
    for given, got in ((learned, "learned"), (lambda step: 1.0 + step, "function")):
        with pytest.raises(ValueError, match=rf"{name}: weights\['ring'\]: .* got a {got} one"):
            make(weights={"ring": given}).fit(Adam(3), callbacks=[kind()], progress=False)
    second = callbacks.LossWeights(lambda run: {"ring": 2.0})
    with pytest.raises(ValueError, match=f"{name}: callbacks: .* leave out all but one"):
        make().fit(Adam(3), callbacks=[kind(), second], progress=False)
    with pytest.raises(ValueError, match=f"{name}: every: expected a whole number >= 1"):
        kind(every=0)


@pytest.mark.parametrize(
    ("make_callback", "message"),
    [
        (lambda: GradientNormWeights(alpha=0.0), "GradientNormWeights: alpha: .* got 0"),
        (lambda: ReLoBRaLo(alpha=1.1), "ReLoBRaLo: alpha: expected a number in"),
        (lambda: ReLoBRaLo(rho=-0.1), "ReLoBRaLo: rho: expected a number in"),
        (lambda: ReLoBRaLo(temperature=0), "ReLoBRaLo: temperature: expected a number > 0"),
    ],
)
def test_numbers_out_of_their_range_are_refused(make_callback, message):
    with pytest.raises(ValueError, match=message):
        make_callback()


class Two(Trainable):
    """Any model with terms."""

    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.tensor([1.0, 3.0]))

    def losses(self, batch):
        return {"a": (self.w**2).sum(), "b": 100 * (self.w - 1).square().sum()}


def test_any_model_is_balanced_and_what_it_lacks_is_named():
    model = Two()
    more = [GradientNormWeights(1, 1.0, "b")]
    Trainer(model, [Adam(1)], callbacks=more, progress=False).fit()
    assert model.term_weights == {"a": pytest.approx(400 / 4), "b": 1.0}
    model = Two()
    Trainer(model, [Adam(3)], callbacks=[ReLoBRaLo(0.5)], progress=False).fit()
    assert sum(model.term_weights.values()) == pytest.approx(2)
    with pytest.raises(ValueError, match=r"reference: expected one of a, b, .* got 'residual'"):
        Trainer(Two(), [Adam(1)], callbacks=[GradientNormWeights()], progress=False).fit()
    with pytest.raises(ValueError, match=r"NTKWeights: model: .* got Two; use GradientNorm"):
        Trainer(Two(), [Adam(1)], callbacks=[NTKWeights()], progress=False).fit()


class Stiff(pde.Equation):
    """A residual that is a hundred times larger than the values at the ends."""

    inputs, outputs, domain = "x", "u", pde.Box(x=(-1, 1))

    def residual(self, u, x):
        return u.xx + (3 * math.pi) ** 2 * torch.sin(3 * math.pi * x)


def test_balancing_helps_where_the_residual_drowns_the_conditions():
    def error(*balance):
        torch.manual_seed(0)
        equation, generator = Stiff(), torch.Generator().manual_seed(0)
        network = nn.MLP(1, [20, 20], 1, input_range=(-1, 1)).double()
        ends = {"ends": pde.Dirichlet(equation.domain, 0.0, 2, dtype=torch.float64)}
        model = models.PINN(network, ends, equation=equation, points=40, generator=generator)
        model.fit(Adam(800, lr=1e-2), callbacks=balance, progress=False)
        x = torch.linspace(-1, 1, 101, dtype=torch.float64)[:, None]
        return model.relative_l2(x, torch.sin(3 * math.pi * x))

    plain = error()
    assert plain > 2  # it finds some solution of u_xx = f, with other values at the ends
    assert error(GradientNormWeights()) < 0.3
    assert error(NTKWeights()) < plain / 2


def test_a_reference_that_is_not_minimised_is_named():
    pinn = make(Waves, weights={"residual": (0, 1, 1)})
    expected = r"reference: expected one of .*, whose weights are above 0, got 'residual'"
    with pytest.raises(ValueError, match=expected):
        pinn.fit(Adam(1), callbacks=[GradientNormWeights()], progress=False)
