"""A step of Adadelta: counts, and what is refused."""

from __future__ import annotations

import pytest
import torch

from pyneural import ops


def test_steps_rise_by_one():
    lists = [[torch.zeros(3)] * 2 for _ in range(4)]
    steps = [torch.zeros(()), torch.full((), 7, dtype=torch.float64)]
    for _ in range(2):
        ops.adadelta_(*lists, steps, learning_rate=1.0)
    assert [float(step) for step in steps] == [2, 9]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[0].pop(), r"gradients: expected 1 tensors, as many as parameters, got 2"),
        (lambda t: t[2].pop(), r"squares: expected 2 tensors.*got 1; give one for each"),
        (
            lambda t: t[1].__setitem__(0, torch.zeros(4)),
            r"gradients\[0\].*shape \[3\], got Float \[4\]",
        ),
        (lambda t: t[3].__setitem__(1, torch.zeros(3).double()), r"changes\[1\].*got Double"),
        (lambda t: t[0].__setitem__(0, torch.zeros(6)[::2]), r"parameters\[0\].*contiguous"),
        (lambda t: t[4].pop(), r"steps: expected none or 2 counts.*got 1; give one for each"),
        (lambda t: t[4].__setitem__(1, torch.zeros(()).long()), r"steps\[1\].*got Long"),
        (lambda t: t[4].__setitem__(0, torch.zeros(2)), r"steps\[0\].*got Float \[2\]"),
    ],
)
def test_bad_input(change, message):
    lists = [[torch.zeros(3) for _ in range(2)] for _ in range(4)]
    lists.append([torch.zeros(()) for _ in range(2)])
    change(lists)
    with pytest.raises(ValueError, match=message):
        ops.adadelta_(*lists, learning_rate=1.0)


def test_parameters_of_several_devices_are_refused():
    lists = [[torch.zeros(3, device=device) for device in ("cpu", "meta")] for _ in range(4)]
    with pytest.raises(ValueError, match=r"parameters\[1\].* on cpu like the first, got .* meta"):
        torch.ops.pyneural.check_adadelta_(*lists, [], 1.0, 0.9, 1e-6, 0.0)


def test_half_precision_is_refused():
    tensors = [torch.zeros(3, dtype=torch.float16)]
    with pytest.raises(ValueError, match="expected float32 or float64, got Half"):
        ops.adadelta_(tensors, tensors, tensors, tensors, learning_rate=1.0)


def test_an_infinite_weight_stays_infinite():
    """Without a penalty nothing of the weight enters the averages."""
    w, s, u = torch.tensor([float("inf"), 1.0]), torch.zeros(2), torch.zeros(2)
    ops.adadelta_([w], [torch.ones(2)], [s], [u], learning_rate=1.0)
    assert w[0] == float("inf")
    assert torch.isfinite(torch.stack([s, u])).all()
