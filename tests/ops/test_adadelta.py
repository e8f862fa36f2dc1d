"""A step of Adadelta against torch's own optimiser."""

from __future__ import annotations

import copy

import pytest
import torch

from pyneural import ops
from pyneural.training import Adadelta
from pyneural.training.solvers import optimizers
from tests.nn.called_ops import CalledOps

SHAPES = [(3,), (784, 33), (), (1, 70_001), (0, 4)]


def parameters(dtype):
    return [torch.randn(shape, dtype=dtype, requires_grad=True) for shape in SHAPES]


def same(ours, torchs, dtype):
    for a, b in zip(ours, torchs, strict=True):
        tolerance = 1e-5 if dtype == torch.float32 else 1e-12
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def take_steps(pairs, steps):
    """The same gradients for both."""
    for _ in range(steps):
        for weights, optimizer in pairs:
            for index, weight in enumerate(weights):
                weight.grad = torch.sin(3 * weight.detach() + index)
            optimizer.step()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("options", [{}, {"lr": 0.3, "rho": 0.8, "eps": 1e-3, "weight_decay": 0.1}])
def test_steps_are_torchs(dtype, options):
    ours = parameters(dtype)
    torchs = copy.deepcopy(ours)
    pairs = [
        (ours, Adadelta(ours, **options)),
        (torchs, torch.optim.Adadelta(torchs, **options)),
    ]
    take_steps(pairs, 3)
    same(ours, torchs, dtype)
    states = [optimizer.state_dict()["state"] for _, optimizer in pairs]
    assert states[0].keys() == states[1].keys()
    for index, state in states[1].items():
        assert state.keys() == states[0][index].keys()
        same(states[0][index].values(), state.values(), dtype)


def test_state_passes_to_torchs_and_back():
    first = parameters(torch.float64)
    optimizer = Adadelta(first, lr=0.5)
    take_steps([(first, optimizer)], 2)
    then = copy.deepcopy(first)
    other = torch.optim.Adadelta(then, lr=0.5)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    take_steps([(first, optimizer), (then, other)], 2)
    same(first, then, torch.float64)
    optimizer.load_state_dict(copy.deepcopy(other.state_dict()))
    take_steps([(first, optimizer), (then, other)], 1)
    same(first, then, torch.float64)


@pytest.mark.parametrize(
    "change",
    [
        lambda weight: weight.t(),
        lambda weight: weight.half().float().bfloat16(),
        lambda weight: torch.view_as_complex(weight[:, :2].contiguous()),
    ],
    ids=["strided", "bfloat16", "complex"],
)
def test_others_take_torchs_step(change):
    torch.manual_seed(0)
    ours = [change(torch.randn(6, 4)).detach().requires_grad_()]
    torchs = [ours[0].detach().clone().requires_grad_()]
    for weights, kind in ((ours, Adadelta), (torchs, torch.optim.Adadelta)):
        optimizer = kind(weights)
        for _ in range(2):
            weights[0].grad = torch.ones_like(weights[0])
            optimizer.step()
    assert torch.equal(ours[0], torchs[0])


def test_maximize_sparse_gradient_closure_and_no_gradient():
    weight = torch.ones(4, 2, requires_grad=True)
    optimizer = Adadelta([weight], maximize=True)
    weight.grad = torch.ones(4, 2)
    optimizer.step()
    assert (weight > 1).all()

    weight = torch.ones(4, 2, requires_grad=True)
    optimizer = Adadelta([weight])
    optimizer.step()
    assert not optimizer.state
    assert optimizer.step(lambda: weight.sum()) == 8

    embedding = torch.nn.Embedding(4, 2, sparse=True)
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match="sparse"):
        Adadelta(embedding.parameters()).step()


def test_threads_and_shares_do_not_matter():
    torch.manual_seed(0)
    weights = parameters(torch.float32)
    results = []
    for threads in (1, 2, 3):
        mine = copy.deepcopy(weights)
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        take_steps([(mine, Adadelta(mine))], 2)
        torch.set_num_threads(before)
        results.append(mine)
    for others in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], others, strict=True))


def test_a_backward_through_what_a_step_has_changed_is_refused():
    w = torch.ones(3, requires_grad=True)
    loss = w.square().sum()
    w.grad = torch.ones(3)
    Adadelta([w]).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_torchs_step_runs_hooks_once():
    w = torch.ones(3, requires_grad=True)
    torch.optim.Adadelta([w])  # from now on the class's own step runs hooks
    optimizer = Adadelta([w], maximize=True)
    seen = []
    optimizer.register_step_post_hook(lambda *given: seen.append(given))
    w.grad = torch.ones(3)
    optimizer.step()
    assert len(seen) == 1


def test_averages_of_another_layout_take_torchs_step():
    w = torch.rand(2, 3, 4, 4, requires_grad=True)
    optimizer = Adadelta([w])
    w.grad = torch.rand_like(w)
    optimizer.step()
    state = optimizer.state[w]
    state["square_avg"] = state["square_avg"].to(memory_format=torch.channels_last)
    before = w.detach().clone()
    optimizer.step()
    assert not torch.equal(w, before)


def test_defaults_of_torch_do_not_matter():
    w = torch.ones(3, requires_grad=True)
    w.grad = torch.ones(3)
    optimizer = Adadelta([w])
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.bfloat16)
        with torch.device("meta"):
            optimizer.step()
    finally:
        torch.set_default_dtype(before)
    assert optimizer.state[w]["step"] == 1


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


def test_parameters_of_several_devices_take_torchs_step(monkeypatch):
    monkeypatch.setattr(optimizers, "KERNEL_DEVICES", ("cpu", "meta"))
    weights = [torch.ones(3, device=device).requires_grad_() for device in ("cpu", "meta")]
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    with CalledOps() as called:
        Adadelta(weights).step()
    assert "pyneural.adadelta_.default" not in called.names
    assert (weights[0] < 1).all()


def test_a_count_on_another_device_takes_torchs_step():
    weight = torch.ones(3, requires_grad=True)
    weight.grad = torch.ones(3)
    optimizer = Adadelta([weight])
    with CalledOps() as called:
        optimizer.step()
    assert "pyneural.adadelta_.default" in called.names
    optimizer.state[weight]["step"] = torch.ones((), device="meta")
    with CalledOps() as called:
        optimizer.step()
    assert "pyneural.adadelta_.default" not in called.names


def test_half_precision_is_refused():
    tensors = [torch.zeros(3, dtype=torch.float16)]
    with pytest.raises(ValueError, match="expected float32 or float64, got Half"):
        ops.adadelta_(tensors, tensors, tensors, tensors, learning_rate=1.0)
