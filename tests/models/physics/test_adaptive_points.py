"""Points that follow the residual, and weights for which the loss is still that of the domain."""

import itertools
import math

import pytest
import torch

from pyneural import models, nn, pde
from pyneural.ops import MeanSquare
from pyneural.training import LBFGS, Adam, Batch, CheckpointError, callbacks

BOX = pde.Box(x=(-1, 1), y=(0, 3))
DISK = pde.Disk(x=0, y=0, radius=1)
HOLED = pde.Box(x=(-1, 1), y=(-1, 1)) - pde.Disk(x=0, y=0, radius=0.5)
DOMAINS = {
    "interval": pde.Interval(-1, 2),
    "box": BOX,
    "disk": DISK,
    "holed": HOLED,
    "disk and time": DISK.with_time(0, 1),
    "box of 4": pde.Box(a=(0, 1), b=(0, 1), c=(0, 1), d=(-1, 1)),
    "polygon": pde.Polygon([(0, 0), (1, 0), (0, 1)]),
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def peaked(names):
    """An equation with one input or more whose residual of a network has a peak at 0.3."""

    class Peaked(pde.Equation):
        inputs, outputs = tuple(names), "u"

        def residual(self, u, **x):
            square = sum((x[name] - 0.3) ** 2 for name in names)
            return 0.1 * u + torch.exp(-square / 0.02)

    return Peaked()


def make(domain, dtype=torch.float64, points=300, seed=0, **options):
    torch.manual_seed(0)
    network = nn.MLP(domain.dim, [6], 1, input_range=domain.range).to(dtype)
    at = domain.sample(5, generator=seeded(), dtype=dtype)
    conditions = {"data": pde.Data(at, torch.zeros(5, 1, dtype=dtype))}
    given = {"equation": peaked(domain.names), "domain": domain, "generator": seeded(seed)}
    return models.PINN(network, conditions, points=points, **given | options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", DOMAINS)
def test_the_loss_is_that_of_the_domain(name, dtype):
    domain = DOMAINS[name]
    model = make(domain, dtype)
    dense = domain.sample(1 << 16, sampling="sobol", generator=seeded(1), dtype=torch.float64)
    (residual,) = model.double().equation.residuals(model.network, dense)
    exact = float(residual.detach().square().mean())
    model, uniform, found = model.to(dtype), [], []
    for _ in range(16):
        model.resample(adaptive=False)
        uniform.append(model.residual_loss())
        assert model.collocation_weights is None
        model.resample(adaptive=True)
        found.append(model.residual_loss())
        points, weights = model.collocation, model.collocation_weights
        assert points.dtype == weights.dtype == dtype
        assert points.shape == (300, domain.dim)
        assert weights.shape == (300,)
        assert len(points.unique(dim=0)) == 300
        assert domain.contains(points).all()
        assert weights.min() > 0
        assert float(weights.mean()) == pytest.approx(1, abs=1e-6)
    uniform, found = torch.tensor(uniform).double(), torch.tensor(found).double()
    spread = float(found.std())
    assert abs(float(found.mean()) - exact) < 4 * spread / 4 + 3e-3 * exact
    assert spread < 0.7 * float(uniform.std())
    sizes = residual.detach().abs()
    (at_points,) = model.equation.residuals(model.network, points)
    density = sizes / sizes.mean() + 1  # the mean of |r| by it is known
    expected = float((density * sizes).sum() / density.sum())
    assert float(at_points.detach().abs().mean()) == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("kind", ["candidates", "cloud"])
def test_given_points_are_taken_at_most_once(kind):
    known = HOLED.sample(400, generator=seeded(3), dtype=torch.float64)
    if kind == "candidates":
        model = make(HOLED, candidates=known, points=50)
    else:
        model = make(pde.PointCloud(known, names="xy"), points=50)
    (residual,) = model.equation.residuals(model.network, known)
    exact, found = float(residual.detach().square().mean()), []
    rows = {tuple(row) for row in known.tolist()}
    for _ in range(40):
        model.resample(adaptive=True)
        chosen = [tuple(row) for row in model.collocation.tolist()]
        assert len(set(chosen)) == 50
        assert set(chosen) <= rows
        found.append(model.residual_loss())
    found = torch.tensor(found).double()
    assert abs(found.mean() - exact) < 4 * found.std() / math.sqrt(40) + 0.01 * exact
    model.resample(adaptive=True, count=400)
    assert {tuple(row) for row in model.collocation.tolist()} == rows
    assert model.residual_loss() == pytest.approx(exact, rel=1e-12)
    with pytest.raises(ValueError, match="400"):
        model.resample(adaptive=True, count=401)


class System(pde.Equation):
    inputs, outputs = "xy", "uv"

    def residual(self, u, v, x):
        return u.x - v.y * x, u.y + v.x, u * v - 1


def system(hard=False, **options):
    torch.manual_seed(0)
    network = nn.MLP(2, [7], 2, input_range=BOX.range).double()
    conditions = {"start": pde.Dirichlet(BOX, 0.0, 5, dtype=torch.float64, generator=seeded())}
    if hard:
        network = pde.Hard(network, ["x", "y"], lambda x, y: x, lambda x, y: y * (3 - y))
    given = {"equation": System(), "domain": BOX, "points": 40, "generator": seeded()}
    return models.PINN(network, conditions, **given | options)


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("weights", [None, 3.0, (1.0, 2.0, 0.5), "learned", "schedule", "points"])
@pytest.mark.parametrize("rows", [None, [3, 1, 4]])
def test_weights_of_points_equations_and_importance_multiply(hard, weights, rows):
    model = system(hard)
    model.resample(adaptive=True, count=60)
    each = [1.0, 1.0, 1.0]
    if weights == "learned":
        each = [torch.nn.Parameter(torch.tensor(w, dtype=torch.float64)) for w in (1.0, 2.0, 3.0)]
        model.weights["residual"] = tuple(each)
    elif weights == "schedule":
        model.weights["residual"] = (lambda step: 2.0 + step, 1.0, 1.0)
        each = [2.0, 1.0, 1.0]
    elif weights == "points":
        each = [torch.rand(60, dtype=torch.float64)] * 3
        model.weights["residual"] = each[0]
    elif weights is not None:
        model.weights["residual"] = weights
        each = list(weights) if isinstance(weights, tuple) else each
    batch = None if rows is None else Batch(torch.tensor(rows), None, None, 3, 1.0)
    at = range(60) if rows is None else rows
    residuals = model.equation.residuals(model.network, model.collocation[at])
    pairs = zip(each, residuals, strict=True)
    w = model.collocation_weights[at]
    expected = sum(
        ((e[at] if isinstance(e, torch.Tensor) and e.dim() else e) * w * r**2).mean()
        for e, r in pairs
    )
    loss = model.losses(batch)["residual"]
    torch.testing.assert_close(loss, expected)
    square = model.least_squares(batch)["residual"]
    squared = square.loss() if isinstance(square, MeanSquare) else square().square().sum()
    torch.testing.assert_close(squared, expected)
    parameters = list(model.network.parameters())
    found, exact = (torch.autograd.grad(t, parameters, retain_graph=True) for t in (loss, expected))
    for mine, theirs in zip(found, exact, strict=True):
        torch.testing.assert_close(mine, theirs)
    if weights == "learned":
        (gradient,) = torch.autograd.grad(loss, each[1])
        torch.testing.assert_close(gradient, -(w * residuals[1] ** 2).mean())


def test_balancing_sees_the_weighted_residuals():
    model = system()
    model.resample(adaptive=True)
    parts = model.parts(None)["residual"]
    assert float(sum(parts).detach()) == pytest.approx(model.residual_loss(), rel=1e-12)
    rows = []
    for residual, w in zip(
        model.equation.residuals(model.network, model.collocation)[0],
        model.collocation_weights, strict=True,
    ):  # fmt: skip
        gradient = torch.autograd.grad(
            residual,
            list(model.network.parameters()),
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        rows.append(w * sum(g.square().sum() for g in gradient))
    assert model.kernel_means(None)["residual"][0] == pytest.approx(float(sum(rows)) / len(rows))


def test_points_without_weights_again():
    model = system()
    model.resample(adaptive=True)
    assert "collocation_weights" in model.state_dict()
    model.resample(adaptive=False, count=11)
    assert model.collocation.shape == (11, 2)
    assert "collocation_weights" not in model.state_dict()
    assert model.residual_weights(None) == {}


def test_files_of_other_numbers_of_points_with_and_without_weights(tmp_path):
    plain, weighted, path = system(), system(points=30), tmp_path / "a.safetensors"
    weighted.resample(adaptive=True, count=70)
    for source, other in ((plain, weighted), (weighted, system(points=13))):
        source.save(path)
        other.load(path)
        assert other.state_dict().keys() == source.state_dict().keys()
        for name, value in source.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name
        source.resample(adaptive=True)
        other.resample(adaptive=True)
        assert torch.equal(source.collocation, other.collocation)
    before = plain.state_dict()
    network = nn.MLP(2, [5], 2).double()
    other = models.PINN(network, plain.conditions, equation=System(), domain=BOX, points=8)
    with pytest.raises(CheckpointError, match="shape"):
        plain.load(other.save(path) or path)
    after = plain.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    given = system(points=plain.collocation[:9].clone())
    with pytest.raises(CheckpointError, match="collocation: expected shape"):
        given.load(weighted.save(path) or path)


def test_a_warm_start_keeps_points_and_weights():
    source, model = system(), system(points=20)
    source.resample(adaptive=True)
    report = str(model.warm_start(source))
    assert "collocation_weights" not in report
    assert model.collocation_weights is None
    model.resample(adaptive=True)
    points, weights = model.collocation, model.collocation_weights
    assert "collocation_weights" not in str(model.warm_start(system()))
    assert model.collocation is points
    assert model.collocation_weights is weights


BURGERS = pde.Burgers(0.02)


def growing(points=20, phases=None, hard=True, pause=-1, **options):
    torch.manual_seed(0)
    network = nn.MLP(2, [10, 10], 1, input_range=BURGERS.domain.range).double()
    network = BURGERS.hard(network) if hard else network
    conditions = BURGERS.conditions(20, dtype=torch.float64, generator=seeded()) if not hard else {}
    model = models.PINN(network, conditions, equation=BURGERS, points=points, generator=seeded())
    sizes = []

    def look(run):
        sizes.append(len(model.collocation))
        if run.steps == pause:
            run.pause("now")

    more = [callbacks.AdaptivePoints(5, jump=1.1, most=50), callbacks.Every(1, look)]
    phases = phases or [LBFGS(40), Adam(12)]
    report = model.fit(phases, callbacks=more, progress=False, **options)
    return model, report, sizes


def test_points_become_more_where_they_are_too_few_and_are_resumed(tmp_path):
    whole, report, sizes = growing()
    assert sizes[0] == 20
    assert sorted(sizes) == sizes
    assert set(sizes) <= {20, 28, 40, 50}
    assert 50 in sizes
    assert whole.collocation_weights.shape == whole.collocation.shape[:1]
    grown = sizes.index(50)
    for pause in (4, 11, grown, 45):
        path = {"checkpoint": tmp_path / f"{pause}.safetensors"}
        growing(pause=pause, **path)
        model, resumed, rest = growing(resume=True, **path)
        assert sizes == sizes[:pause] + rest
        for name, value in whole.state_dict().items():
            assert torch.equal(value, model.state_dict()[name]), (pause, name)
        assert resumed.step_history.rows == report.step_history.rows


def test_enough_points_stay_as_many():
    _, _, sizes = growing(points=50)
    assert set(sizes) == {50}
    _, _, sizes = growing(batch_size=7, phases=Adam(20))
    assert set(sizes) == {20}
    steady = callbacks.AdaptivePoints(2, most=40)
    torch.manual_seed(0)
    model = system()
    before = model.collocation
    model.fit(LBFGS(10), callbacks=[steady], progress=False)
    assert len(model.collocation) == 40
    assert not torch.equal(model.collocation, before)


def test_growth_begins_when_the_loss_jumps_and_from_the_next_draw_on():
    model, points = system(points=20), callbacks.AdaptivePoints(1, growth=1.5, jump=2.0, most=40)
    losses, seen = iter([1.0, 1.9, 1.0, 2.1, 1.0, 5.0, 1.0, 1.0]), []
    model.residual_loss = lambda: next(losses)
    look = callbacks.Every(1, lambda run: seen.append(len(model.collocation)))
    model.fit(Adam(5), callbacks=[points, look], progress=False)
    assert seen == [20, 20, 30, 40, 40]


def test_by_default_points_grow_to_four_times_as_many():
    model, seen = system(points=20), []
    losses = itertools.cycle([1.0, 5.0])
    model.residual_loss = lambda: next(losses)
    look = callbacks.Every(1, lambda run: seen.append(len(model.collocation)))
    model.fit(Adam(8), callbacks=[callbacks.AdaptivePoints(1), look], progress=False)
    assert seen == [20, 28, 40, 56, 79, 80, 80, 80]


def test_the_number_stays_in_mini_batches():
    model = system()
    more = callbacks.Every(1, lambda run: run.model.resample(adaptive=True, count=50))
    with pytest.raises(ValueError, match=r"PINN.resample: count: expected 40 in mini-batches, got"):
        model.fit(Adam(2), callbacks=[more], batch_size=10, progress=False)
    model.resample(adaptive=True, count=50)
    assert len(model.collocation) == 50


@pytest.mark.parametrize("count", [0, 2.5, "many"])
def test_a_bad_number_is_refused(count):
    with pytest.raises(ValueError, match=r"PINN.resample: count: expected a whole number >= 1"):
        system().resample(adaptive=True, count=count)


@pytest.mark.parametrize(
    "options", [{"growth": 1.0}, {"jump": math.nan}, {"most": 2.5}, {"every": 0}]
)
def test_bad_options_are_refused(options):
    with pytest.raises((ValueError, TypeError), match="AdaptivePoints"):
        callbacks.AdaptivePoints(**options)


def test_points_that_were_given_are_not_drawn_anew():
    model = system(points=BOX.sample(10, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"PINN.fit: .* got points that were given; give"):
        model.fit(Adam(1), callbacks=[callbacks.AdaptivePoints()], progress=False)
