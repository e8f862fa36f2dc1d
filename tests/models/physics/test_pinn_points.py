"""Points that the user has given stay his, however often they are drawn anew."""

import pytest
import torch

from pyneural import models, nn, pde
from pyneural.training import Adam, callbacks

BOX = pde.Box(x=(-1, 1), y=(-1, 1))


class Poisson(pde.Equation):
    inputs, outputs = "xy", "u"
    domain = BOX

    def residual(self, u, x, y):
        return u.laplacian + 1 / (x**2 + y**2 + 1e-3)  # large in the hole


def annulus(count):
    points = BOX.sample(4 * count, generator=torch.Generator().manual_seed(0))
    radius = points.norm(dim=1)
    return points[(radius > 0.4) & (radius < 1)][:count]


def in_annulus(points):
    radius = points.norm(dim=1)
    return bool(((radius > 0.4) & (radius < 1)).all())


def pinn(**options):
    torch.manual_seed(0)
    rim = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    conditions = {"rim": pde.Data(rim, torch.zeros(3))}
    generator = torch.Generator().manual_seed(1)
    given = {"equation": Poisson(), "generator": generator} | options
    return models.PINN(nn.MLP(2, [6], 1), conditions, **given)


@pytest.mark.parametrize("adaptive", [False, True])
def test_points_are_taken_from_the_candidates(adaptive):
    candidates = annulus(200)
    model = pinn(points=20, candidates=candidates, adaptive=adaptive)
    seen = [model.collocation]
    more = [
        callbacks.Resample(2, adaptive=adaptive),
        callbacks.Every(1, lambda run: seen.append(run.model.collocation)),
    ]
    model.fit([Adam(3), Adam(3)], callbacks=more, progress=False)
    assert len({part.sum().item() for part in seen}) >= 3
    rows = {tuple(row) for row in candidates.tolist()}
    for part in seen:
        assert len(part) == 20
        assert in_annulus(part)
        assert {tuple(row) for row in part.tolist()} <= rows
        assert len(torch.unique(part, dim=0)) == 20


def test_fewer_candidates_than_ten_a_point_are_all_looked_at():
    candidates = annulus(30)
    model = pinn(points=15, candidates=candidates, adaptive=True)
    model.begin_phase(1)
    largest = Poisson().residuals(model.network, candidates)[0].detach().abs().argmax()
    drawn = sum(
        bool((model.collocation == candidates[largest]).all(1).any())
        for _ in range(20)
        if model.begin_phase(1) is None
    )
    assert drawn > 12  # of 20; half of the points are taken
    model = pinn(points=30, candidates=candidates, adaptive=True)
    model.begin_phase(1)
    assert torch.equal(model.collocation.sort(0).values, candidates.sort(0).values)


def test_given_points_stay_as_they_are():
    points = annulus(20)
    model = pinn(points=points)
    model.fit([Adam(2), Adam(2)], progress=False)
    assert torch.equal(model.collocation, points)
    for adaptive in (False, True):
        with pytest.raises(ValueError, match=r"PINN.fit: .* got points that were given; give"):
            model.fit(Adam(2), callbacks=[callbacks.Resample(1, adaptive)], progress=False)
    assert torch.equal(model.collocation, points)
    with pytest.raises(ValueError, match=r"PINN: adaptive: .*points that were given; give candid"):
        pinn(points=points, adaptive=True)
    other = pinn(points=points, candidates=annulus(100), adaptive=True)
    assert torch.equal(other.collocation, points)
    other.begin_phase(1)
    assert in_annulus(other.collocation)
    assert not torch.equal(other.collocation, points)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": 31}, r"PINN: points: expected 1 to 30, as there are candidates, got 31; give"),
        ({"points": 0}, r"PINN: points: expected 1 to 30"),
        ({"points": 2.5}, r"PINN: points: expected a whole number"),
        ({"candidates": annulus(30) * 3}, r"PINN: candidates: expected points in Box"),
        ({"candidates": annulus(30).double()}, r"PINN: candidates: expected dtype torch.float32"),
    ],
)
def test_candidates_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        pinn(**{"points": 5, "candidates": annulus(30)} | options)


def test_a_training_on_candidates_is_resumed_with_the_same_points(tmp_path):
    def train(steps, candidates, **options):
        model = pinn(points=10, candidates=candidates, adaptive=True)
        phases, more = [Adam(2), Adam(steps)], [callbacks.Resample(3)]
        model.fit(phases, callbacks=more, progress=False, **options)
        return model.collocation

    path = {"checkpoint": tmp_path / "run.safetensors"}
    train(2, annulus(50), **path)
    assert torch.equal(train(6, annulus(50), resume=True, **path), train(6, annulus(50)))
    with pytest.raises(ValueError, match="candidates: expected"):
        train(6, annulus(49), resume=True, **path)
