"""Covered modes and the share within three standard deviations, against chi squared and counts."""

from __future__ import annotations

import math

import pytest
import torch

from pyneural.data.toys import EightGaussians, GaussianGrid
from pyneural.errors import ArgumentError
from pyneural.metrics import mode_coverage

MIXTURES = [EightGaussians(2.0, 0.02), GaussianGrid()]


@pytest.mark.parametrize("toy", MIXTURES, ids=lambda toy: type(toy).__name__)
def test_the_mixture_itself(toy):
    x, modes = toy.sample(40_000, seed=1), len(toy.centres)
    found = mode_coverage(x, toy.centres, toy.noise)
    inside = 1 - math.exp(-4.5)  # of chi squared with two degrees of freedom
    assert found.modes == modes
    assert abs(found.share - inside) < 4 * math.sqrt(inside * (1 - inside) / len(x))
    spread = math.sqrt(inside / modes / len(x))
    assert ((found.weights - inside / modes).abs() < 5 * spread).all()


def test_lost_modes_and_samples_between_them():
    toy = EightGaussians(2.0, 0.02)
    x = toy.sample(4000)
    x = x[x[:, 0] > 0.5]  # three modes of eight
    between = 0.5 * (toy.centres[0] + toy.centres[1]).expand(len(x), 2)
    found = mode_coverage(torch.cat([x, between]), toy.centres, toy.noise)
    assert found.modes == 3
    assert found.share == pytest.approx(0.5 * 0.989, abs=0.01)
    assert found.weights.nonzero().flatten().tolist() == [0, 1, 7]


def test_a_sample_counts_once_and_for_the_nearest_mode():
    centres = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    x = torch.tensor([[0.4], [0.6], [2.6], [-2.0], [5.0]], dtype=torch.float64)
    found = mode_coverage(x, centres, 0.55)  # within 1.65 of a mode
    assert found.weights.tolist() == pytest.approx([0.2, 0.4])
    assert (found.modes, found.share) == (2, pytest.approx(0.6))


@pytest.mark.parametrize(
    ("samples", "centres", "std", "text"),
    [
        (torch.zeros(3), torch.zeros(2, 2), 0.1, r"samples: expected floats \[rows, D\]"),
        (torch.zeros(3, 2), torch.zeros(2, 3), 0.1, "samples: expected 3 columns"),
        (torch.zeros(0, 2), torch.zeros(2, 2), 0.1, "samples: expected at least one row"),
        (torch.zeros(3, 2), torch.zeros(0, 2), 0.1, "centres: expected at least one row"),
        (torch.full((3, 2), torch.nan), torch.zeros(2, 2), 0.1, "samples: expected finite"),
        (torch.zeros(3, 2), torch.zeros(2, 2), 0.0, "std: expected a finite number > 0"),
        (torch.zeros(3, 2).long(), torch.zeros(2, 2), 0.1, "samples: expected floats"),
    ],
)
def test_bad_input_is_named(samples, centres, std, text):
    with pytest.raises(ArgumentError, match=f"mode_coverage: {text}"):
        mode_coverage(samples, centres, std)
