"""A step of Adam: counts, and what is refused. Its values are in tests/optim."""

from __future__ import annotations

import copy

import pytest
import torch

from pyneural import ops


def test_steps_are_counted_for_each_parameter():
    """The step of a parameter that joins late is as large as that of the first."""
    w = [torch.zeros(3), torch.zeros(3)]
    lists = [[torch.zeros(3)] * 2 for _ in range(2)]
    steps = [torch.zeros(()), torch.full((), 7, dtype=torch.float64)]
    ops.adam_(w, [torch.ones(3)] * 2, *lists, steps, learning_rate=1.0)
    assert [float(step) for step in steps] == [1, 8]
    torch.testing.assert_close(w[0], torch.full((3,), -1.0))
    assert (w[1] > -0.9).all()


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_are_those_of_the_reference(dtype, decoupled):
    shapes = [(3,), (65, 257), (), (0, 4), (1,)]
    tensors = [[torch.rand(shape, dtype=dtype) for shape in shapes] for _ in range(4)]
    lists = [*tensors, [torch.full((), float(i)) for i in range(len(shapes))]]
    others = copy.deepcopy(lists)
    rates = 0.01, 0.7, 0.9, 1e-3, 0.2, decoupled
    torch.ops.pyneural.adam_(*lists, *rates)
    ops.reference.adam_(*others, *rates)
    torch.testing.assert_close(lists, others)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[0].pop(), r"gradients: expected 1 tensors, as many as parameters, got 2"),
        (lambda t: t[2].pop(), r"averages: expected 2 tensors.*got 1; give one for each"),
        (
            lambda t: t[1].__setitem__(0, torch.zeros(4)),
            r"gradients\[0\].*shape \[3\], got Float \[4\]",
        ),
        (lambda t: t[3].__setitem__(1, torch.zeros(3).double()), r"squares\[1\].*got Double"),
        (lambda t: t[0].__setitem__(0, torch.zeros(6)[::2]), r"parameters\[0\].*contiguous"),
        (lambda t: t[4].pop(), r"steps: expected 2 counts.*got 1; give one for each"),
        (lambda t: t[4].clear(), r"steps: expected 2 counts.*got 0; give one for each"),
        (lambda t: t[4].__setitem__(1, torch.zeros(()).long()), r"steps\[1\].*got Long"),
        (lambda t: t[4].__setitem__(0, torch.zeros(2)), r"steps\[0\].*got Float \[2\]"),
    ],
)
def test_bad_input(change, message):
    lists = [[torch.zeros(3) for _ in range(2)] for _ in range(4)]
    lists.append([torch.zeros(()) for _ in range(2)])
    change(lists)
    with pytest.raises(ValueError, match=message):
        ops.adam_(*lists, learning_rate=1.0)


def test_parameters_of_several_devices_are_refused():
    lists = [[torch.zeros(3, device=device) for device in ("cpu", "meta")] for _ in range(4)]
    rates = 1.0, 0.9, 0.99, 1e-6, 0.0, False
    with pytest.raises(ValueError, match=r"parameters\[1\].* on cpu like the first, got .* meta"):
        torch.ops.pyneural.check_adam_(*lists, [torch.zeros(())] * 2, *rates)


def test_half_precision_is_refused():
    tensors = [torch.zeros(3, dtype=torch.float16)]
    with pytest.raises(ValueError, match="expected float32 or float64, got Half"):
        ops.adam_(*[tensors] * 4, [torch.zeros(())], learning_rate=1.0)
