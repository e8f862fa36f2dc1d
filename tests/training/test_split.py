"""The three parts of the data, of which the last one is opened once."""

import numpy as np
import pytest
import torch

from pyneural.training import ThreeWaySplit


def test_parts_are_disjoint_complete_and_aligned():
    x = np.arange(100)
    split = ThreeWaySplit(x, torch.from_numpy(x) * 2, fractions=(0.5, 0.3, 0.2), seed=1)
    parts = (split.train, split.validation, split.open_test())
    assert [len(part[0]) for part in parts] == [50, 30, 20]
    assert sorted(np.concatenate([part[0] for part in parts])) == list(x)
    for part in parts:
        assert isinstance(part[1], torch.Tensor)
        np.testing.assert_array_equal(part[0] * 2, part[1].numpy())
    again = ThreeWaySplit(x, fractions=(0.5, 0.3, 0.2), seed=1)
    other = ThreeWaySplit(x, fractions=(0.5, 0.3, 0.2), seed=2)
    np.testing.assert_array_equal(split.train[0], again.train[0])
    assert (split.train[0] != other.train[0]).any()


def test_the_test_part_is_given_once():
    split = ThreeWaySplit(np.arange(10))
    split.open_test()
    with pytest.raises(RuntimeError, match="got a second call"):
        split.open_test()


@pytest.mark.parametrize(
    ("arrays", "fractions", "text"),
    [
        ((np.arange(5), np.arange(4)), (0.6, 0.2, 0.2), r"one length, got lengths \[5, 4\]"),
        ((), (0.6, 0.2, 0.2), r"one length, got lengths \[\]"),
        ((np.arange(9),), (0.6, 0.2), r"three numbers > 0 with the sum 1, got \(0.6, 0.2\)"),
        ((np.arange(9),), (0.6, 0.6, -0.2), r"three numbers > 0"),
        ((np.arange(2),), (0.6, 0.2, 0.2), r"samples for each part, got 2"),
    ],
)
def test_bad_input(arrays, fractions, text):
    with pytest.raises(ValueError, match=text):
        ThreeWaySplit(*arrays, fractions=fractions)
