"""Optimisers whose step is one call of an op, against torch's own."""

from __future__ import annotations

import contextlib
import copy

import pytest
import torch
from torch._subclasses import FakeTensorMode

from pyneural.optim import Adadelta, Adam, AdamW
from tests.nn.called_ops import CalledOps

TORCHS = {
    Adadelta: torch.optim.Adadelta, Adam: torch.optim.Adam, AdamW: torch.optim.AdamW,
}  # fmt: skip
OPTIONS = {
    Adadelta: {"lr": 0.3, "rho": 0.8, "eps": 1e-3, "weight_decay": 0.1},
    Adam: {"lr": 0.3, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1},
    AdamW: {"lr": 0.3, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1},
}
for_each = pytest.mark.parametrize("kind", TORCHS)

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


@for_each
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("defaults", [True, False])
def test_steps_are_torchs(kind, dtype, defaults):
    options = {} if defaults else OPTIONS[kind]
    ours = parameters(dtype)
    torchs = copy.deepcopy(ours)
    pairs = [(ours, kind(ours, **options)), (torchs, TORCHS[kind](torchs, **options))]
    take_steps(pairs, 3)
    same(ours, torchs, dtype)
    states = [optimizer.state_dict()["state"] for _, optimizer in pairs]
    assert states[0].keys() == states[1].keys()
    for index, state in states[1].items():
        assert state.keys() == states[0][index].keys()
        same(states[0][index].values(), state.values(), dtype)


@for_each
def test_state_passes_to_torchs_and_back(kind):
    first = parameters(torch.float64)
    optimizer = kind(first, lr=0.5)
    take_steps([(first, optimizer)], 2)
    then = copy.deepcopy(first)
    other = TORCHS[kind](then, lr=0.5)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    take_steps([(first, optimizer), (then, other)], 2)
    same(first, then, torch.float64)
    optimizer.load_state_dict(copy.deepcopy(other.state_dict()))
    take_steps([(first, optimizer), (then, other)], 1)
    same(first, then, torch.float64)


@for_each
@pytest.mark.parametrize(
    "change",
    [
        lambda weight: weight.t(),
        lambda weight: weight.half().float().bfloat16(),
        lambda weight: torch.view_as_complex(weight[:, :2].contiguous()),
    ],
    ids=["strided", "bfloat16", "complex"],
)
def test_others_take_torchs_step(kind, change):
    torch.manual_seed(0)
    ours = [change(torch.randn(6, 4)).detach().requires_grad_()]
    torchs = [ours[0].detach().clone().requires_grad_()]
    for weights, one in ((ours, kind), (torchs, TORCHS[kind])):
        optimizer = one(weights)
        for _ in range(2):
            weights[0].grad = torch.ones_like(weights[0])
            optimizer.step()
    assert torch.equal(ours[0], torchs[0])


@for_each
def test_maximize_sparse_gradient_closure_and_no_gradient(kind):
    weight = torch.ones(4, 2, requires_grad=True)
    optimizer = kind([weight], maximize=True)
    weight.grad = torch.ones(4, 2)
    optimizer.step()
    assert (weight > 1).all()

    weight = torch.ones(4, 2, requires_grad=True)
    optimizer = kind([weight])
    optimizer.step()
    assert not optimizer.state
    assert optimizer.step(lambda: weight.sum()) == 8

    embedding = torch.nn.Embedding(4, 2, sparse=True)
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match="sparse"):
        kind(embedding.parameters()).step()


@for_each
def test_threads_and_shares_do_not_matter(kind):
    torch.manual_seed(0)
    weights = parameters(torch.float32)
    results = []
    for threads in (1, 2, 3):
        mine = copy.deepcopy(weights)
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        take_steps([(mine, kind(mine))], 2)
        torch.set_num_threads(before)
        results.append(mine)
    for others in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], others, strict=True))


@for_each
def test_a_backward_through_what_a_step_has_changed_is_refused(kind):
    w = torch.ones(3, requires_grad=True)
    loss = w.square().sum()
    w.grad = torch.ones(3)
    kind([w]).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@for_each
def test_averages_of_another_layout_take_torchs_step(kind):
    w = torch.rand(2, 3, 4, 4, requires_grad=True)
    optimizer = kind([w])
    w.grad = torch.rand_like(w)
    optimizer.step()
    state = optimizer.state[w]
    name = next(name for name in state if name != "step")
    state[name] = state[name].to(memory_format=torch.channels_last)
    before = w.detach().clone()
    optimizer.step()
    assert not torch.equal(w, before)


@for_each
def test_defaults_of_torch_do_not_matter(kind):
    w = torch.ones(3, requires_grad=True)
    w.grad = torch.ones(3)
    optimizer = kind([w])
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.bfloat16)
        with torch.device("meta"):
            optimizer.step()
    finally:
        torch.set_default_dtype(before)
    assert optimizer.state[w]["step"] == 1


@pytest.mark.parametrize("kind", [Adam, AdamW])
def test_largest_squares_are_torchs(kind):
    ours = parameters(torch.float64)
    torchs = copy.deepcopy(ours)
    pairs = [(ours, kind(ours, amsgrad=True)), (torchs, TORCHS[kind](torchs, amsgrad=True))]
    take_steps(pairs, 3)
    assert all(torch.equal(a, b) for a, b in zip(ours, torchs, strict=True))


@pytest.mark.parametrize("fused", [None, True])
@pytest.mark.parametrize("kind", [Adam, AdamW])
def test_scaled_gradients_are_unscaled(kind, fused):
    """With fused=True a scaler leaves to the step to divide, and to leave out what overflowed."""
    found = []
    for one in (kind, TORCHS[kind]):
        w = torch.ones(3, requires_grad=True)
        optimizer = one([w], lr=0.1, fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        for gradient in (1.0, float("inf"), 3.0):
            optimizer.zero_grad()
            scaler.scale(w.sum() * gradient).backward()
            scaler.step(optimizer)
            scaler.update()
        found.append(w)
    torch.testing.assert_close(*found)


@for_each
def test_a_rate_may_be_a_tensor(kind):
    found = []
    for one in (kind, TORCHS[kind]):
        w = torch.ones(3, requires_grad=True)
        w.grad = torch.tensor([1.0, -2.0, 0.0])
        one([w], lr=torch.tensor(0.25)).step()
        found.append(w)
    torch.testing.assert_close(*found)


@for_each
def test_a_group_has_options_of_its_own(kind):
    found = []
    for one in (kind, TORCHS[kind]):
        a, b = torch.ones(3, requires_grad=True), torch.ones(2, requires_grad=True)
        optimizer = one([{"params": [a], "lr": 0.5}, {"params": [b], "weight_decay": 0.3}], lr=0.1)
        for _ in range(2):
            a.grad, b.grad = torch.full((3,), 2.0), torch.full((2,), -0.5)
            optimizer.step()
        found.append([a, b])
    torch.testing.assert_close(*found)


@for_each
def test_an_infinite_weight_stays_infinite(kind):
    w = torch.tensor([float("inf"), 1.0], requires_grad=True)
    optimizer = kind([w], weight_decay=0.0)
    for _ in range(2):
        w.grad = torch.ones(2)
        optimizer.step()
    assert w[0] == float("inf")
    assert all(torch.isfinite(kept).all() for kept in optimizer.state[w].values())


@for_each
def test_parameters_of_several_devices_take_torchs_step(kind, monkeypatch):
    monkeypatch.setattr(kind, "_devices", ("cpu", "meta"))
    weights = [torch.ones(3, device=device).requires_grad_() for device in ("cpu", "meta")]
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    with CalledOps() as called:
        kind(weights).step()
    assert not any("pyneural" in name for name in called.names)
    assert (weights[0] < 1).all()


@for_each
def test_a_count_on_another_device_takes_torchs_step(kind):
    torch.compile(torch.sin, backend="eager")(torch.ones(2))  # it wraps methods of optimisers
    weight = torch.ones(3, requires_grad=True)
    weight.grad = torch.ones(3)
    optimizer = kind([weight])
    with CalledOps() as called:
        optimizer.step()
    assert any("pyneural" in name for name in called.names)
    optimizer.state[weight]["step"] = torch.ones((), device="meta")
    with CalledOps() as called, contextlib.suppress(RuntimeError):  # that of torch.optim.Adam
        optimizer.step()
    assert not any("pyneural" in name for name in called.names)


@for_each
def test_a_fake_parameter_takes_torchs_step(kind):
    with FakeTensorMode():
        weight = torch.ones(3, requires_grad=True)
        weight.grad = torch.ones(3)
        kind([weight]).step()


@for_each
def test_a_state_of_other_kinds_takes_torchs_step(kind):
    """Counts of other dtypes, and entries that others have put beside."""
    found = []
    for one in (kind, TORCHS[kind]):
        weight = torch.ones(3, requires_grad=True)
        weight.grad = torch.ones(3)
        optimizer = one([weight])
        optimizer.step()
        optimizer.state[weight]["step"] = torch.tensor(1)
        optimizer.step()
        optimizer.state[weight]["step"] = torch.tensor(2.0)
        optimizer.state[weight]["name"] = "weight"
        optimizer.step()
        found.append(weight)
    torch.testing.assert_close(*found)


@for_each
def test_a_method_of_torch_that_a_subclass_replaces_is_called(kind):
    class WithoutGradients(kind):
        def _init_group(self, group, parameters, gradients, *rest):
            result = super()._init_group(group, parameters, gradients, *rest)
            gradients[:] = [torch.zeros_like(gradient) for gradient in gradients]
            return result

    weight = torch.ones(3, requires_grad=True)
    weight.grad = torch.ones(3)
    WithoutGradients([weight], weight_decay=0.0).step()
    assert torch.equal(weight, torch.ones(3))


@for_each
def test_parameters_that_share_elements_take_torchs_step(kind):
    found = []
    for one in (kind, TORCHS[kind]):
        whole = torch.linspace(-1, 1, 70_000, dtype=torch.float64)
        weights = [whole[:50_000].requires_grad_(), whole[30_000:].requires_grad_()]
        optimizer = one(weights, weight_decay=0.1)
        for _ in range(2):
            for weight in weights:
                weight.grad = weight.detach().sin()
            with CalledOps() as called:
                optimizer.step()
            assert not any("pyneural" in name for name in called.names)
        found.append(whole)
    assert torch.equal(*found)


@for_each
def test_neighbours_in_one_tensor_take_one_call(kind):
    whole = torch.ones(10)
    weights = [whole[4:].requires_grad_(), whole[:4].requires_grad_(), whole[:0].requires_grad_()]
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    with CalledOps() as called:
        kind(weights).step()
    assert any("pyneural" in name for name in called.names)


@for_each
def test_a_parameter_of_a_subclass_takes_torchs_step(kind):
    class Marked(torch.Tensor):
        pass

    weight = torch.ones(3).as_subclass(Marked).requires_grad_()
    weight.grad = torch.ones(3)
    with CalledOps() as called:
        kind([weight]).step()
    assert not any("pyneural" in name for name in called.names)
    assert (weight < 1).all()


@for_each
@pytest.mark.parametrize(
    ("weight", "gradient"),
    [
        (torch._neg_view(torch.ones(3)), torch.ones(3)),
        (torch.ones(3), torch._neg_view(torch.ones(3))),
        (torch.ones(3), torch._efficientzerotensor((3,))),
    ],
    ids=["negated weight", "negated gradient", "zeros without memory"],
)
def test_tensors_that_are_not_what_lies_in_memory(kind, weight, gradient):
    found = []
    for one in (kind, TORCHS[kind]):
        mine = weight.clone() if not weight.is_neg() else torch._neg_view(torch.ones(3))
        mine.requires_grad_().grad = gradient
        one([mine]).step()
        found.append(mine.detach())
    torch.testing.assert_close(*found)
