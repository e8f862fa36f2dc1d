from __future__ import annotations

import math

import pytest
import torch

from pyneural.pde import residual_adaptive, systematic, unit_points


def test_latin_hypercube_has_one_point_a_slice(generator):
    points = unit_points(50, 3, "lhs", generator=generator)
    slices = (points * 50).long().sort(0).values
    assert (slices == torch.arange(50)[:, None]).all()
    assert not torch.equal(points[:, 0].argsort(), points[:, 1].argsort())


def test_sobol_is_more_even_than_uniform(generator):
    def worst_cell(sampling):
        cells = (unit_points(256, 2, sampling, generator=generator) * 8).long()
        counts = torch.bincount(8 * cells[:, 0] + cells[:, 1], minlength=64)
        return (counts - 4).abs().max()

    assert worst_cell("sobol") == 0 < worst_cell("uniform")


def test_scrambling_comes_from_the_generator(generator):
    first = unit_points(8, 2, "sobol", generator=generator)
    assert not torch.equal(first, unit_points(8, 2, "sobol", generator=generator))
    generator.manual_seed(0)
    assert torch.equal(first, unit_points(8, 2, "sobol", generator=generator))


@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_systematic_takes_each_as_often_as_it_should(d, generator):
    points = torch.rand(500, d, generator=generator)
    density = torch.rand(500, generator=generator) ** 4
    density[::7] = 0
    for n in (37, 1234):
        expected = n * density.double() / density.double().sum()
        mean = torch.zeros(500)
        for _ in range(50):
            chosen = systematic(points, density, n, generator=generator)
            assert chosen.shape == (n,)
            counts = torch.bincount(chosen, minlength=500)
            assert (counts >= (expected - 1e-9).floor()).all()
            assert (counts <= (expected + 1e-9).ceil()).all()
            assert (counts[::7] == 0).all()
            mean += counts / 50
        assert (mean - expected).abs().max() < 0.36  # 5 standard deviations of 50 fair coins


def test_every_region_gets_its_share(generator):
    points = torch.rand(20_000, 2, generator=generator)
    density = 1 + 9 * (points[:, 0] < 0.25)
    chosen = points[systematic(points, density, 1000, generator=generator)]
    cells = (points * 8).long() @ torch.tensor([8, 1])
    total = torch.zeros(64).index_add_(0, cells, density.float())
    counts = torch.bincount((chosen * 8).long() @ torch.tensor([8, 1]), minlength=64)
    # Hilbert's curve is a whole piece in each cell: each gets its share, up to its two ends.
    assert (counts - 1000 * total / total.sum()).abs().max() <= 2


def peak(x):
    """exp(-|x - 0.3|^2 / 0.02) in the unit cube, and its integral."""
    width = math.sqrt(0.02)
    one = math.sqrt(math.pi) / 2 * width * (math.erf(0.7 / width) + math.erf(0.3 / width))
    return torch.exp(-(x - 0.3).square().sum(1) / 0.02), one ** x.shape[1]


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("repeated", [False, True])
def test_weighted_points_estimate_the_integral(d, dtype, repeated, generator):
    estimates, independent = [], []
    for _ in range(40):
        candidates = unit_points(1024, d, "sobol", generator=generator).to(dtype)
        value, exact = peak(candidates)
        given = candidates, value.sqrt(), 256
        chosen, weights = residual_adaptive(*given, repeated=repeated, generator=generator)
        assert weights.mean() == pytest.approx(1)
        estimates.append(float((weights * value[chosen]).mean()))
        density = value.sqrt() / value.sqrt().mean() + 1
        drawn = torch.multinomial(density, 256, replacement=True, generator=generator)
        independent.append(float((value[drawn] / density[drawn] * density.mean()).mean()))
    estimates, independent = torch.tensor(estimates), torch.tensor(independent)
    error = estimates.std() / 6 + 1e-3 * exact  # of the mean, and what 1,024 candidates leave
    assert abs(estimates.mean() - exact) < 4 * error
    assert estimates.std() < independent.std() / (3 if d < 3 else 1.5)


@pytest.mark.parametrize(("k", "c"), [(1.0, 1.0), (2.0, 0.0), (0.5, 3.0)])
@pytest.mark.parametrize("repeated", [False, True])
def test_residual_adaptive_follows_its_density(k, c, repeated, generator):
    # Four residual sizes, 25,000 candidates each: the share drawn from each is known.
    size = torch.tensor([0.0, 1.0, 2.0, 5.0], dtype=torch.float64)
    signs = torch.where(torch.rand(100_000, generator=generator) < 0.5, -1, 1)
    residuals = size.repeat_interleave(25_000) * signs
    candidates = torch.arange(100_000, dtype=torch.float32)[:, None]
    drawing = {"k": k, "c": c, "repeated": repeated, "generator": generator}
    chosen, weights = residual_adaptive(candidates, residuals, 2_000, **drawing)
    assert len(chosen.unique()) == 2_000
    counts = torch.bincount(chosen // 25_000, minlength=4)
    density = size**k / (size**k).mean() + c
    assert (counts - 2_000 * density / density.sum()).abs().max() <= 1
    expected = 1 / density[chosen // 25_000]
    torch.testing.assert_close(weights, expected / expected.mean())


def test_the_largest_residuals_are_taken_once_and_not_exhausted(generator):
    residuals = torch.ones(1000)
    residuals[:10] = 1e4
    candidates = torch.rand(1000, 2, generator=generator)
    for n in (5, 50, 1000):
        chosen, weights = residual_adaptive(candidates, residuals, n, generator=generator)
        assert len(chosen.unique()) == n
        large = chosen < 10
        if n > 20:  # half of the density is in these ten
            assert int(large.sum()) == 10
            assert (weights[~large] / weights[large][0] * (n - 10) / 990 - 1).abs().max() < 1e-6
    chosen, weights = residual_adaptive(candidates, residuals, 50, repeated=True)
    assert torch.bincount(chosen, minlength=1000)[:10].min() > 1


@pytest.mark.parametrize("repeated", [False, True])
def test_residual_adaptive_without_any_residual_is_uniform(repeated, generator):
    candidates = torch.rand(10, 2, generator=generator)
    given = {"c": 0.0, "repeated": repeated, "generator": generator}
    chosen, weights = residual_adaptive(candidates, torch.zeros(10), 10, **given)
    assert sorted(chosen.tolist()) == list(range(10))
    assert torch.equal(weights, torch.ones(10, dtype=torch.float64))


def test_one_point_and_equal_points(generator):
    one = torch.tensor([[3.0, 4.0]])
    assert systematic(one, torch.ones(1), 3, generator=generator).tolist() == [0, 0, 0]
    equal = one.expand(5, 2)
    assert systematic(equal, torch.ones(5), 5, generator=generator).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"residuals": torch.zeros(4)}, "one residual per candidate"),
        ({"n": 6}, "expected 1 to 5"),
        ({"n": 0}, "expected 1 to 5"),
        ({"n": 0, "repeated": True}, "expected at least 1"),
        ({"n": 2.5}, "n: expected a whole number"),
        ({"k": -1.0}, "k, c"),
        ({"residuals": torch.tensor([0.0, 1.0, torch.nan, 0.0, 0.0])}, "finite"),
    ],
)
def test_bad_input(change, text):
    arguments = {"candidates": torch.rand(5, 2), "residuals": torch.ones(5), "n": 2} | change
    with pytest.raises(ValueError, match=text):
        residual_adaptive(**arguments)


@pytest.mark.parametrize("density", [[0.0, 0.0], [-1.0, 2.0], [1.0, torch.nan], [1.0, torch.inf]])
def test_a_density_that_is_none_is_refused(density):
    with pytest.raises(ValueError, match="systematic: density: expected finite numbers >= 0"):
        systematic(torch.rand(2, 2), torch.tensor(density), 1)


def test_a_generator_of_another_device_is_refused():
    class Elsewhere:
        device = torch.device("cuda")

    with pytest.raises(ValueError, match="expected a CPU generator"):
        unit_points(3, 1, generator=Elsewhere())
