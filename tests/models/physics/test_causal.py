"""Causal weights: exp(-eps sum of the losses of earlier slabs), constants for the gradient."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from pyneural import models, nn, pde
from pyneural.training import LBFGS, Adam, Batch, callbacks

DOMAIN = pde.Box(x=(-1, 1), t=(2, 5))


class Waves(pde.Equation):
    inputs, outputs = "xt", "uv"

    def residual(self, u, v, x):
        return u.t + u * v.x - torch.sin(3 * x), v.t - u.xx


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def make(dtype=torch.float64, domain=DOMAIN, equation=None, **options):
    torch.manual_seed(0)
    equation = equation or Waves()
    network = nn.MLP(2, [7], len(equation.outputs), input_range=domain.range).to(dtype)
    conditions = {"start": pde.Initial(domain, 0.0, 5, dtype=dtype, generator=seeded())}
    given = {"causal": pde.Causal(eps=0.3, slabs=6), "points": 60, "generator": seeded()}
    return models.PINN(network, conditions, equation=equation, domain=domain, **given | options)


def by_hand(model, eps, slabs):
    """The weights of the points, from the definition, in NumPy."""
    residuals = model.equation.residuals(model.network, model.collocation)
    squares = sum(r.detach().square() for r in residuals).double().numpy()
    time = model.collocation[:, 1].double().numpy()
    given = model.collocation_weights
    w = np.ones(len(time)) if given is None else given.double().numpy()
    slab = np.minimum(((time - 2) / 3 * slabs).astype(int), slabs - 1)
    losses = np.array(
        [
            np.average(squares[slab == k], weights=w[slab == k]) if (slab == k).any() else 0.0
            for k in range(slabs)
        ]
    )
    return torch.from_numpy(np.array([np.exp(-eps * losses[:k].sum()) for k in slab]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("rows", [None, [0, 7, 11, 59]])
@pytest.mark.parametrize("weights", [None, (2.0, 0.5), "points"])
def test_the_loss_has_the_weights_of_the_paper(dtype, adaptive, rows, weights):
    model = make(dtype)
    model.resample(adaptive)
    model.update_causal()
    w = by_hand(model, 0.3, 6).to(dtype)
    assert float(w.min()) < 0.9 < float(w.max()) == 1
    if adaptive:
        w = w * model.collocation_weights
    each = [1.0, 1.0]
    if weights == "points":
        each = [torch.rand(60, dtype=dtype)] * 2
        model.weights["residual"] = each[0]
    elif weights is not None:
        model.weights["residual"] = each = weights
    batch = None if rows is None else Batch(torch.tensor(rows), None, None, len(rows), 1.0)
    rows = list(range(60)) if rows is None else rows
    residuals = model.equation.residuals(model.network, model.collocation[rows])
    each = [e[rows] if isinstance(e, torch.Tensor) else e for e in each]
    expected = sum((e * w[rows] * r**2).mean() for e, r in zip(each, residuals, strict=True))
    loss = model.losses(batch)["residual"]
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {}
    torch.testing.assert_close(loss, expected, **tolerance)
    found, exact = (
        torch.autograd.grad(part, list(model.network.parameters()), retain_graph=True)
        for part in (loss, expected)
    )
    for mine, theirs in zip(found, exact, strict=True):
        torch.testing.assert_close(mine, theirs, **tolerance)
    square = model.least_squares(batch)["residual"]
    torch.testing.assert_close(square.loss(), expected, **tolerance)
    if weights is None:
        parts = model.parts(batch)["residual"]
        torch.testing.assert_close(sum(parts), expected, **tolerance)


def test_slabs_without_points_count_as_solved():
    causal = pde.Causal(eps=2.0, slabs=5).double()
    causal.update(torch.tensor([0.1, 0.9]).double(), torch.tensor([0.5, 9.0]).double())
    expected = torch.tensor([0.0, -1, -1, -1, -1]).double().exp()
    torch.testing.assert_close(causal.weights, expected, rtol=1e-15, atol=0)
    outside = causal(torch.tensor([-1e-9, 1 + 1e-9]).double())
    assert torch.equal(outside, causal.weights[[0, 4]])


def test_they_are_taken_anew_every_few_steps_and_the_solver_is_told():
    model, seen, told = make(causal=pde.Causal(0.3, 6, every=4)), [], []
    given = by_hand(model, 0.3, 6)

    def look(run):
        seen.append(model.causal.weights.clone())
        if run.steps == 1:
            torch.testing.assert_close(model._further_weights(None), given)
            changed = run.solver.objective_changed
            run.solver.objective_changed = lambda: told.append(run.steps) or changed()
        if run.steps == 4:
            torch.testing.assert_close(model._further_weights(None), by_hand(model, 0.3, 6))

    model.fit(LBFGS(9), callbacks=[callbacks.Every(1, look)], progress=False)
    same = [torch.equal(a, b) for a, b in pairwise(seen)]
    assert same == [True, True, False, True, True, True, False, True]
    assert told == [4, 8]


@pytest.mark.parametrize("batch_size", [None, 13])
def test_a_training_is_resumed_bit_by_bit(batch_size, tmp_path):
    def train(pause=-1, **options):
        model = make(causal=pde.Causal(0.3, 6, every=3))
        more = [
            callbacks.AdaptivePoints(4),
            callbacks.GradientNormWeights(2),
            callbacks.Every(1, lambda run: run.pause("now") if run.steps == pause else None),
        ]
        phases = [Adam(8), LBFGS(5)]
        model.fit(phases, callbacks=more, progress=False, batch_size=batch_size, **options)
        return model

    whole = train()
    for pause in (5, 10):
        path = {"checkpoint": tmp_path / f"{pause}.safetensors"}
        train(pause, **path)
        model = train(resume=True, **path)
        for name, value in whole.state_dict().items():
            assert torch.equal(value, model.state_dict()[name]), (pause, name)
    model = make(causal=pde.Causal(0.3, 6, every=3))
    whole.save(tmp_path / "saved.safetensors")
    model.load(tmp_path / "saved.safetensors")
    assert torch.equal(model.causal.weights, whole.causal.weights)


def test_eps_and_the_whole_may_be_changed():
    model = make()
    model.update_causal()
    before = model.causal.weights.clone()
    model.causal.eps *= 2
    model.update_causal()
    torch.testing.assert_close(model.causal.weights, before**2)
    model.causal = None
    assert model.residual_weights(None) == {}
    model.causal = pde.Causal(1.0, 3).double()
    assert model.residual_weights(None)["weights"].shape == (60,)


def test_adaptive_points_are_where_the_weighted_residual_is():
    model = make(points=2000)
    model.causal.weights.copy_(torch.tensor([1.0, 1, 0, 0, 0, 0]))
    model.resample(adaptive=True)
    early = float((model.collocation[:, 1] < 3).double().mean())
    assert early > 0.55  # a third of the time has its third of the even ones, and all the others


@pytest.mark.parametrize("causal", [False, True])
def test_growth_is_found_with_them_and_not_without(causal):
    """The state 0 at late times meets the equation too, and is wrong."""

    class Growth(pde.Equation):
        inputs, outputs, domain = "t", "u", pde.Box(t=(0, 5))

        def residual(self, u):
            return u.t - 2 * u * (1 - u)

    torch.manual_seed(1)
    network = nn.MLP(1, [10], 1, input_range=Growth.domain.range).double()
    start = {"start": pde.Initial(Growth.domain, 0.1, 1, dtype=torch.float64)}
    weights = pde.Causal(100.0, slabs=10, every=20) if causal else None
    model = models.PINN(
        network, start, equation=Growth(), points=100, causal=weights, generator=seeded()
    )
    model.fit(LBFGS(160), progress=False)
    t = torch.linspace(0, 5, 200, dtype=torch.float64)[:, None]
    grown = 0.1 * torch.exp(2 * t)
    error = model.relative_l2(t, grown / (1 - 0.1 + grown))
    assert error < 0.02 if causal else error > 0.5
    if causal:
        assert model.causal.weights[-1] > 0.99


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"eps": 0.0}, "Causal: eps: expected a number > 0"),
        ({"eps": float("inf")}, "Causal: eps"),
        ({"slabs": 1}, "Causal: slabs: expected at least 2"),
        ({"slabs": 2.5}, "Causal: slabs: expected a whole number"),
        ({"every": 0}, "Causal: every: expected at least 1"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        pde.Causal(**arguments)


def test_it_needs_time_and_an_equation():
    steady = pde.Box(x=(-1, 1), y=(-1, 1))

    class Laplace(pde.Equation):
        inputs, outputs = "xy", "u"

        def residual(self, u):
            return u.laplacian

    conditions = {"rim": pde.Dirichlet(steady, 0.0, 5)}
    for equation in (Laplace(), None):
        with pytest.raises(ValueError, match="PINN: causal: expected an equation on a domain with"):
            models.PINN(
                nn.MLP(2, [4], 1), conditions, equation=equation, domain=steady,
                causal=pde.Causal(),
            )  # fmt: skip
