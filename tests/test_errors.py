"""What is said of numbers that are not whole."""

import numpy as np
import pytest

from pyneural.errors import ArgumentError, whole


@pytest.mark.parametrize("value", [3.0, np.float32(2.5), float("nan")])
def test_a_float(value):
    with pytest.raises(ArgumentError, match=r"f: n: expected a whole number, got .*; write int\("):
        whole("f: n", value)


@pytest.mark.parametrize("value", [True, "3", None, np.array([3]), 1j])
def test_what_is_no_number(value):
    with pytest.raises(ArgumentError, match=r"f: n: .*; write a whole number such as 3$"):
        whole("f: n", value)
