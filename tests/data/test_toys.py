"""The toy densities: integral one, entropy, samples and density against independent references."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch

from pyneural.data import toys
from pyneural.data.toys import (
    Checkerboard,
    EightGaussians,
    GaussianGrid,
    Ring,
    Spirals,
    TwoMoons,
)
from pyneural.errors import ArgumentError

ENTROPIES = [
    (EightGaussians(), 2.8316),
    (TwoMoons(), 1.0076),
    (Checkerboard(), 3.4657),
    (Ring(), 1.6468),
    (Spirals(), 2.5406),
]
TOYS = [toy for toy, _ in ENTROPIES]
NAMES = [type(toy).__name__ for toy in TOYS]


def grid(step):
    """Midpoints of squares that tile [-4.5, 4.5]^2; the edges of the checkerboard are on sides."""
    axis = torch.arange(-4.5 + step / 2, 4.5, step, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis)


@pytest.mark.parametrize(("toy", "entropy"), ENTROPIES, ids=NAMES)
def test_density_integrates_to_one_and_to_the_entropy(toy, entropy):
    step = 0.05
    log_density = toy.log_density(grid(step))
    density = log_density.exp()
    # 1e-5: what [-4.5, 4.5]^2 leaves out of the eight Gaussians, 4.7 standard deviations off.
    assert abs(float(density.sum() * step**2) - 1) < 1e-5
    mean = float(-(density * log_density.clamp(min=-1e4)).sum() * step**2)
    assert mean == pytest.approx(toy.entropy(), abs=2e-4)
    assert toy.entropy() == pytest.approx(entropy, abs=5e-5)


@pytest.mark.parametrize("toy", TOYS, ids=NAMES)
def test_entropy_is_the_mean_over_samples(toy):
    x = toy.sample(100_000).double()
    value = -toy.log_density(x)
    assert abs(value.mean() - toy.entropy()) <= 4 * value.std() / math.sqrt(len(x)) + 1e-12


@pytest.mark.parametrize("toy", TOYS, ids=NAMES)
def test_samples_have_the_density(toy):
    """Counts in squares of edge 0.5 against the integral of the density: chi squared."""
    count, step, cells = 100_000, 0.05, 18
    x = toy.sample(count, seed=3)
    expected = toy.log_density(grid(step)).exp().reshape(cells, 10, cells, 10).sum((1, 3))
    expected = (expected * count * step**2).flatten()
    edges = np.linspace(-4.5, 4.5, cells + 1)
    counts = torch.from_numpy(np.histogram2d(*x.T.numpy(), bins=(edges, edges))[0]).flatten()
    filled = expected > 5
    chi = ((counts - expected).square() / expected)[filled].sum()
    freedom = int(filled.sum()) - 1
    assert chi < freedom + 5 * math.sqrt(2 * freedom)


@pytest.mark.parametrize(
    ("toy", "curve", "end", "speed"),
    [
        (TwoMoons(), lambda t: (mpmath.cos(t), mpmath.sin(t)), math.pi, lambda t: 1 / mpmath.pi),
        (
            Spirals(),
            lambda t: (-t * mpmath.cos(t) / 3, t * mpmath.sin(t) / 3),
            3 * math.pi,
            lambda t: 2 * t / (9 * mpmath.pi**2),
        ),
    ],
    ids=["TwoMoons", "Spirals"],
)
def test_quadrature_is_exact(toy, curve, end, speed):
    for x in [(0.3, 0.9), (-1.2, 0.4), (2.9, -1.1)]:

        def normal(u, v, x=x):
            square = (x[0] - u) ** 2 + (x[1] - v) ** 2
            return mpmath.exp(-square / (2 * toy.noise**2)) / (2 * mpmath.pi * toy.noise**2)

        found = float(toy.log_density(torch.tensor(x, dtype=torch.float64)))

        def ratio(t, normal=normal, found=found):
            u, v = curve(t)
            other = (1 - u, mpmath.mpf("0.5") - v) if isinstance(toy, TwoMoons) else (-u, -v)
            return speed(t) * (normal(u, v) + normal(*other)) / 2 * mpmath.exp(-found)

        # mpmath stops at an absolute error: it integrates the ratio to the density that was found.
        exact = mpmath.quad(ratio, mpmath.linspace(0, end, 40))
        assert float(exact) == pytest.approx(1, abs=1e-9)


def test_moons_are_those_of_scikit_learn():
    make_moons = pytest.importorskip("sklearn.datasets").make_moons
    x = torch.from_numpy(make_moons(20_000, noise=0.1, random_state=0)[0])
    value = -TwoMoons().log_density(x)
    assert abs(value.mean() - 1.0076) < 4 * value.std() / math.sqrt(len(x))


def test_eight_gaussians_are_a_mixture_of_torch():
    toy, d = EightGaussians(), torch.distributions
    angle = torch.arange(8, dtype=torch.float64) * math.pi / 4
    centres = math.sqrt(8) * torch.stack([angle.cos(), angle.sin()], 1)
    normal = d.Independent(d.Normal(centres, math.sqrt(1 / 8)), 1)
    mixture = d.MixtureSameFamily(d.Categorical(torch.ones(8, dtype=torch.float64)), normal)
    x = toy.sample(100).double()
    torch.testing.assert_close(toy.log_density(x), mixture.log_prob(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("toy", TOYS, ids=NAMES)
def test_seed_generator_shape_and_dtype(toy):
    x = toy.sample(50, seed=7)
    generator = torch.Generator().manual_seed(7)
    assert torch.equal(x, toy.sample(50, generator))
    assert not torch.equal(x, toy.sample(50, generator))
    assert x.dtype == toy.log_density(x).dtype == torch.float32
    assert toy.log_density(x.reshape(5, 10, 2)).shape == (5, 10)
    assert toy.sample(0).shape == (0, 2)
    assert toy.log_density(toy.sample(0)).shape == (0,)
    assert toy.log_density(torch.tensor([math.nan, 0.0])).isnan()


def test_a_square_of_the_checkerboard_keeps_its_points(monkeypatch):
    """Next to an edge, where float32 rounds column + place up to the next square."""
    most = 1 - 2.0**-24  # the largest number that torch.rand gives
    monkeypatch.setattr(torch, "rand", lambda *size, generator: torch.full(size, most))
    x = Checkerboard().sample(64)
    assert x.amax() < 4
    assert Checkerboard().log_density(x).isfinite().all()


@pytest.mark.parametrize("toy", TOYS, ids=NAMES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_density_far_away_is_zero_and_never_nan(toy, dtype):
    most = torch.finfo(dtype).max
    x = torch.tensor([[most, 0], [-most, most], [math.inf, 0], [-math.inf, math.inf]], dtype=dtype)
    value = toy.log_density(x)
    assert value.dtype == dtype
    assert (value < -1e4).all()


def test_numbers_of_numpy():
    toy = Ring(np.float32(2), np.float64(0.1))
    assert toy.sample(np.int64(3), np.int32(7)).equal(Ring().sample(3, 7))


def test_long_inputs_in_parts_are_those_in_one(monkeypatch):
    toy = TwoMoons()
    x = toy.sample(100)
    whole = toy.log_density(x)
    monkeypatch.setattr(toys, "_ELEMENTS", 1000)
    assert torch.equal(toy.log_density(x), whole)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TwoMoons(noise=0.0), r"TwoMoons: noise: expected a positive .*, got 0\.0; write"),
        (lambda: Ring(radius=math.inf), r"Ring: radius: expected a positive .*, got inf"),
        (lambda: Ring().sample(-1), r"Ring\.sample: count: expected >= 0, got -1; write"),
        (lambda: Ring().sample(2.0), r"Ring\.sample: count: expected a whole number"),
        (lambda: Ring(radius="2"), r"Ring: radius: expected a positive number, got '2'"),
        (lambda: Ring().log_density(np.zeros((3, 2))), r"x: expected a tensor, got ndarray; write"),
        (
            lambda: Spirals().log_density(torch.zeros(3, 4)),
            r"Spirals\.log_density: x: expected floats \[\.\.\., 2\], got float32 \[3, 4\]; each",
        ),
        (lambda: Spirals().log_density(torch.zeros(3, 2).long()), r"got int64 \[3, 2\]"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()


@pytest.mark.parametrize("toy", [EightGaussians(2.0, 0.02), GaussianGrid(), GaussianGrid(2, 1.0)])
def test_narrow_gaussians(toy):
    """Far from each other: the entropy of one of them and that of their number."""
    modes = len(toy.centres)
    one = 1 + math.log(2 * math.pi * toy.noise**2)
    assert toy.entropy() == pytest.approx(one + math.log(modes), abs=1e-6)
    x = toy.sample(5000, seed=1)
    nearest = torch.cdist(x, toy.centres).min(1)
    assert float(nearest.values.square().mean()) == pytest.approx(2 * toy.noise**2, rel=0.1)
    counts = torch.bincount(nearest.indices, minlength=modes)
    assert ((counts - 5000 / modes).abs() < 5 * math.sqrt(5000 / modes)).all()
    centre = toy.centres[0].double()
    assert toy.log_density(centre).item() == pytest.approx(-math.log(modes) - one + 1, abs=1e-5)


def test_grid_of_gaussians_is_that_of_the_papers():
    centres = {(-4.0 + 2 * i, -4.0 + 2 * j) for i in range(5) for j in range(5)}
    assert {tuple(centre.tolist()) for centre in GaussianGrid().centres} == centres
    with pytest.raises(ArgumentError, match="GaussianGrid: side: expected >= 1, got 0"):
        GaussianGrid(0)
