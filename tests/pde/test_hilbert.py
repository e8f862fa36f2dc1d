"""Hilbert's curve: each cell beside the one before, and in the plane the curve that is known."""

import pytest
import torch

from pyneural.pde import hilbert_index


def cells(d, bits):
    axis = torch.arange(2**bits)
    return torch.cartesian_prod(*[axis] * d).view(-1, d)


def index(cells, bits, dtype=torch.float64):
    return hilbert_index((cells.to(dtype) + 0.5) / 2**bits, bits)


@pytest.mark.parametrize(
    ("d", "bits"), [(1, 1), (1, 6), (2, 1), (2, 5), (3, 1), (3, 4), (4, 3), (5, 2), (6, 2), (9, 1)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cells_one_after_the_other_are_neighbours(d, bits, dtype):
    grid = cells(d, bits)
    place = index(grid, bits, dtype)
    assert place.dtype == torch.int64
    assert sorted(place.tolist()) == list(range(len(grid)))
    path = grid[place.argsort()]
    assert (torch.diff(path, dim=0).abs().sum(1) == 1).all()
    assert (path[0] == 0).all()


def known_curve(side, x, y):
    """Place of a cell on Hilbert's curve in the plane, by quadrants, from the largest down."""
    place, half = 0, side // 2
    while half:
        right, up = int(x & half > 0), int(y & half > 0)
        place += half * half * ((3 * right) ^ up)
        if not up:
            if right:
                x, y = side - 1 - x, side - 1 - y
            x, y = y, x
        half //= 2
    return place


@pytest.mark.parametrize("bits", [1, 2, 3, 6])
def test_it_is_the_known_curve_in_the_plane(bits):
    grid = cells(2, bits)
    expected = [known_curve(2**bits, x, y) for x, y in grid.tolist()]
    assert index(grid, bits).tolist() == expected


def test_one_dimension_is_in_order_to_the_last_bit():
    x = torch.rand(1000, dtype=torch.float64).sort().values
    near = torch.tensor([0.5, 0.5 - 2**-54, 1 - 2**-53, 0.0], dtype=torch.float64)
    x = torch.cat([x, near]).sort().values.unique()
    assert (torch.diff(hilbert_index(x[:, None])) > 0).all()


def test_near_places_are_near_points(generator):
    for d in (2, 3, 5):
        x = torch.rand(4000, d, generator=generator, dtype=torch.float64)
        steps = torch.diff(x[hilbert_index(x).argsort()], dim=0).norm(dim=1).mean()
        assert steps < 2.5 * 4000 ** (-1 / d)


def test_bounds_and_points_outside_are_in_the_nearest_cell():
    x = torch.tensor([[-1.0, 0.2], [0.0, 0.2], [1.0, 0.3], [1.5, 0.3]])
    first, second, third, fourth = hilbert_index(x).tolist()
    assert first == second
    assert third == fourth
    assert 0 <= min(first, third) <= max(first, third) < 2**62


def test_more_coordinates_than_bits():
    x = torch.rand(20, 70)
    assert torch.equal(hilbert_index(x), hilbert_index(x[:, :62]))
    assert len(hilbert_index(x).unique()) == 20


@pytest.mark.parametrize(
    ("points", "bits", "text"),
    [
        (torch.zeros(3), None, r"points: expected floating-point \[N, d\]"),
        (torch.zeros(3, 0), None, "points"),
        (torch.zeros(3, 2, dtype=torch.int64), None, "points: .* got torch.int64"),
        (torch.zeros(3, 2), 32, "bits: expected 1 to 31 for 2 coordinates, got 32"),
        (torch.zeros(3, 2), 0, "bits"),
    ],
)
def test_bad_input(points, bits, text):
    with pytest.raises(ValueError, match=f"hilbert_index: {text}"):
        hilbert_index(points, bits)
