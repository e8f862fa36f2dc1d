"""Training, validation and test sets, of which the test set is opened once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


class ThreeWaySplit:
    """Samples divided at random: to train on, to choose by, and to test the choice once.

    A test set that has helped to choose says nothing about new data any more, so that
    ``open_test`` gives it a single time.

    Args:
        arrays: arrays or tensors, [N, ...] each, divided in the same way.
        fractions: of the three parts; their sum is 1.
        seed: of the order.

    Raises:
        ValueError: lengths that differ, fractions that are not, or a part without samples.

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
        if not arrays or len({len(array) for array in arrays}) != 1:
            raise ValueError(
                f"ThreeWaySplit: arrays: expected some of one length, got lengths "
                f"{[len(array) for array in arrays]}; give one row of each for each sample"
            )
        whole = abs(sum(fractions) - 1) < 1e-9 and all(fraction > 0 for fraction in fractions)
        if len(fractions) != 3 or not whole:
            raise ValueError(
                f"ThreeWaySplit: fractions: expected three numbers > 0 with the sum 1, got "
                f"{tuple(fractions)}; write (0.7, 0.15, 0.15)"
            )
        samples = len(arrays[0])
        order = torch.randperm(samples, generator=torch.Generator().manual_seed(seed))
        first = round(samples * fractions[0])
        second = round(samples * (fractions[0] + fractions[1]))
        parts = (order[:first], order[first:second], order[second:])
        if not all(map(len, parts)):
            raise ValueError(
                f"ThreeWaySplit: arrays: expected samples for each part, got {samples} for "
                f"{tuple(fractions)}; give more"
            )
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
