from __future__ import annotations

import math

import pytest
import torch

from pyneural.pde import SAMPLINGS, Box, Interval

BOX = Box(t=(0, 2), x=(-1, 1), y=(0.1, 0.3))


def test_columns_follow_the_names():
    assert BOX.names == ("t", "x", "y")
    assert BOX.spatial == ("x", "y")
    assert BOX.has_time
    low, high = BOX.range
    assert low.tolist() == [0.0, -1.0, 0.1]
    assert high.tolist() == [2.0, 1.0, 0.3]
    assert Interval(0, 1).names == ("x",)
    assert not Interval(0, 1).has_time
    assert Interval(0, 1, name="r", time=(0, 3)).names == ("t", "r")


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_samples_lie_inside_and_repeat_under_a_seed(sampling, dtype):
    def draw(seed):
        g = torch.Generator().manual_seed(seed)
        return BOX.sample(257, sampling=sampling, generator=g, dtype=dtype)

    points = draw(1)
    assert points.shape == (257, 3)
    assert points.dtype == dtype
    assert BOX.contains(points).all()
    assert torch.equal(points, draw(1))
    assert not torch.equal(points, draw(2))
    spread = points.max(0).values - points.min(0).values
    assert (spread.double() > 0.95 * (BOX.high - BOX.low)).all()


def test_the_same_points_for_every_dtype():
    single, double = (
        BOX.sample(50, generator=torch.Generator().manual_seed(3), dtype=dtype)
        for dtype in (torch.float32, torch.float64)
    )
    assert torch.equal(single, double.float())


def test_faces(generator):
    initial = BOX.sample_initial(20, generator=generator)
    assert (initial[:, 0] == 0).all()
    assert initial[:, 1].std() > 0.1
    face = BOX.sample_face("y", "high", 20, generator=generator)
    assert (face[:, 2] == torch.tensor(0.3)).all()
    assert face[:, 0].std() > 0.1
    boundary = BOX.sample_boundary(10, generator=generator)
    assert (boundary[:, 1] == -1).sum() == 3
    assert (boundary[:, 1] == 1).sum() == 3
    assert (boundary[:, 2] == torch.tensor(0.1)).sum() == 2
    assert len(boundary) == 10
    assert Box(x=(0, 1)).sample_boundary(3).tolist() == [[0.0], [0.0], [1.0]]


def test_grid_has_the_first_coordinate_outermost():
    grid = Box(t=(0, 1), x=(-1, 1)).grid(2, 3, dtype=torch.float64)
    assert grid.tolist() == [[0, -1], [0, 0], [0, 1], [1, -1], [1, 0], [1, 1]]


def test_contains_rounds_bounds_to_the_points_dtype():
    on_bound = torch.tensor([[0.0, 0.0, 0.1]])
    assert BOX.contains(on_bound).all()
    assert BOX.contains(on_bound.double() + 1e-9).all()
    assert not BOX.contains(torch.tensor([[0.0, 0.0, 0.31]])).any()


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        ({}, "at least one coordinate"),
        ({"x": (1, 0)}, "Box: x: .*low < high, got"),
        ({"x": (0, 0)}, "low < high"),
        ({"t": (0, math.inf)}, "Box: t: expected finite"),
        ({"x": (0, math.nan)}, "expected finite"),
        ({"x": (0, 1, 2)}, r"\(low, high\)"),
        ({"x": 1.0}, r"Box: x: expected finite bounds \(low, high\) .*got 1.0"),
        ({"x": ("0", "1")}, r"Box: x: expected finite bounds .*got \('0', '1'\)"),
    ],
)
def test_bad_bounds(bounds, text):
    with pytest.raises(ValueError, match=text):
        Box(**bounds)


@pytest.mark.parametrize(
    ("points", "text"),
    [
        (torch.zeros(3, 2), r"\[N, 3\].*got torch.float32 \[3, 2\]"),
        (torch.zeros(3, 3, dtype=torch.long), "floating-point"),
        (torch.zeros(0, 3), "at least 1 point"),
        (torch.tensor([[0, 0, 0.2], [3, 0, 0.2]]), "got 1 of 2 outside, the first t=3, x=0, y=0.2"),
        (torch.tensor([[math.nan, 0, 0.2]]), "outside"),
    ],
)
def test_check_names_what_is_wrong(points, text):
    with pytest.raises(ValueError, match=text):
        BOX.check(points)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: BOX.sample(0), "n: expected at least 1"),
        (lambda: BOX.sample(3, sampling="halton"), "uniform, lhs, sobol, got 'halton'"),
        (lambda: BOX.sample_face("z", "low", 3), "expected one of t, x, y, got 'z'"),
        (lambda: BOX.sample_face("x", "left", 3), "'low' or 'high', got 'left'"),
        (lambda: Box(x=(0, 1)).sample_initial(3), "expected a coordinate t"),
        (lambda: Box(t=(0, 1)).sample_boundary(3), "spatial coordinate"),
        (lambda: BOX.sample_boundary(0), "at least 1 point"),
        (lambda: BOX.grid(2, 2), "expected 3 counts"),
    ],
)
def test_bad_draws(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_points_that_coincide_by_rounding_are_reported(recwarn):
    years = Box(t=(2020, 2021), x=(-1, 1))
    with pytest.warns(
        UserWarning,
        match=r"Box: t: torch.float32 has 8,193 different numbers in "
        r"\(2020.0, 2021.0\) for 9,000 points.*dtype=torch.float64, or count t from 0",
    ):
        points = years.sample(9000, sampling="lhs")
    assert len(points[:, 0].unique()) < 8194
    with pytest.warns(UserWarning, match="different numbers"):
        years.sample_face("x", "low", 9000)
    with pytest.warns(UserWarning, match="for 9,001 points"):
        years.grid(9001, 2)
    recwarn.clear()
    assert len(years.sample(9000, sampling="lhs", dtype=torch.float64)[:, 0].unique()) == 9000
    years.sample(1000)
    years.sample_face("t", "low", 9000)
    years.grid(2, 9001)
    Box(t=(0, 1), x=(-1, 1)).sample(100_000)
    assert not recwarn.list
