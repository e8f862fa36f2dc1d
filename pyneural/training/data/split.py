"""Training, validation and test sets, of which the test set is opened once."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyneural.errors import whole
from pyneural.training.checks import check


class ThreeWaySplit:
    """Samples divided at random: to train on, to choose by, and to test the choice once.

    A test set that has helped to choose says nothing about new data any more, so that
    ``open_test`` gives it a single time.

    Args:
        arrays: arrays or tensors, [N, ...] each, divided in the same way.
        fractions: of the three parts, none of them empty; their sum is 1.
        seed: of the order.

    >>> x = np.arange(10)
    >>> split = ThreeWaySplit(x, x**2, fractions=(0.6, 0.2, 0.2))
    >>> [len(part) for part in split.train], [len(part) for part in split.validation]
    ([6, 6], [2, 2])
    >>> x_test, y_test = split.open_test()
    >>> split.open_test()
    Traceback (most recent call last):
    RuntimeError: ThreeWaySplit.open_test: expected to be called once, got a second call; ...
    """

    def __init__(
        self, *arrays: Any, fractions: Sequence[float] = (0.7, 0.15, 0.15), seed: int = 0
    ) -> None:
        where, lengths = "ThreeWaySplit: arrays", [len(array) for array in arrays]
        got, remedy = f"lengths {lengths}", "give one row of each for each sample"
        check(len(set(lengths)) == 1, where, "some of one length", got, remedy)
        good = len(fractions) == 3 and abs(sum(fractions) - 1) < 1e-9 and min(fractions) > 0
        expected, remedy = "three numbers > 0 with the sum 1", "write (0.7, 0.15, 0.15)"
        check(good, "ThreeWaySplit: fractions", expected, tuple(fractions), remedy)
        samples = lengths[0]
        order = torch.randperm(
            samples, generator=torch.Generator().manual_seed(whole("ThreeWaySplit: seed", seed))
        )
        first = round(samples * fractions[0])
        second = round(samples * (fractions[0] + fractions[1]))
        parts = (order[:first], order[first:second], order[second:])
        got = f"{samples} for {tuple(fractions)}"
        check(all(map(len, parts)), where, "samples for each part", got, "give more")
        self.train, self.validation, test = (_take(arrays, rows) for rows in parts)
        self._test: tuple[Any, ...] | None = test

    def open_test(self) -> tuple[Any, ...]:
        """The test part of each array; RuntimeError the second time."""
        if self._test is None:
            raise RuntimeError(
                "ThreeWaySplit.open_test: expected to be called once, got a second call; a choice "
                "made by the test set needs a new test set"
            )
        test, self._test = self._test, None
        return test


def _take(arrays: Sequence[Any], rows: Tensor) -> tuple[Any, ...]:
    return tuple(
        array[rows.to(array.device)] if isinstance(array, Tensor) else np.asarray(array)[rows]
        for array in arrays
    )
