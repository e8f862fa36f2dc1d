"""Precision, recall and memorisation against all pairs, scipy and closed forms."""

from __future__ import annotations

import pytest
import torch

from pyneural.errors import ArgumentError
from pyneural.metrics import memorisation, neighbours, noise_floor, precision_recall

both_blocks = pytest.mark.parametrize("elements", [1 << 24, 99], ids=["one block", "many blocks"])


def normal(count, features=2, seed=0):
    return torch.randn(count, features, generator=torch.Generator().manual_seed(seed))


def by_pairs(real, samples, k):
    """Algorithm 1 of the paper, with all distances at once."""
    real, samples = real.double(), samples.double()

    def share(manifold, points):
        own = torch.cdist(manifold, manifold, compute_mode="donot_use_mm_for_euclid_dist")
        radius = own.sort(1).values[:, k]  # the first is the row itself
        distance = torch.cdist(points, manifold, compute_mode="donot_use_mm_for_euclid_dist")
        return float((distance <= radius).any(1).double().mean())

    return share(real, samples), share(samples, real)


@both_blocks
@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall_by_all_pairs(elements, k, monkeypatch):
    monkeypatch.setattr(neighbours, "_ELEMENTS", elements)
    real, samples = normal(200, 3), 0.5 * normal(150, 3, 1) + 0.3
    found = precision_recall(real, samples, k=k)
    assert found == pytest.approx(by_pairs(real, samples, k), abs=1e-12)
    assert 1 >= found.precision > found.recall > 0


def test_precision_and_recall_of_separate_sets_and_of_copies():
    real = normal(100)
    assert precision_recall(real, real + 100) == (0, 0)
    copies = real.repeat_interleave(5, 0)  # balls without a radius, which hold their centres
    assert precision_recall(1e3 + copies, 1e3 + copies) == (1, 1)
    assert precision_recall(real, real[:10]).precision == 1


def test_a_missing_mode_lowers_recall_alone():
    real, modes = normal(600, seed=1), torch.tensor([-20.0, 0.0, 20.0]).repeat(200)
    real[:, 0] += modes
    samples = normal(600, seed=2)
    samples[:, 0] += modes.clamp(max=0)
    p, r = precision_recall(real, samples)
    assert p > 0.9
    assert 0.5 < r < 2 / 3


@both_blocks
def test_memorisation_against_scipy(elements, monkeypatch):
    stats = pytest.importorskip("scipy.stats")
    spatial = pytest.importorskip("scipy.spatial")
    monkeypatch.setattr(neighbours, "_ELEMENTS", elements)
    train, held_out = normal(300, 3), normal(70, 3, 1)
    samples = torch.cat([normal(60, 3, 2), train[:20], train[5:9] + 0.01])
    found = memorisation(samples, train, held_out)
    tree = spatial.KDTree(train.double().numpy())
    d, other = (tree.query(x.double().numpy())[0] for x in (samples, held_out))
    u = stats.mannwhitneyu(other, d).statistic
    assert found.share == pytest.approx(u / (len(d) * len(other)), abs=1e-12)
    assert found.samples == pytest.approx(torch.tensor(d).median().item(), rel=1e-12)
    assert found.held_out == pytest.approx(torch.tensor(other).median().item(), rel=1e-12)
    assert found.z > 2


def test_copies_are_at_distance_zero():
    train = 1e4 + normal(100, 5)
    found = memorisation(train[:50], train, 1e4 + normal(50, 5, 1))
    assert found.share == 1
    assert found.samples == 0
    assert memorisation(train[:9], train, train[20:40]).share == 0.5  # ties


def test_noise_floor_of_memorisation():
    train, held_out = normal(500), normal(400, seed=1)
    floor = noise_floor(lambda x, y: memorisation(x, train, y).z, held_out, repeats=40)
    assert abs(floor.mean) < 0.5
    assert 0.7 < floor.std < 1.4


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (normal(9), normal(9, 3), r"expected \[N, D\] each, got \[9, 2\] and \[9, 3\]"),
        (normal(9), normal(2), r"samples: expected at least 4 rows, got 2"),
        (normal(0), normal(9), r"real: expected at least 4 rows, got 0"),
        (normal(9), normal(9) / 0, r"samples: expected finite numbers, got NaN or infinity"),
        (normal(9).long(), normal(9), r"real: expected floats, got int64; write real\.float\(\)"),
    ],
)
def test_bad_input_is_named(x, y, message):
    with pytest.raises(ArgumentError, match=r"precision_recall: .*" + message):
        precision_recall(x, y)


def test_number_of_neighbours_is_checked():
    with pytest.raises(ArgumentError, match="k: expected >= 1, got 0"):
        precision_recall(normal(9), normal(9), k=0)
