"""Sources in a picture: found where they were put, with their flux; the two groups of Hubble."""

import numpy as np
import pytest
import torch

from pyneural import data
from pyneural.errors import ArgumentError


def sky(*sources, size=(80, 90), noise=0.01):
    """Three colours of normal noise around 0.1, with Gaussians of 1.5 pixels at (row, column)."""
    generator = torch.Generator().manual_seed(0)
    image = 0.1 + noise * torch.randn(3, *size, generator=generator)
    rows, columns = torch.meshgrid(*(torch.arange(edge) for edge in size), indexing="ij")
    for row, column, height in sources:
        square = (rows - row).square() + (columns - column).square()
        image += height * torch.exp(-square / (2 * 1.5**2))
    return image


def test_sources_are_found_where_they_are():
    placed = [(20, 30, 0.5), (40, 60, 0.9), (60, 20, 0.2)]
    images, flux, places = data.find_sources(sky(*placed), size=10)
    assert places.tolist() == [[20, 30], [40, 60], [60, 20]]
    # Of a Gaussian 2 pi sigma^2 h, of which the square has that part.
    inside = torch.erf(torch.tensor(4.5 / 1.5 / 2**0.5)).item() ** 2
    expected = [inside * 2 * np.pi * 1.5**2 * height for *_, height in placed]
    assert flux.tolist() == pytest.approx(expected, rel=0.05)
    image = sky(*placed)
    assert torch.equal(images[1], image[:, 35:45, 55:65])


def test_faint_and_cut_off_sources_are_left_out():
    assert len(data.find_sources(sky((20, 30, 0.5)), threshold=5).images) == 1
    assert len(data.find_sources(sky((20, 30, 0.5)), threshold=500).images) == 0
    at_the_edge = sky((4, 30, 0.5), (40, 87, 0.5))
    assert len(data.find_sources(at_the_edge, size=16).images) == 0
    assert data.find_sources(at_the_edge, size=8).places.tolist() == [[4, 30]]


def test_cut_outs_that_touch_the_edges():
    image = sky((8, 8, 0.5), (72, 82, 0.5))
    assert len(data.find_sources(image, size=16).images) == 2


def test_hubble_groups():
    pytest.importorskip("skimage")
    train, test = data.hubble_sources()
    for images, group in (train, test):
        assert images.shape[1:] == (3, 16, 16)
        assert min(group.bincount()) > 200
        middle = images[:, :, 4:13, 4:13].mean((1, 2, 3))
        assert middle[group == 0].min() > middle[group == 1].max()
    left = data.hubble_deep_field()[..., :500]
    flat = left.unfold(1, 16, 1).unfold(2, 16, 1).permute(1, 2, 0, 3, 4)  # [R, K, 3, 16, 16]
    first = train.images[0]
    assert bool((flat == first).flatten(2).all(2).any())  # a part of the left half


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((torch.zeros(3, 40, 40, dtype=torch.uint8),), "image: expected a tensor"),
        ((torch.zeros(40, 40),), "image: expected a tensor"),
        ((None,), "image: expected a tensor"),
        ((torch.zeros(3, 40, 40), 7), "size: expected an even number from 2 to 40, got 7"),
        ((torch.zeros(3, 40, 40), 42), "size: expected an even number from 2 to 40, got 42"),
        ((torch.zeros(3, 40, 40), 8, 0), "threshold: expected a number > 0, got 0; write 5"),
    ],
)
def test_refused(arguments, text):
    with pytest.raises(ArgumentError, match="find_sources: " + text.replace("[", r"\[")):
        data.find_sources(*arguments)
