"""The native digits, dequantisation and bits per dimension."""

from __future__ import annotations

import math

import pytest
import torch

from pyneural import data
from pyneural.errors import ArgumentError


def test_digits_8x8_are_those_of_scikit_learn():
    source = pytest.importorskip("sklearn.datasets").load_digits()
    (x, y), (x_test, y_test) = data.digits_8x8()
    assert x.dtype == torch.float32
    assert torch.equal(torch.cat([x, x_test]).double(), torch.from_numpy(source.data))
    assert torch.equal(torch.cat([y, y_test]), torch.from_numpy(source.target).long())
    assert torch.equal(y, data.digits()[0][1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.uint8, torch.bfloat16])
def test_dequantised_values_floor_to_the_whole_numbers(dtype):
    levels = 17
    x = (torch.arange(100 * levels).reshape(100, levels) % levels).to(dtype)
    u = data.dequantise(x, levels, seed=3)
    assert u.dtype == (dtype if dtype.is_floating_point else torch.float32)
    assert u.min() >= 0
    assert u.max() < 1
    if dtype != torch.bfloat16:  # three digits are too few for the noise
        assert torch.equal((u.double() * levels).floor(), x.double())
        rest = u.double() * levels - x.double()
        assert abs(rest.mean() - 0.5) < 4 / math.sqrt(12 * x.numel())
    assert torch.equal(u, data.dequantise(x, levels, torch.Generator().manual_seed(3)))


def test_rounding_does_not_reach_one():
    x = torch.full((1_000_000,), 255.0)
    assert data.dequantise(x, 256).max() < 1


def test_bits_are_those_of_independent_histograms():
    """Constant in each bin of [0, 1), a density gives exactly the entropy of the histogram."""
    levels, count = 17, 2000
    probability = torch.softmax(torch.linspace(0, 3, levels, dtype=torch.float64), 0)
    x = torch.multinomial(probability.expand(count, -1), 5, replacement=True).double()
    u = data.dequantise(x, levels)
    log_density = (levels * probability[(u * levels).floor().long()]).log().sum(1)
    bits = data.bits_per_dimension(log_density, 5, levels)
    assert bits.shape == (count,)
    exact = -probability[x.long()].log2().mean(1)
    torch.testing.assert_close(bits, exact, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: data.dequantise(torch.tensor([0.5]), 17),
            r"dequantise: x: expected whole numbers 0 to 16, got 0\.5; give the pixels",
        ),
        (lambda: data.dequantise(torch.tensor([17.0]), 17), r"0 to 16, got 17; "),
        (lambda: data.dequantise(torch.tensor([math.nan]), 17), r"0 to 16, got nan; "),
        (lambda: data.dequantise(torch.tensor([-1]), 17), r"0 to 16, got -1; "),
        (lambda: data.dequantise(torch.zeros(2), 0), r"levels: expected >= 1, got 0; write 256"),
        (
            lambda: data.bits_per_dimension(torch.zeros(2), 0, 17),
            r"bits_per_dimension: dimensions and levels: expected >= 1, got 0 and 17; write 64",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()


def test_empty_images():
    assert data.dequantise(torch.zeros(0, 64), 17).shape == (0, 64)
