"""Frechet and kernel distance against closed forms, scipy and sums over pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyneural.metrics import feature_distances, frechet_distance, kernel_distance, noise_floor


def normal(count, features=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, features, generator=generator, dtype=torch.float64)


def mixed(count, features=3, seed=0):
    """Correlated columns."""
    return normal(count, features, seed) @ normal(features, features, seed + 50) + seed


def test_frechet_distance_equal_to_that_of_scipy():
    linalg = pytest.importorskip("scipy.linalg")
    x, y = mixed(50, 5, 1), mixed(80, 5, 2)
    first, second = (np.cov(part.numpy(), rowvar=False) for part in (x, y))
    root = linalg.sqrtm(first @ second).real
    exact = float((x.mean(0) - y.mean(0)).square().sum()) + np.trace(first + second - 2 * root)
    assert frechet_distance(x, y) == pytest.approx(float(exact), rel=1e-10)


def test_frechet_distance_of_one_column():
    x, y = normal(100, 1), 3 * normal(70, 1, 1) + 2
    exact = (x.mean() - y.mean()) ** 2 + (x.std() - y.std()) ** 2
    assert frechet_distance(x, y) == pytest.approx(float(exact), rel=1e-12)


def test_frechet_distance_of_singular_covariances():
    """Constant columns, and more columns than rows, where a root by scipy has imaginary parts."""
    x, y = mixed(40, 4, 1), mixed(40, 4, 2)
    plane = torch.linalg.qr(normal(200, 4))[0]  # [200, 4], orthonormal columns
    expected = frechet_distance(x, y)
    found = frechet_distance(x @ plane.T, y @ plane.T)
    assert found == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(x @ plane.T, x @ plane.T) < 1e-9
    assert frechet_distance(x, x) < 1e-12
    ones = torch.ones(40, 3, dtype=torch.float64)
    assert frechet_distance(ones, ones + 1) == pytest.approx(3.0)


def test_frechet_distance_of_sets_on_orthogonal_lines():
    """The product of the covariances is zero; a root of their rounding would be 1e-8."""
    directions = torch.linalg.qr(normal(20, 2))[0].T
    x, y = (normal(100, 1, i) * line for i, line in enumerate(directions))
    exact = x.var(0).sum() + y.var(0).sum() + (x.mean(0) - y.mean(0)).square().sum()
    assert frechet_distance(x, y) == pytest.approx(float(exact), rel=1e-12)


def by_pairs(x, y):
    """Eq. 4 of the paper, as it is written."""

    def k(a, b):
        return (a @ b / len(a) + 1) ** 3

    m, n = len(x), len(y)
    within = [
        sum(k(rows[i], rows[j]) for i in range(len(rows)) for j in range(len(rows)) if i != j)
        for rows in (x, y)
    ]
    across = sum(k(a, b) for a in x for b in y)
    return within[0] / (m * (m - 1)) + within[1] / (n * (n - 1)) - 2 * across / (m * n)


@pytest.mark.parametrize("elements", [1 << 24, 50], ids=["one block", "many blocks"])
def test_kernel_distance_equal_to_sums_over_pairs(elements, monkeypatch):
    monkeypatch.setattr(feature_distances, "_ELEMENTS", elements)
    x, y = mixed(9, 4, 1), mixed(13, 4, 2)
    assert kernel_distance(x, y) == pytest.approx(float(by_pairs(x, y)), rel=1e-12)


def test_kernel_distance_of_known_moments():
    """For one column k has the features 1, x, x^2, x^3, whose means are known."""
    shift = 0.5
    found = [kernel_distance(normal(500, 1, i), normal(500, 1, i + 50) + shift) for i in range(50)]
    a, b = np.array([0.0, 1.0, 0.0]), np.array([shift, 1 + shift**2, shift**3 + 3 * shift])
    exact = float((np.array([3, 3, 1]) * (a - b) ** 2).sum())
    assert abs(np.mean(found) - exact) < 4 * np.std(found) / np.sqrt(50)


def test_noise_floors():
    """Bias of the one falls with N, the other has none."""
    small, large = (noise_floor(frechet_distance, normal(n, 8), repeats=5) for n in (400, 4000))
    assert 5 < small.mean / large.mean < 20
    kernel = noise_floor(kernel_distance, normal(1000, 8), repeats=20)
    assert abs(kernel.mean) < 4 * kernel.std / np.sqrt(20)


def test_dtype_and_gradients():
    x, y = normal(50).float().requires_grad_(), normal(50, seed=1).float()
    for metric in (frechet_distance, kernel_distance):
        exact = metric(x.detach().double(), y.double())
        assert metric(x, y) == pytest.approx(exact, rel=1e-12)
