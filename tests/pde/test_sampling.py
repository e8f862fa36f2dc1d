from __future__ import annotations

import pytest
import torch

from pyneural.pde import residual_adaptive, unit_points


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


@pytest.mark.parametrize(("k", "c"), [(1.0, 1.0), (2.0, 0.0), (0.5, 3.0)])
def test_residual_adaptive_follows_its_density(k, c, generator):
    # Four residual sizes, 25,000 candidates each: the share drawn from each is known.
    size = torch.tensor([0.0, 1.0, 2.0, 5.0])
    residuals = size.repeat_interleave(25_000) * torch.where(torch.rand(100_000) < 0.5, -1, 1)
    candidates = torch.arange(100_000, dtype=torch.float32)[:, None]
    drawn = residual_adaptive(candidates, residuals, 2_000, k=k, c=c, generator=generator)
    assert len(drawn.unique()) == 2_000
    counts = torch.bincount(drawn[:, 0].long() // 25_000, minlength=4) / 2_000
    density = size**k / (size**k).mean() + c
    assert (counts - density / density.sum()).abs().max() < 0.03


def test_residual_adaptive_without_any_residual_is_uniform(generator):
    candidates = torch.rand(10, 2)
    drawn = residual_adaptive(candidates, torch.zeros(10), 10, c=0.0, generator=generator)
    assert sorted(drawn.tolist()) == sorted(candidates.tolist())


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"residuals": torch.zeros(4)}, "one residual per candidate"),
        ({"n": 6}, "expected 1 to 5"),
        ({"n": 0}, "expected 1 to 5"),
        ({"k": -1.0}, "k, c"),
        ({"residuals": torch.tensor([0.0, 1.0, torch.nan, 0.0, 0.0])}, "finite"),
    ],
)
def test_bad_input(change, text):
    arguments = {"candidates": torch.rand(5, 2), "residuals": torch.ones(5), "n": 2} | change
    with pytest.raises(ValueError, match=text):
        residual_adaptive(**arguments)


def test_a_generator_of_another_device_is_refused():
    class Elsewhere:
        device = torch.device("cuda")

    with pytest.raises(ValueError, match="expected a CPU generator"):
        unit_points(3, 1, generator=Elsewhere())
