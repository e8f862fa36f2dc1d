"""The classifier two-sample test against the best accuracy there is, and against scikit-learn."""

from __future__ import annotations

import math

import pytest
import torch

from pyneural.errors import ArgumentError
from pyneural.metrics import c2st


def normal(count, features=2, seed=0):
    return torch.randn(count, features, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_noise_floor(seed):
    value = c2st(normal(1000, seed=seed), normal(1000, seed=seed + 10))
    assert abs(value - 0.5) < 3 * 0.5 / math.sqrt(2000)


@pytest.mark.parametrize(("shift", "seed"), [(1.0, 0), (2.0, 1)])
def test_shifted_gaussians_reach_the_accuracy_of_bayes(shift, seed):
    x, y = normal(1000, seed=seed), normal(1000, seed=seed + 10)
    y[:, 1] += shift
    best = 0.5 + 0.5 * math.erf(shift / 2 / math.sqrt(2))  # Phi(shift / 2)
    value = c2st(x, y)
    assert abs(value - best) < 3 * math.sqrt(best * (1 - best) / 2000)


def test_it_trains_where_no_gradients_are_wanted():
    x, y = normal(200), normal(200, seed=1)
    with torch.no_grad():
        assert c2st(x, y) == c2st(x, y)


def test_correlation_that_no_column_shows():
    x, y = normal(1000), normal(1000, seed=1)
    y[:, 1] = 0.9 * y[:, 0] + math.sqrt(0.19) * y[:, 1]
    # Likelihood ratio of the two Gaussians, on samples of its own.
    z, precision = normal(200_000, seed=2), torch.tensor([[1, -0.9], [-0.9, 1]]) / 0.19
    w = torch.stack([z[:, 0], 0.9 * z[:, 0] + math.sqrt(0.19) * z[:, 1]], 1)

    def says_y(points):
        quadratic = ((points @ (precision - torch.eye(2))) * points).sum(1)
        return (-0.5 * quadratic - 0.5 * math.log(0.19) > 0).float().mean()

    best = 0.5 * float(says_y(w) + 1 - says_y(z))
    assert best - 0.04 < c2st(x, y) < best + 0.03


def test_equal_to_the_classifier_of_scikit_learn():
    selection = pytest.importorskip("sklearn.model_selection")
    network = pytest.importorskip("sklearn.neural_network").MLPClassifier
    x, y = normal(200), 2 * normal(200, seed=1)
    rows = torch.cat([(x - x.mean(0)) / x.std(0), (y - x.mean(0)) / x.std(0)]).numpy()
    classifier = network((20, 20), max_iter=10_000, random_state=1)
    folds = selection.KFold(5, shuffle=True, random_state=1)
    labels = [0] * 200 + [1] * 200
    theirs = selection.cross_val_score(classifier, rows, labels, cv=folds).mean()
    assert abs(c2st(x, y) - theirs) < 3 * math.sqrt(0.24 / 400)


def test_scale_units_and_constant_columns_do_not_matter():
    x, y = normal(200), normal(200, seed=1) + 2
    value = c2st(x, y, epochs=30)
    wide = torch.tensor([1e6, 1e-6])
    assert c2st(x * wide + 1, y * wide + 1, epochs=30) == pytest.approx(value, abs=0.02)
    ones = torch.ones(200, 1)
    assert c2st(torch.cat([x, ones], 1), torch.cat([y, ones], 1), epochs=30) > 0.8


def test_seed_and_global_generator():
    x, y = normal(100), normal(101, seed=1)[1:]
    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert c2st(x, y, epochs=3, seed=4) == c2st(x, y, epochs=3, seed=4)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (normal(9), normal(9, 3), {}, r"expected \[N, D\] each, got \[9, 2\] and \[9, 3\]"),
        (normal(9), normal(8), {}, r"expected as many rows, got 9 and 8"),
        (normal(9), normal(9), {"folds": 1}, r"folds: expected 2 to the 9 rows of x, got 1"),
        (normal(0), normal(0), {}, r"folds: expected 2 to the 0 rows of x, got 5"),
        (normal(9), normal(9) / 0, {}, r"y: expected finite numbers, got NaN or infinity"),
        (normal(9).long(), normal(9), {}, r"x: expected floats, got int64; write x\.float\(\)"),
    ],
)
def test_bad_input_is_named(x, y, options, message):
    with pytest.raises(ArgumentError, match=r"c2st: .*" + message):
        c2st(x, y, **options)
