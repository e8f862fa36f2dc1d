"""Labels of a classifier: coverage, entropy, confidence."""

from __future__ import annotations

import math

import pytest
import torch

from pyneural.errors import ArgumentError
from pyneural.metrics import class_coverage, noise_floor


def sure_of(labels, classes, p=0.95):
    rest = (1 - p) / (classes - 1)
    one_hot = torch.nn.functional.one_hot(torch.as_tensor(labels), classes)
    return one_hot * (p - rest) + rest


def test_entropy_equal_to_scipy():
    stats = pytest.importorskip("scipy.stats")
    labels = torch.tensor([0] * 50 + [1] * 30 + [2] * 20)
    found = class_coverage(sure_of(labels, 4))
    assert found.shares.tolist() == [0.5, 0.3, 0.2, 0]
    assert found.entropy == pytest.approx(stats.entropy([0.5, 0.3, 0.2]), rel=1e-12)
    assert found.covered == 3


def test_all_classes_and_one():
    even = class_coverage(sure_of(torch.arange(100) % 10, 10))
    assert even.covered == 10
    assert even.entropy == pytest.approx(math.log(10))
    one = class_coverage(sure_of(torch.zeros(100).long(), 10))
    assert (one.covered, one.entropy) == (1, 0)


def test_a_class_of_less_than_a_tenth_of_an_even_share_is_not_covered():
    for count, covered in ((50, 2), (49, 1)):  # of 1,000: 0.1 / 2 is 50 of them
        labels = torch.zeros(1000).long()
        labels[:count] = 1
        assert class_coverage(sure_of(labels, 2)).covered == covered


def test_confidence():
    p = torch.cat([sure_of([0] * 30, 3, 0.95), sure_of([1] * 10, 3, 0.6)])
    assert class_coverage(p).confident == 0.75
    assert class_coverage(p, confidence=0.5).confident == 1
    assert class_coverage(p, confidence=0.96).confident == 0


def test_noise_floor_of_halves():
    p = sure_of(torch.arange(1000) % 10, 10)
    floor = noise_floor(lambda x, _: class_coverage(x).entropy, p)
    assert math.log(10) - 0.02 < floor.mean < math.log(10)


@pytest.mark.parametrize(
    ("p", "message"),
    [
        (torch.rand(3), r"expected \[N, C\]"),
        (torch.rand(0, 3), r"got \[0, 3\]"),
        (torch.tensor([[3.0, -2.0], [0.5, 0.5]]), "got 1 others; take the softmax"),
        (torch.tensor([[0.5, math.nan]]), "got 1 others"),
    ],
)
def test_bad_input_is_named(p, message):
    with pytest.raises(ArgumentError, match=rf"class_coverage: probabilities: .*{message}"):
        class_coverage(p)


def test_confidence_is_checked():
    with pytest.raises(ArgumentError, match=r"confidence: expected a number in \(0, 1\], got 90"):
        class_coverage(torch.ones(1, 1), confidence=90)
